//! The value of a property as a number: whole numbers are exact, because ids above 2^53 have no float of their own.

use std::fmt;

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PropertyNumber {
    /// Of an integer type.
    Whole(i128),
    /// Of a floating-point type.
    Float(f64),
}

impl PropertyNumber {
    /// The whole number that `number` is equal to, otherwise the number itself.
    pub fn of_f64(number: f64) -> Self {
        // A cast of numbers out of range gives the nearest end of the range, which is no float.
        let whole = number as i128;
        if whole as f64 == number && whole.unsigned_abs() < 1 << 100 {
            Self::Whole(whole)
        } else {
            Self::Float(number)
        }
    }

    /// Whether it is greater than or equal to `least`. NaN never is.
    pub fn is_at_least(self, least: f64) -> bool {
        match self {
            Self::Whole(v) => v >= least.ceil() as i128,
            Self::Float(v) => v >= least,
        }
    }

    /// Whether it is less than or equal to `most`. NaN never is.
    pub fn is_at_most(self, most: f64) -> bool {
        match self {
            Self::Whole(v) => v <= most.floor() as i128,
            Self::Float(v) => v <= most,
        }
    }

    /// Whether both are the same number. NaN is equal to nothing.
    pub fn is_equal(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Whole(a), Self::Float(b)) | (Self::Float(b), Self::Whole(a)) => {
                Self::of_f64(b) == Self::Whole(a)
            }
        }
    }
}

impl fmt::Display for PropertyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_above_2_to_the_53_are_not_rounded() {
        let id = PropertyNumber::Whole((1 << 53) + 1);
        assert!(!id.is_equal(PropertyNumber::Whole(1 << 53)));
        assert!(!id.is_equal(PropertyNumber::of_f64(9_007_199_254_740_992.0)));
        assert!(id.is_at_least(9_007_199_254_740_992.0));
        assert!(!id.is_at_most(9_007_199_254_740_992.0));
        let last = PropertyNumber::Whole(u64::MAX.into());
        assert!(!last.is_at_least(18_446_744_073_709_551_616.0));
        assert!(last.is_at_most(1e300) && last.is_at_least(-1e300));
    }

    #[test]
    fn floats_and_whole_numbers_compare_by_value_and_nan_with_nothing() {
        assert!(PropertyNumber::Float(7.0).is_equal(PropertyNumber::Whole(7)));
        assert!(!PropertyNumber::Whole(7).is_equal(PropertyNumber::of_f64(7.5)));
        assert!(PropertyNumber::Whole(-2).is_at_least(-2.5));
        assert!(!PropertyNumber::Whole(-3).is_at_least(-2.5));
        let nan = PropertyNumber::Float(f64::NAN);
        assert!(!nan.is_at_least(-1e300) && !nan.is_at_most(1e300) && !nan.is_equal(nan));
        assert_eq!(PropertyNumber::of_f64(1e300), PropertyNumber::Float(1e300));
    }
}
