//! Casts from one type of value to another, and whether the value fits.
//!
//! Nothing here branches, so that the compiler uses vector instructions for loops over it.

/// A value that can become a `U`.
pub(crate) trait Cast<U> {
    /// The value as a `U`, and whether it fits; if it does not, the `U` is unspecified. Integers keep their value, other
    /// numbers are rounded half to even. A finite number that becomes infinite does not fit.
    fn cast(self) -> (U, bool);
}

/// The result of `f64` arithmetic on a number.
pub(crate) struct Computed {
    /// The result.
    pub value: f64,
    /// The number that it was computed from.
    pub of: f64,
}

macro_rules! integer {
    ($($from:ident)*) => {
        $(integer!(@to $from, u8 u16 u32 u64 i8 i16 i32 i64);)*
    };
    (@to $from:ident, $($to:ident)*) => {
        $(impl Cast<$to> for $from {
            fn cast(self) -> ($to, bool) {
                (self as $to, $to::try_from(self).is_ok())
            }
        })*
        impl Cast<f32> for $from {
            fn cast(self) -> (f32, bool) {
                (self as f32, true)
            }
        }
        impl Cast<f64> for $from {
            fn cast(self) -> (f64, bool) {
                (self as f64, true)
            }
        }
    };
}
integer!(u8 u16 u32 u64 i8 i16 i32 i64);

/// 1.5 * 2^52. Between 2^52 and 2^53 neighbouring numbers differ by 1: adding this rounds to an integer, half to even, and
/// leaves that integer, in two's complement, in the low bits.
const TO_INTEGER: f64 = 6_755_399_441_055_744.0;

macro_rules! rounded {
    ($($to:ident)*) => {
        $(impl Cast<$to> for f64 {
            fn cast(self) -> ($to, bool) {
                // `round_ties_even` would be a call per value on processors without an instruction for it.
                let shifted = self + TO_INTEGER;
                let integer = shifted - TO_INTEGER;
                // `&`, not `&&`, to avoid a branch. NaN is in no range.
                let fits = (integer >= f64::from($to::MIN)) & (integer <= f64::from($to::MAX));
                (shifted.to_bits() as $to, fits)
            }
        })*
    };
}
rounded!(u8 u16 u32 i8 i16 i32);

impl Cast<u64> for f64 {
    fn cast(self) -> (u64, bool) {
        let integer = self.round_ties_even();
        (integer as u64, (0.0..TWO_TO_64).contains(&integer))
    }
}

impl Cast<i64> for f64 {
    fn cast(self) -> (i64, bool) {
        let integer = self.round_ties_even();
        let half = TWO_TO_64 / 2.0;
        (integer as i64, (-half..half).contains(&integer))
    }
}

const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

impl Cast<f32> for f64 {
    fn cast(self) -> (f32, bool) {
        let value = self as f32;
        (value, !value.is_infinite() | self.is_infinite())
    }
}

impl Cast<f64> for f64 {
    fn cast(self) -> (f64, bool) {
        (self, true)
    }
}

impl<U> Cast<U> for f32
where
    f64: Cast<U>,
{
    fn cast(self) -> (U, bool) {
        f64::from(self).cast()
    }
}

macro_rules! computed {
    ($($to:ident)*) => {
        $(impl Cast<$to> for Computed {
            fn cast(self) -> ($to, bool) {
                self.value.cast()
            }
        })*
    };
}
computed!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Cast<f32> for Computed {
    fn cast(self) -> (f32, bool) {
        let value = self.value as f32;
        (value, !value.is_infinite() | self.of.is_infinite())
    }
}

impl Cast<f64> for Computed {
    fn cast(self) -> (f64, bool) {
        (
            self.value,
            !self.value.is_infinite() | self.of.is_infinite(),
        )
    }
}
