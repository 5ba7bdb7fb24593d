//! Positions in one field of text, as pandas and numpy write lists: `[x, y, z]`, `[x y z]`, `(x, y, z)`.

use super::list_text::list_members;

/// The three numbers in the text; `None` if it is not such a list.
pub(super) fn parse_position(text: &str) -> Option<[f64; 3]> {
    // A set has no order.
    let is_set = text.trim_start().starts_with('{');
    let mut members = list_members(text).filter(|_| !is_set)?;
    let mut numbers = [0.0; 3];
    for number in &mut numbers {
        *number = members.next()?.parse().ok()?;
    }
    members.next().is_none().then_some(numbers)
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
            "{1, 2, 3}",
        ] {
            assert_eq!(parse_position(text), None, "{text}");
        }
    }
}
