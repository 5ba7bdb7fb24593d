//! Ids in tables. pandas converts a column of whole numbers to floats if a value is missing: `101.0` is the id 101. Ids
//! are never parsed as floats, because those above 2^53 would change.

/// A whole number in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WholeNumber {
    pub(super) value: u64,
    /// Whether it is written as a float, and is so large that its writer may have rounded it.
    pub(super) may_be_rounded: bool,
}

/// From here on, different whole numbers have the same float.
const FIRST_ROUNDED: u64 = 1 << 53;

/// Parses a whole number: digits, optionally followed by a point and zeros.
pub(super) fn whole_number(text: &str) -> Option<WholeNumber> {
    let (digits, is_float) = match text.split_once('.') {
        None => (text, false),
        Some((digits, zeros)) if zeros.bytes().all(|b| b == b'0') => (digits, true),
        Some(_) => return None,
    };
    let value: u64 = digits.parse().ok()?;
    // A number that no float is equal to was not rounded.
    let equals_a_float = u128::from(value) == (value as f64) as u128;
    Some(WholeNumber {
        value,
        may_be_rounded: is_float && value >= FIRST_ROUNDED && equals_a_float,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<u64> {
        whole_number(text).map(|n| n.value)
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        for (text, id) in [
            ("101", 101),
            ("101.0", 101),
            ("101.", 101),
            ("0.000", 0),
            ("007", 7),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("18446744073709551615.0", u64::MAX),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(value(text), Some(id), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_whole_numbers() {
        for text in [
            "",
            ".",
            ".0",
            "101.5",
            "101.00001",
            "1e3",
            "1.01e2",
            "1.0e2",
            "1E3",
            "-1",
            "-1.0",
            "nan",
            "NaN",
            "inf",
            "1_000",
            "1,000",
            "1.0.0",
            "0x10",
            "18446744073709551616",
            "18446744073709551616.0",
            "1 ",
            "1.-0",
            "1.+0",
            "١",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    #[test]
    fn a_float_above_2_to_the_53_may_have_been_rounded() {
        let doubtful = |text| whole_number(text).unwrap().may_be_rounded;
        assert!(doubtful("9007199254740992.0") && doubtful("864691135463611008.0"));
        for text in [
            "9007199254740991.0",
            "9007199254740993.0",
            "9007199254740992",
            "18446744073709551615.0",
        ] {
            assert!(!doubtful(text), "{text}");
        }
    }
}
