//! Positions in one field of text, as pandas and numpy write lists: `[x, y, z]`, `[x y z]`, `(x, y, z)`.

/// The three numbers in the text; `None` if it is not such a list.
pub(super) fn parse_position(text: &str) -> Option<[f64; 3]> {
    let text = text.trim();
    let inner = [('[', ']'), ('(', ')')]
        .into_iter()
        .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close))?;
    let mut numbers = [0.0; 3];
    let mut fields = fields(inner);
    for number in &mut numbers {
        *number = plain(fields.next()?).parse().ok()?;
    }
    fields.next().is_none().then_some(numbers)
}

/// The number in a text such as `np.float64(7.5)`, which pandas writes for lists of numpy's numbers since numpy 2.
fn plain(text: &str) -> &str {
    let number = text
        .strip_prefix("np.")
        .and_then(|text| text.strip_suffix(')'));
    let number = number.and_then(|text| text.split_once('('));
    number.map_or(text, |(_, number)| number)
}

/// The texts between commas, or between spaces if there are no commas. Two commas have an empty text between them.
fn fields(text: &str) -> Box<dyn Iterator<Item = &str> + '_> {
    if text.contains(',') {
        Box::new(text.split(',').map(str::trim))
    } else {
        Box::new(text.split_whitespace())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_pandas_and_numpy() {
        for text in [
            "[1, 2.5, -3]",
            "[1 2.5 -3]",
            " [ 1.   2.5 -3. ] ",
            "(1,2.5,-3)",
            "[1,\n2.5,\n-3]",
            "[np.float64(1.0), np.float64(2.5), np.int64(-3)]",
        ] {
            assert_eq!(parse_position(text), Some([1.0, 2.5, -3.0]), "{text}");
        }
        let nan = parse_position("[nan, nan, nan]").unwrap();
        assert!(nan.iter().all(|v| v.is_nan()));
    }

    #[test]
    fn everything_else_is_no_list() {
        for text in [
            "",
            "1, 2, 3",
            "[1, 2]",
            "[1, 2, 3, 4]",
            "[1,, 2, 3]",
            "[1 2 a]",
            "[1, 2, 3)",
            "[1 2, 3]",
            "[]",
        ] {
            assert_eq!(parse_position(text), None, "{text}");
        }
    }
}
