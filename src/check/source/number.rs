//! Numbers of any data type: slow, but the same code for all types.

use crate::data_type::DataType;

/// The value of a voxel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    /// The number whose little-endian bytes these are; `None` if there are too few or too many.
    pub fn from_le_bytes(bytes: &[u8], data_type: DataType) -> Option<Self> {
        if bytes.len() != data_type.size_bytes() {
            return None;
        }
        let unsigned = || {
            let mut all = [0; 16];
            all[..bytes.len()].copy_from_slice(bytes);
            i128::from_le_bytes(all)
        };
        Some(match data_type {
            DataType::Float32 => Self::Float(f32::from_le_bytes(bytes.try_into().ok()?).into()),
            DataType::Float64 => Self::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                Self::Int(unsigned())
            }
            _ => {
                let range = 1i128 << (8 * bytes.len());
                let value = unsigned();
                Self::Int(if value >= range / 2 {
                    value - range
                } else {
                    value
                })
            }
        })
    }

    /// The number as a value of the type: integers are rounded to the nearest, half to even.
    pub fn cast(self, to: DataType) -> Self {
        match (self, to) {
            (Self::Int(v), DataType::Float32) => Self::Float(f64::from(v as f32)),
            (Self::Int(v), DataType::Float64) => Self::Float(v as f64),
            (Self::Float(v), DataType::Float32) => Self::Float(f64::from(v as f32)),
            (Self::Float(v), DataType::Float64) => Self::Float(v),
            (Self::Float(v), _) => Self::Int(v.round_ties_even() as i128),
            (int, _) => int,
        }
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(v) => v as f64,
            Self::Float(v) => v,
        }
    }

    pub fn is_positive(self) -> bool {
        match self {
            Self::Int(v) => v > 0,
            Self::Float(v) => v > 0.0,
        }
    }

    pub fn is_nonzero(self) -> bool {
        match self {
            Self::Int(v) => v != 0,
            Self::Float(v) => v != 0.0,
        }
    }

    /// Whether it is equal to `other`, or differs by at most `tolerance` times its size. All that is not a number is equal.
    pub fn is_close_to(self, other: Self, tolerance: f64) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) if tolerance == 0.0 => a == b,
            (a, b) => {
                let (a, b) = (a.as_f64(), b.as_f64());
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * a.abs()
            }
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_numpy_reads_them() {
        let of = |bytes: &[u8], data_type| Number::from_le_bytes(bytes, data_type).unwrap();
        assert_eq!(of(&[255], DataType::UInt8), Number::Int(255));
        assert_eq!(of(&[255], DataType::Int8), Number::Int(-1));
        assert_eq!(of(&[0, 128], DataType::Int16), Number::Int(-32768));
        assert_eq!(
            of(&[255; 8], DataType::UInt64),
            Number::Int(u64::MAX.into())
        );
        assert_eq!(
            of(&[0, 0, 0, 0, 0, 0, 0, 128], DataType::Int64),
            Number::Int(i64::MIN.into())
        );
        assert_eq!(
            of(&1.5f32.to_le_bytes(), DataType::Float32),
            Number::Float(1.5)
        );
        assert_eq!(Number::from_le_bytes(&[1, 2, 3], DataType::UInt16), None);
    }

    #[test]
    fn casts_round_half_to_even() {
        let cast = |v: f64| Number::Float(v).cast(DataType::Int16);
        assert_eq!(
            [cast(0.5), cast(1.5), cast(-2.5)],
            [0, 2, -2].map(Number::Int)
        );
        let exact = Number::Int((1 << 24) + 1).cast(DataType::Float32);
        assert_eq!(exact, Number::Float(f64::from((1 << 24) as f32)));
    }
}
