//! Samples with equal values: the same place was annotated twice, or occurs in two boxes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::kind::FindingKind;
use super::report::Finding;
use crate::dataset::{SampleArray, ShardReader};

/// Most samples that are compared in all arrays. If there are more, the finding says so.
const MAX_COMPARED: usize = 1_000;

/// The finding about samples of the split that are equal in all `arrays`; `None` if there are none. Each of `groups` has samples that
/// are probably equal in one of the arrays.
pub(super) fn finding(
    split: &str,
    group_path: &str,
    arrays: &[&SampleArray],
    groups: Vec<Vec<u64>>,
) -> Option<Finding> {
    let mut arrays: Vec<_> = arrays.iter().map(|array| OpenShards::of(array)).collect();
    let candidates: usize = groups.iter().map(|group| group.len() - 1).sum();
    let mut equal = Vec::new();
    let mut compared = 0;
    for group in groups {
        let mut earlier: Vec<u64> = Vec::new();
        for sample in group {
            if compared >= MAX_COMPARED {
                break;
            }
            compared += usize::from(!earlier.is_empty());
            let mut others = earlier.iter();
            if others.any(|other| are_equal(&mut arrays, *other, sample)) {
                equal.push(sample);
            } else {
                earlier.push(sample);
            }
        }
    }
    if equal.is_empty() {
        return None;
    }
    equal.sort_unstable();
    let mut message = "each of these samples has the same values in all arrays as an earlier sample: the same place was annotated twice, or is in two boxes".to_owned();
    if candidates > MAX_COMPARED {
        message += &format!(
            "; {candidates} samples are probably equal to others, {MAX_COMPARED} were compared"
        );
    }
    Some(
        Finding::new(FindingKind::EqualSamples, group_path, message)
            .in_split(split)
            .in_samples(equal),
    )
}

/// Shards of an array that are open at most: the index of one may take many MiB.
const MAX_OPEN_SHARDS: usize = 4;

/// An array, with the shards that were read last. Opening one reads its index.
struct OpenShards<'a> {
    array: &'a SampleArray,
    shards: HashMap<u64, ShardReader>,
}

impl<'a> OpenShards<'a> {
    fn of(array: &'a SampleArray) -> Self {
        Self {
            array,
            shards: HashMap::new(),
        }
    }

    /// The values of a sample; `None` if it cannot be read.
    fn read(&mut self, i: u64) -> Option<Vec<u8>> {
        let number = i / self.array.shard_samples();
        if self.shards.len() >= MAX_OPEN_SHARDS && !self.shards.contains_key(&number) {
            self.shards.clear();
        }
        let shard = match self.shards.entry(number) {
            Entry::Occupied(shard) => shard.into_mut(),
            Entry::Vacant(place) => place.insert(self.array.open_shard_of(i).ok()?),
        };
        self.array.read_from(shard, i).ok()
    }
}

/// Whether two samples are equal in all arrays. Samples that cannot be read are not.
fn are_equal(arrays: &mut [OpenShards<'_>], a: u64, b: u64) -> bool {
    arrays.iter_mut().all(|array| {
        let (a, b) = (array.read(a), array.read(b));
        a.is_some() && a == b
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type::{DataType, Scalar};
    use crate::dataset::Codec;
    use crate::dataset::testing::{TestArray, write};
    use crate::geometry::AxisOrder;

    fn array(name: &'static str, values: &[u8]) -> TestArray {
        TestArray {
            name,
            data_type: DataType::UInt8,
            channels: 1,
            window: [2, 1, 1],
            fill_value: Scalar::ZERO,
            codec: Codec::default(),
            samples: values.iter().map(|v| Some(vec![*v, 1])).collect(),
        }
    }

    #[test]
    fn samples_are_equal_if_they_are_in_all_arrays() {
        let dir = tempfile::tempdir().unwrap();
        let arrays = [
            array("img", &[5, 5, 5, 6, 5]),
            array("mask", &[1, 2, 1, 1, 2]),
        ];
        let dataset = write(dir.path(), AxisOrder::Czyx, &arrays, 2);
        let split = dataset.split("train").unwrap();
        let (img, mask) = (
            split.samples("img").unwrap(),
            split.samples("mask").unwrap(),
        );
        let found = |arrays: &[&SampleArray], groups: Vec<Vec<u64>>| {
            finding("train", "train.zarr", arrays, groups).map(|f| f.samples)
        };
        assert_eq!(
            found(&[&img, &mask], vec![vec![0, 1, 2, 4]]),
            Some(vec![2, 4])
        );
        assert_eq!(found(&[&img], vec![vec![0, 1, 2, 4]]), Some(vec![1, 2, 4]));
        assert_eq!(found(&[&img, &mask], vec![vec![0, 1]]), None);
        assert_eq!(
            found(&[&img, &mask], vec![vec![0, 3], vec![1, 4]]),
            Some(vec![4])
        );
        assert_eq!(found(&[&img, &mask], vec![]), None);
    }
}
