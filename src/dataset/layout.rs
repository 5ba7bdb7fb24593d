//! The arrays of a dataset, and how their samples are distributed over shards.

use std::ops::Range;

use super::CodecChoice;
use super::chunk_key::Separator;
use crate::data_type::{DataType, Scalar};
use crate::geometry::{AxisOrder, WindowSize};

/// Intended size of the largest array's shards, in bytes before compression.
const SHARD_BYTES: u64 = 128 << 20;

/// Most shards of a dataset. Each has two files.
const MAX_SHARDS: u64 = 10_000_000;

/// Splits, arrays and shards of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Order of the arrays' axes after `sample`.
    pub axis_order: AxisOrder,
    /// The splits.
    pub splits: Vec<SplitLayout>,
    /// The arrays that every split has.
    pub arrays: Vec<ArrayLayout>,
}

/// One split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitLayout {
    /// Its name.
    pub name: String,
    /// Number of samples.
    pub samples: u64,
    /// Samples per shard, at least 1.
    pub shard_samples: u64,
}

/// One array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayLayout {
    /// Its name.
    pub name: String,
    /// Type of a voxel's value.
    pub data_type: DataType,
    /// Values per voxel.
    pub channels: u32,
    /// Voxels of a sample, x y z.
    pub window: WindowSize,
    /// Value of voxels that are not stored. A sample that holds nothing else takes no bytes.
    pub fill_value: Scalar,
    /// How samples are compressed.
    pub codec: CodecChoice,
}

/// One shard: positions in [`Layout::splits`] and [`Layout::arrays`], and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// The split.
    pub split: usize,
    /// The array.
    pub array: usize,
    /// Which of the array's shards, from 0.
    pub shard: u64,
}

impl Layout {
    /// Distributes the samples of each split over shards: `shard_samples` each, or as many as make the largest array's shard
    /// about 128 MiB, but never more than the split has.
    pub fn new(
        axis_order: AxisOrder,
        splits: Vec<(String, u64)>,
        arrays: Vec<ArrayLayout>,
        shard_samples: Option<u32>,
    ) -> Self {
        let mut layout = Self {
            axis_order,
            splits: Vec::new(),
            arrays,
        };
        let largest = (0..layout.arrays.len())
            .map(|a| layout.sample_bytes(a))
            .max();
        let wanted = match shard_samples {
            Some(n) => u64::from(n),
            None => SHARD_BYTES / largest.unwrap_or(1).max(1),
        };
        layout.splits = splits
            .into_iter()
            .map(|(name, samples)| SplitLayout {
                name,
                samples,
                shard_samples: wanted.min(samples).max(1),
            })
            .collect();
        layout
    }

    /// Shape of a sample of the array, in the order of [`Layout::dimensions`].
    pub fn sample_shape(&self, array: usize) -> [u64; 4] {
        let a = &self.arrays[array];
        let [x, y, z] = a.window.voxels().map(u64::from);
        match self.axis_order {
            AxisOrder::Czyx => [u64::from(a.channels), z, y, x],
            AxisOrder::Cxyz => [u64::from(a.channels), x, y, z],
        }
    }

    /// Names of an array's dimensions. A dimension that is not as long as the first array's also has the array's name, because
    /// for xarray a name has one length in a group.
    pub fn dimensions(&self, array: usize) -> [String; 5] {
        let axes = match self.axis_order {
            AxisOrder::Czyx => ["channel", "z", "y", "x"],
            AxisOrder::Cxyz => ["channel", "x", "y", "z"],
        };
        let (shape, first) = (self.sample_shape(array), self.sample_shape(0));
        std::array::from_fn(|d| match d.checked_sub(1) {
            None => "sample".to_owned(),
            Some(d) if shape[d] == first[d] => axes[d].to_owned(),
            Some(d) => format!("{}_{}", axes[d], self.arrays[array].name),
        })
    }

    /// Bytes of a sample of the array before compression.
    pub fn sample_bytes(&self, array: usize) -> u64 {
        let a = &self.arrays[array];
        self.sample_shape(array).iter().product::<u64>() * a.data_type.size_bytes() as u64
    }

    /// Number of shards that each array of the split has.
    pub fn shards(&self, split: usize) -> u64 {
        let s = &self.splits[split];
        s.samples.div_ceil(s.shard_samples)
    }

    /// Fails if there are too many shards to list.
    ///
    /// # Errors
    /// What was found and expected.
    pub fn check_shards(&self) -> Result<(), String> {
        let arrays = self.arrays.len() as u64;
        let shards = (0..self.splits.len())
            .map(|split| self.shards(split).saturating_mul(arrays))
            .fold(0, u64::saturating_add);
        if shards <= MAX_SHARDS {
            Ok(())
        } else {
            Err(format!(
                "it has {shards} shards, expected at most {MAX_SHARDS}"
            ))
        }
    }

    /// The samples in the shard.
    pub fn samples(&self, id: ShardId) -> Range<u64> {
        let s = &self.splits[id.split];
        let first = id.shard * s.shard_samples;
        first..(first + s.shard_samples).min(s.samples)
    }

    /// The shard's file, relative to the output folder.
    pub fn shard_path(&self, id: ShardId) -> String {
        let (split, array) = (&self.splits[id.split].name, &self.arrays[id.array].name);
        let key = Separator::default().chunk_key(id.shard, 5);
        format!("{}/{array}/{key}", group_path(split))
    }

    /// The shard's receipt, relative to the output folder.
    pub fn receipt_path(&self, id: ShardId) -> String {
        let (split, array) = (&self.splits[id.split].name, &self.arrays[id.array].name);
        receipt_key(split, array, id.shard)
    }

    /// The groups of the splits, relative to the output folder.
    pub(super) fn groups(&self) -> impl Iterator<Item = String> + '_ {
        self.splits.iter().map(|split| group_path(&split.name))
    }

    /// Every shard, by split, array and number.
    pub fn all_shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..self.splits.len()).flat_map(move |split| {
            (0..self.arrays.len()).flat_map(move |array| {
                (0..self.shards(split)).map(move |shard| ShardId {
                    split,
                    array,
                    shard,
                })
            })
        })
    }
}

/// The receipt of a shard, relative to the output folder.
pub(crate) fn receipt_key(split: &str, array: &str, shard: u64) -> String {
    format!(".pointshard/receipts/{split}/{array}/{shard}.json")
}

/// Folder of a split's group, relative to the output folder.
/// The group of a split, relative to the output.
pub(crate) fn group_path(split: &str) -> String {
    format!("{split}.zarr")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Codec;

    fn layout(samples: u64, shard_samples: Option<u32>) -> Layout {
        let array = |name: &str, data_type| ArrayLayout {
            name: name.into(),
            data_type,
            channels: 1,
            window: WindowSize::new([64, 64, 64]).unwrap(),
            fill_value: Scalar::ZERO,
            codec: Codec::default().into(),
        };
        Layout::new(
            AxisOrder::Czyx,
            vec![("train".into(), samples)],
            vec![
                array("img", DataType::UInt8),
                array("seg", DataType::UInt64),
            ],
            shard_samples,
        )
    }

    #[test]
    fn the_largest_array_determines_the_shard_size() {
        let l = layout(1000, None);
        assert_eq!(l.splits[0].shard_samples, 64); // 64 * 64^3 * 8 bytes = 128 MiB
        assert_eq!(l.shards(0), 16);
        assert_eq!(
            l.samples(ShardId {
                split: 0,
                array: 0,
                shard: 15
            }),
            960..1000
        );
    }

    #[test]
    fn a_shard_is_never_larger_than_its_split_nor_empty() {
        assert_eq!(layout(10, None).splits[0].shard_samples, 10);
        assert_eq!(layout(10, Some(3)).shards(0), 4);
        let none = layout(0, None);
        assert_eq!((none.splits[0].shard_samples, none.shards(0)), (1, 0));
        assert_eq!(none.all_shards().count(), 0);
    }
}
