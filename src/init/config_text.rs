//! A config as a person writes it: short lists and objects on one line, whole numbers without a point.

use serde_json::Value;

/// Longest line, where a list or object can be broken.
const WIDTH: usize = 100;

/// The text of `config`, with one member of it per line at least.
pub(super) fn of(config: &Value) -> String {
    let mut text = String::new();
    write(config, 0, true, &mut text);
    text
}

/// Adds `value` to `text`, whose last line is indented by `depth` steps. `is_broken` is whether it takes several lines in
/// any case.
fn write(value: &Value, depth: usize, is_broken: bool, text: &mut String) {
    let line = one_line(value);
    let used = text.len() - text.rfind('\n').map_or(0, |at| at + 1);
    if !is_broken && used + line.len() <= WIDTH {
        text.push_str(&line);
        return;
    }
    let items: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().map(|item| (String::new(), item)).collect(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, member)| (format!("{}: ", Value::from(name.as_str())), member))
                .collect()
        }
        _ => Vec::new(),
    };
    if items.is_empty() {
        text.push_str(&line);
        return;
    }
    let (open, close) = if value.is_array() {
        ('[', ']')
    } else {
        ('{', '}')
    };
    text.push(open);
    for (i, (name, item)) in items.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&"  ".repeat(depth + 1));
        text.push_str(name);
        write(item, depth + 1, false, text);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

/// `value` on one line, with spaces between members.
fn one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}: {}", Value::from(name.as_str()), one_line(value))
            };
            let members: Vec<_> = members.iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn short_lists_and_objects_are_on_one_line() {
        let config = json!({"window": [64.0, 64.5, 1e300], "a": {}, "long": {"x": "y".repeat(90), "z": {"b": []}}});
        let text = of(&config);
        let expected = format!(
            "{{\n  \"window\": [64, 64.5, 1e+300],\n  \"a\": {{}},\n  \"long\": {{\n    \"x\": \"{}\",\n    \"z\": {{ \"b\": [] }}\n  }}\n}}",
            "y".repeat(90)
        );
        assert_eq!(text, expected);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["long"], config["long"]);
    }
}
