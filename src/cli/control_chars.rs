//! Escapes control characters. Ids, tags, names, URLs and answers of servers may contain some, and a terminal would
//! execute them. They are printed as Rust writes them: `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes text within a line, including line ends.
pub(super) fn escape_line(text: &str) -> Cow<'_, str> {
    escape(text, is_control, |c| c.escape_default().to_string())
}

/// Escapes a message. Line ends stay if the next line is indented, as in lists of the program. All other line ends are
/// escaped, so that text from outside cannot imitate a message.
pub(super) fn escape_message(text: &str) -> String {
    let mut parts = text.split("\n  ");
    let first = escape_line(parts.next().unwrap_or_default()).into_owned();
    parts.fold(first, |all, part| all + "\n  " + &escape_line(part))
}

/// Escapes text in which all line ends come from the program.
pub(super) fn escape_lines(text: &str) -> String {
    let escaped: Vec<_> = text.split('\n').map(escape_line).collect();
    escaped.join("\n")
}

/// Escapes JSON text. Its control characters can only be in strings.
pub(super) fn escape_json(text: &str) -> Cow<'_, str> {
    let is_control = |c| c != '\n' && is_control(c);
    escape(text, is_control, |c| {
        let mut units = [0; 2];
        let mut escaped = String::new();
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
        escaped
    })
}

fn escape(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escaped: impl Fn(char) -> String,
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return text.into();
    }
    let escape = |c: char| {
        if is_escaped(c) {
            escaped(c)
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}

/// Control characters (C0, DEL, C1), characters that change the direction of text or end a line, and invisible ones.
pub(super) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MALICIOUS: &str = "a\u{1b}]52;c;aGk=\u{7}\r\u{9b}2J\u{202e}\u{7f}b\u{e0041}";

    #[test]
    fn no_control_character_is_left() {
        let shown = escape_line(MALICIOUS);
        assert_eq!(
            shown,
            r"a\u{1b}]52;c;aGk=\u{7}\r\u{9b}2J\u{202e}\u{7f}b\u{e0041}"
        );
        assert_eq!(escape_line("a\nb"), r"a\nb");
        assert_eq!(escape_line("ä 日本 \u{5d0} `x`"), "ä 日本 \u{5d0} `x`");
        for text in [escape_lines(MALICIOUS), escape_message(MALICIOUS)] {
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn a_line_end_in_an_id_does_not_start_a_line() {
        assert_eq!(escape_message("box a\nerror: b"), r"box a\nerror: b");
        assert_eq!(escape_message("these:\n  a\r\n  b"), "these:\n  a\\r\n  b");
        assert_eq!(escape_lines("a\n\tb\n"), "a\n\\tb\n");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({MALICIOUS: [MALICIOUS, "\n", 1]});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = escape_json(&text);
        assert!(!shown.contains(|c| c != '\n' && is_control(c)), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, value);
    }
}
