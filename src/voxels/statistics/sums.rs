//! Smallest and largest value, sum, and sum of squares, in loops that the compiler turns into vector instructions.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data_type::DataType;

/// Extremes and sums of finite values. In JSON the numbers are text, because most readers support at most 64 bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moments {
    /// Of no values.
    #[default]
    None,
    Whole {
        #[serde(with = "text")]
        min: i128,
        #[serde(with = "text")]
        max: i128,
        #[serde(with = "text")]
        sum: i128,
        /// Sum of the lower 64 bits of each square; the whole sum for values up to 32 bits.
        #[serde(with = "text")]
        squares_low: u128,
        /// Sum of the upper 64 bits of each square.
        #[serde(with = "text")]
        squares_high: u128,
    },
    Real {
        #[serde(with = "text")]
        min: f64,
        #[serde(with = "text")]
        max: f64,
        #[serde(with = "text")]
        sum: f64,
        #[serde(with = "text")]
        squares: f64,
    },
}

/// The moments and counts of one sample.
#[derive(Default)]
pub(crate) struct SampleMoments {
    pub nan: u64,
    pub infinite: u64,
    pub positive: u64,
    pub moments: Moments,
}

impl Moments {
    /// Moments of zeros.
    pub fn zeros(data_type: DataType) -> Self {
        if data_type.is_float() {
            Self::Real {
                min: 0.0,
                max: 0.0,
                sum: 0.0,
                squares: 0.0,
            }
        } else {
            Self::Whole {
                min: 0,
                max: 0,
                sum: 0,
                squares_low: 0,
                squares_high: 0,
            }
        }
    }

    /// Moments of a mask of `count` values, of which `ones` are 1 and the others 0.
    pub fn of_mask(count: u64, ones: u64) -> Self {
        Self::Whole {
            min: (ones == count).into(),
            max: (ones > 0).into(),
            sum: ones.into(),
            squares_low: ones.into(),
            squares_high: 0,
        }
    }

    /// Adds the moments of later values of the same type.
    pub fn merge(&mut self, later: &Self) {
        match (&mut *self, later) {
            (Self::None, later) => *self = later.clone(),
            (
                Self::Whole {
                    min,
                    max,
                    sum,
                    squares_low,
                    squares_high,
                },
                Self::Whole {
                    min: later_min,
                    max: later_max,
                    sum: later_sum,
                    squares_low: later_low,
                    squares_high: later_high,
                },
            ) => {
                *min = (*min).min(*later_min);
                *max = (*max).max(*later_max);
                // Only forged receipts come near an overflow.
                *sum = sum.saturating_add(*later_sum);
                *squares_low = squares_low.saturating_add(*later_low);
                *squares_high = squares_high.saturating_add(*later_high);
            }
            (
                Self::Real {
                    min,
                    max,
                    sum,
                    squares,
                },
                Self::Real {
                    min: later_min,
                    max: later_max,
                    sum: later_sum,
                    squares: later_squares,
                },
            ) => {
                *min = min.min(*later_min);
                *max = max.max(*later_max);
                *sum += later_sum;
                *squares += later_squares;
            }
            _ => {}
        }
    }

    /// Smallest and largest value.
    pub fn range(&self) -> Option<(f64, f64)> {
        match self {
            Self::None => None,
            Self::Whole { min, max, .. } => Some((*min as f64, *max as f64)),
            Self::Real { min, max, .. } => Some((*min, *max)),
        }
    }

    /// Mean and population standard deviation of `count` values. For integers they are as exact as `f64`, except for 64-bit
    /// integers whose squares add up to 2^127 or more; for these, and for floating point numbers, the error of the deviation
    /// is about 1e-8 of the largest value.
    pub fn mean_and_std(&self, count: u64) -> Option<(f64, f64)> {
        if count == 0 {
            return None;
        }
        let n = count as f64;
        let plain = |sum: f64, squares: f64| {
            let mean = sum / n;
            let variance = if squares.is_finite() {
                (squares / n - mean * mean).max(0.0)
            } else {
                // Out of range: the difference of such numbers would look like 0.
                f64::INFINITY
            };
            Some((mean, variance.sqrt()))
        };
        match self {
            Self::None => None,
            Self::Real { sum, squares, .. } => plain(*sum, *squares),
            Self::Whole {
                sum,
                squares_low,
                squares_high,
                ..
            } => about_whole_mean(i128::from(count), *sum, *squares_low, *squares_high).or_else(
                || {
                    let high = *squares_high as f64 * 2f64.powi(64);
                    plain(*sum as f64, *squares_low as f64 + high)
                },
            ),
        }
    }
}

/// Mean and deviation, computed from the sum of squares around the integer below the mean, which is exact; `None` where 128
/// bits are not enough.
fn about_whole_mean(n: i128, sum: i128, low: u128, high: u128) -> Option<(f64, f64)> {
    let high = high.checked_mul(1 << 64)?;
    let squares = i128::try_from(low.checked_add(high)?).ok()?;
    let whole = sum.div_euclid(n);
    let rest = sum.rem_euclid(n);
    // sum of (v - whole)^2 = squares - 2 * whole * sum + n * whole^2 = squares - whole * (sum + rest)
    let around = squares.checked_sub(whole.checked_mul(sum.checked_add(rest)?)?)?;
    let rest = rest as f64 / n as f64;
    let variance = around as f64 / n as f64 - rest * rest;
    Some((whole as f64 + rest, variance.max(0.0).sqrt()))
}

/// The moments and counts of a sample of `values`, of which `nonzero` are not 0.
pub(crate) fn moments(data_type: DataType, values: &[u8], nonzero: u64) -> SampleMoments {
    match data_type {
        DataType::UInt8 => whole(values, u8::from_le_bytes, Some(nonzero)),
        DataType::Int8 => whole(values, i8::from_le_bytes, None),
        DataType::UInt16 => whole(values, u16::from_le_bytes, Some(nonzero)),
        DataType::Int16 => whole(values, i16::from_le_bytes, None),
        DataType::UInt32 => whole(values, u32::from_le_bytes, Some(nonzero)),
        DataType::Int32 => whole(values, i32::from_le_bytes, None),
        DataType::UInt64 => whole(values, u64::from_le_bytes, Some(nonzero)),
        DataType::Int64 => whole(values, i64::from_le_bytes, None),
        DataType::Float32 => real(values, |v| f64::from(f32::from_le_bytes(v))),
        DataType::Float64 => real(values, f64::from_le_bytes),
    }
}

/// An integer of which many are added at a time.
trait Integer: Copy + Ord + Into<i128> {
    /// 0.
    const ZERO: Self;
    /// The sum of at most [`BLOCK`] values, and the sums of the lower and of the upper 64 bits of their squares.
    fn sums(values: &[Self]) -> (i128, u128, u128);
}

/// Values that are added in narrow numbers, because a vector has many of these: this many 16-bit values, and the squares of
/// this many 8-bit values, add up to less than 2^31. They also stay in the processor's nearest cache.
const BLOCK: usize = 1 << 11;

macro_rules! whole {
    ($($type:ident)*, |$values:ident| $sums:block) => {
        $(impl Integer for $type {
            const ZERO: Self = 0;

            fn sums($values: &[Self]) -> (i128, u128, u128) $sums
        })*
    };
}

whole!(u8 i8, |values| {
    let (mut sum, mut squares) = (0i32, 0i32);
    // The sum of every 8th of these values stays below 2^15.
    for some in values.chunks(1024) {
        let (pairs, rest) = some.as_chunks::<16>();
        let mut sums = [0i16; 8];
        let mut squares_of = [0i32; 8];
        for pair in pairs {
            // There is an instruction for the sum of two products of 16-bit numbers.
            for i in 0..8 {
                let (a, b) = (i16::from(pair[i]), i16::from(pair[i + 8]));
                sums[i] += a + b;
                squares_of[i] += i32::from(a) * i32::from(a) + i32::from(b) * i32::from(b);
            }
        }
        sum += sums.map(i32::from).iter().sum::<i32>();
        squares += squares_of.iter().sum::<i32>();
        for v in rest {
            let v = i32::from(*v);
            sum += v;
            squares += v * v;
        }
    }
    (sum.into(), squares as u128, 0)
});

whole!(u16 i16, |values| {
    let (mut sum, mut squares) = (0i32, 0u64);
    for v in values.iter().copied() {
        sum += i32::from(v);
        let size = u32::from(v.abs_diff(0));
        squares += u64::from(size * size);
    }
    (sum.into(), squares.into(), 0)
});

whole!(u32 i32, |values| {
    // The halves of each square, so that neither sum overflows.
    let (mut sum, mut low, mut high) = (0i64, 0u64, 0u64);
    for v in values.iter().copied() {
        sum += i64::from(v);
        let size = u64::from(v.abs_diff(0));
        low += (size * size) & 0xffff_ffff;
        high += (size * size) >> 32;
    }
    (sum.into(), u128::from(low) + (u128::from(high) << 32), 0)
});

whole!(u64 i64, |values| {
    let (mut sum, mut low, mut high) = (0i128, 0u128, 0u128);
    for v in values.iter().copied() {
        sum += i128::from(v);
        let size = u128::from(v.abs_diff(0));
        low += u128::from((size * size) as u64);
        high += (size * size) >> 64;
    }
    (sum, low, high)
});

/// `nonzero` is given where all values other than 0 are positive.
fn whole<const N: usize, T: Integer>(
    values: &[u8],
    from_le_bytes: impl Fn([u8; N]) -> T + Copy,
    nonzero: Option<u64>,
) -> SampleMoments {
    let (values, _) = values.as_chunks::<N>();
    let Some(first) = values.first() else {
        return SampleMoments::default();
    };
    let (mut least, mut most) = (from_le_bytes(*first), from_le_bytes(*first));
    let (mut sum, mut squares_low, mut squares_high, mut positive) = (0, 0, 0, 0);
    let mut block = [T::ZERO; BLOCK];
    for values in values.chunks(BLOCK) {
        let block = &mut block[..values.len()];
        for (v, bytes) in block.iter_mut().zip(values) {
            *v = from_le_bytes(*bytes);
        }
        // One loop each, because a vector has more values than sums.
        least = block.iter().copied().fold(least, T::min);
        most = block.iter().copied().fold(most, T::max);
        let (block_sum, low, high) = T::sums(block);
        sum += block_sum;
        squares_low += low;
        squares_high += high;
        if nonzero.is_none() {
            positive += count_positive(block);
        }
    }
    SampleMoments {
        positive: nonzero.unwrap_or(positive),
        moments: Moments::Whole {
            min: least.into(),
            max: most.into(),
            sum,
            squares_low,
            squares_high,
        },
        ..SampleMoments::default()
    }
}

fn count_positive<T: Integer>(values: &[T]) -> u64 {
    // A byte holds the number of these values.
    let some = values.chunks(usize::from(u8::MAX));
    some.map(|some| u64::from(some.iter().map(|v| u8::from(*v > T::ZERO)).sum::<u8>()))
        .sum()
}

/// Partial sums of a sample, each over every 8th value. The number is fixed, so that sums are equal on every machine.
const LANES: usize = 8;

fn real<const N: usize>(values: &[u8], from_le_bytes: impl Fn([u8; N]) -> f64) -> SampleMoments {
    let (values, _) = values.as_chunks::<N>();
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let (mut least, mut most) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let (mut nan, mut infinite, mut positive) = ([0u64; LANES], [0u64; LANES], [0u64; LANES]);
    let mut add = |lane: usize, v: [u8; N]| {
        let v = from_le_bytes(v);
        let finite = v.abs() < f64::INFINITY;
        let or = |other: f64| if finite { v } else { other };
        sums[lane] += or(0.0);
        squares[lane] += or(0.0) * or(0.0);
        least[lane] = least[lane].min(or(f64::INFINITY));
        most[lane] = most[lane].max(or(f64::NEG_INFINITY));
        nan[lane] += u64::from(v.is_nan());
        infinite[lane] += u64::from(v.is_infinite());
        positive[lane] += u64::from(v > 0.0);
    };
    let (whole, rest) = values.as_chunks::<LANES>();
    for some in whole {
        for (lane, v) in some.iter().enumerate() {
            add(lane, *v);
        }
    }
    for (lane, v) in rest.iter().enumerate() {
        add(lane, *v);
    }
    let [nan, infinite, positive] = [nan, infinite, positive].map(|lanes| lanes.iter().sum());
    let any_finite = nan + infinite < values.len() as u64;
    let moments = Moments::Real {
        // `+ 0.0` turns -0 into 0.
        min: least.into_iter().fold(f64::INFINITY, f64::min) + 0.0,
        max: most.into_iter().fold(f64::NEG_INFINITY, f64::max) + 0.0,
        sum: sums.iter().sum(),
        squares: squares.iter().sum(),
    };
    SampleMoments {
        nan,
        infinite,
        positive,
        moments: if any_finite { moments } else { Moments::None },
    }
}

/// Numbers as text, which has no limit.
mod text {
    use std::borrow::Cow;

    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(v: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(v)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
