//! An input array of a network, and how its values are scaled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data_type::DataType;
use crate::dataset::ArrayEntry;

/// An input array of a network. Its channels follow those of the inputs before it.
#[derive(Clone, Debug, PartialEq)]
pub struct InputArray {
    /// Name of the array.
    pub name: String,
    /// How its values are scaled; `None`: [`Scaling::Nonzero`] if the array is a mask, otherwise [`Scaling::FullScale`].
    pub scaling: Option<Scaling>,
}

/// How the values of an input are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// uint8 / 255, uint16 / 65535, float32 unchanged.
    FullScale,
    /// 1 where the value is not 0. Augmentation does not change the values of such an input, only the position of its voxels.
    Nonzero,
    /// The first number becomes 0, the second 1; values outside are not clipped.
    Range([f64; 2]),
}

impl InputArray {
    /// An input scaled as its array requires.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scaling: None,
        }
    }
}

impl Scaling {
    /// The scaling that fits an array.
    pub(super) fn of(array: &ArrayEntry) -> Self {
        if array.has_mask_transform() {
            Self::Nonzero
        } else {
            Self::FullScale
        }
    }

    /// Whether the values of an input of this type fit in bytes, where 255 stands for 1.
    pub(super) fn fits_bytes(self, data_type: DataType) -> bool {
        match self {
            Self::FullScale => data_type == DataType::UInt8,
            Self::Nonzero => true,
            Self::Range(_) => false,
        }
    }

    /// Whether 1 is the largest value.
    pub(super) fn is_bounded(self, data_type: DataType) -> bool {
        match self {
            Self::FullScale => !data_type.is_float(),
            Self::Nonzero => true,
            Self::Range(_) => false,
        }
    }

    /// What is wrong with it, if anything: what was found, and what was expected.
    pub(crate) fn problem(self) -> Option<(String, &'static str)> {
        let Self::Range([low, high]) = self else {
            return None;
        };
        let is_range = low.is_finite() && high.is_finite() && low < high;
        (!is_range).then(|| {
            (
                format!("[{low}, {high}]"),
                "two numbers, the smaller one first",
            )
        })
    }
}

/// The place and the scaling of an input's channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct InputChannels {
    /// Its first channel in the image of a batch.
    pub first: usize,
    /// Number of its channels.
    pub count: usize,
    pub scaling: Scaling,
    pub data_type: DataType,
}

impl InputChannels {
    /// Whether augmentation changes its values.
    pub fn is_changed(&self) -> bool {
        self.scaling != Scaling::Nonzero
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_with_a_largest_one_are_clamped() {
        let range = Scaling::Range([0.0, 1.0]);
        for data_type in [DataType::UInt8, DataType::UInt16, DataType::Float32] {
            let is_integer = data_type != DataType::Float32;
            assert!(!range.is_bounded(data_type) && Scaling::Nonzero.is_bounded(data_type));
            assert_eq!(Scaling::FullScale.is_bounded(data_type), is_integer);
        }
    }

    #[test]
    fn a_range_is_two_ascending_numbers() {
        assert_eq!(Scaling::Range([0.0, 4095.0]).problem(), None);
        assert_eq!(Scaling::Nonzero.problem(), None);
        for range in [
            [1.0, 1.0],
            [2.0, 1.0],
            [0.0, f64::NAN],
            [f64::NEG_INFINITY, 0.0],
        ] {
            assert!(Scaling::Range(range).problem().is_some(), "{range:?}");
        }
    }
}
