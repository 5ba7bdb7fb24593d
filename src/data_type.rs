//! The types of a voxel's value, and the value of voxels that are not stored.

mod scalar;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use scalar::Scalar;

/// Type of a voxel's value; stored and handed on little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum DataType {
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
}

impl DataType {
    /// Every type.
    pub const ALL: [DataType; 10] = [
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
    ];

    /// The type with this name, in any case: `uint8`, `FLOAT32`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// Its name in Zarr, numpy and Neuroglancer.
    pub fn name(self) -> &'static str {
        match self {
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }

    /// Whether its values are floating point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// Bytes of a value.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::UInt8 | Self::Int8 => 1,
            Self::UInt16 | Self::Int16 => 2,
            Self::UInt32 | Self::Int32 | Self::Float32 => 4,
            Self::UInt64 | Self::Int64 | Self::Float64 => 8,
        }
    }

    /// How many of the little-endian `values` are not equal to 0 (so NaN counts and -0.0 does not).
    pub fn count_nonzero(self, values: &[u8]) -> u64 {
        fn count<const N: usize>(values: &[u8], nonzero: impl Fn([u8; N]) -> bool) -> u64 {
            let (values, _) = values.as_chunks::<N>();
            values.iter().map(|v| u64::from(nonzero(*v))).sum()
        }
        match self {
            Self::Float32 => count(values, |v| f32::from_le_bytes(v) != 0.0),
            Self::Float64 => count(values, |v| f64::from_le_bytes(v) != 0.0),
            _ => match self.size_bytes() {
                1 => (values.len() - bytecount::count(values, 0)) as u64,
                2 => count(values, |v| u16::from_le_bytes(v) != 0),
                4 => count(values, |v| u32::from_le_bytes(v) != 0),
                _ => count(values, |v| u64::from_le_bytes(v) != 0),
            },
        }
    }
}

/// Runs `$body` with `$T` standing for the Rust type of `$data_type`'s values.
macro_rules! with_type {
    ($data_type:expr, $T:ident => $body:expr) => {
        with_type!(@arms $data_type, $T, $body, UInt8 u8, UInt16 u16, UInt32 u32, UInt64 u64,
            Int8 i8, Int16 i16, Int32 i32, Int64 i64, Float32 f32, Float64 f64)
    };
    (@arms $data_type:expr, $T:ident, $body:expr, $($name:ident $type:ty),*) => {
        match $data_type {
            $($crate::data_type::DataType::$name => {
                type $T = $type;
                $body
            })*
        }
    };
}
pub(crate) use with_type;

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_in_any_case() {
        for t in DataType::ALL {
            assert_eq!(DataType::from_name(&t.name().to_uppercase()), Some(t));
            assert_eq!(serde_json::to_value(t).unwrap(), t.name());
        }
        assert_eq!(DataType::from_name("uint24"), None);
    }

    #[test]
    fn nonzero_is_a_matter_of_value_not_of_bits() {
        let values: Vec<u8> = [0.0f32, -0.0, 1.0, f32::NAN, f32::from_bits(1)]
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect();
        assert_eq!(DataType::Float32.count_nonzero(&values), 3);
        assert_eq!(DataType::UInt64.count_nonzero(&[0, 0, 0, 0, 0, 0, 0, 1]), 1);
    }

    proptest! {
        #[test]
        fn counting_many_bytes_at_once_is_counting(values in prop::collection::vec(0u8..3, 0..20_000)) {
            let expected = values.iter().filter(|v| **v != 0).count() as u64;
            prop_assert_eq!(DataType::UInt8.count_nonzero(&values), expected);
        }
    }
}
