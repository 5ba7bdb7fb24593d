//! Ids in tables. pandas converts a column of whole numbers to floats if a value is missing: `101.0` is the id 101. Texts
//! are never parsed as floats, because ids above 2^53 would change. Floats from which on others are rounded are noticed.

use super::list_text::list_members;

/// A whole number in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WholeNumber {
    pub(super) value: u64,
    /// Whether it is written as a float, and is so large that its writer may have rounded it.
    pub(super) may_be_rounded: bool,
}

/// Parses whole numbers: a list of them, or one. An empty text has none.
pub(super) fn whole_numbers(text: &str) -> Option<Vec<WholeNumber>> {
    match list_members(text) {
        // JSON's null.
        Some(members) => {
            let members = members.filter(|member| *member != "null");
            members.map(whole_number).collect()
        }
        None if text.is_empty() => Some(Vec::new()),
        None => Some(vec![whole_number(text)?]),
    }
}

/// What is expected instead of a number that may be rounded.
pub(super) const NOT_ROUNDED: &str = "a whole number that is not stored as a float: from 2^53 on (float32: 2^24, float16: 2^11) \
     the program that wrote the table may have rounded it; write ids as whole numbers";

/// The floats of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FloatPrecision {
    Float16,
    Float32,
    Float64,
}

impl FloatPrecision {
    /// The first whole number that others are rounded to.
    fn first_rounded(self) -> u64 {
        match self {
            Self::Float16 => 1 << 11,
            Self::Float32 => 1 << 24,
            Self::Float64 => 1 << 53,
        }
    }

    /// Whether `value`, a float of this type, is a whole number that others are rounded to.
    pub fn may_be_rounded(self, value: f64) -> bool {
        value.fract() == 0.0 && value.abs() >= self.first_rounded() as f64
    }
}

impl WholeNumber {
    /// A number that is written as a whole one.
    pub(super) fn exact(value: u64) -> Self {
        Self {
            value,
            may_be_rounded: false,
        }
    }
}

/// Digits of which every number fits into 64 bits.
const MOST_DIGITS_OF_U64: usize = 19;

/// Digits of which every number is a float.
const MOST_DIGITS_OF_F64: usize = 15;

/// Parses a whole number that is equal to a float, without a sign. Other numbers may be valid, too.
pub(super) fn small_whole_number(text: &str) -> Option<u64> {
    digits(text, MOST_DIGITS_OF_F64)
}

/// Parses 1 to `most` digits. Faster than the standard library, because they cannot overflow.
fn digits(text: &str, most: usize) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > most {
        return None;
    }
    bytes.iter().try_fold(0, |value: u64, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + u64::from(digit))
    })
}

/// Parses a whole number: digits, optionally followed by a point and zeros.
pub(super) fn whole_number(text: &str) -> Option<WholeNumber> {
    if let Some(value) = digits(text, MOST_DIGITS_OF_U64) {
        return Some(WholeNumber::exact(value));
    }
    let (digits, is_float) = match text.split_once('.') {
        None => (text, false),
        Some((digits, zeros)) if zeros.bytes().all(|b| b == b'0') => (digits, true),
        Some(_) => return None,
    };
    let value: u64 = digits.parse().ok()?;
    // A number that no float is equal to was not rounded. The type of floats is not known; most programs write those of 64 bits.
    let equals_a_float = u128::from(value) == (value as f64) as u128;
    let is_rounded = is_float && FloatPrecision::Float64.may_be_rounded(value as f64);
    Some(WholeNumber {
        value,
        may_be_rounded: is_rounded && equals_a_float,
    })
}

/// Whether the text is a whole number, with or without a sign, that its writer may have rounded.
pub(super) fn may_be_rounded(text: &str) -> bool {
    let number = whole_number(text.strip_prefix('-').unwrap_or(text));
    number.is_some_and(|number| number.may_be_rounded)
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
            "1.6777217e7",
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
    fn small_whole_numbers_are_floats_and_other_texts_are_left_to_another_parser() {
        assert_eq!(small_whole_number("007"), Some(7));
        assert_eq!(
            small_whole_number("999999999999999"),
            Some((1e15 - 1.0) as u64)
        );
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "1e3",
            "1 ",
            "nan",
            "1000000000000000",
            "١",
        ] {
            assert_eq!(small_whole_number(text), None, "{text}");
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
