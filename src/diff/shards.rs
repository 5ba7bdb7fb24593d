//! Shards of two datasets that have the same samples of the same array, but other bytes.

use std::collections::HashMap;

use super::keys::Keys;
use super::{Difference, DifferenceKind, comparable_array};
use crate::dataset::{Dataset, DatasetError, Manifest, ShardEntry};

/// Shards with other bytes, as far as both datasets have the same samples in them, of arrays that do not differ.
pub(super) fn compare(a: &Dataset, b: &Dataset) -> Result<Vec<Difference>, DatasetError> {
    let (of_a, of_b) = (a.manifest(), b.manifest());
    let message = if of_a.plan_digest == of_b.plan_digest {
        "other bytes, although the plans are equal: voxels of the source changed between the jobs"
    } else {
        "other bytes, although it has the same samples of the same array: a column says why, or voxels of the source changed"
    };
    let shards_of_b = of_b.shards.iter();
    let shards_of_b: HashMap<_, _> = shards_of_b.map(|s| (s.path.as_str(), s)).collect();
    let mut splits: HashMap<&str, (Keys<'_>, Keys<'_>)> = HashMap::new();
    let mut differences = Vec::new();
    for shard in &of_a.shards {
        let Some(other) = shards_of_b.get(shard.path.as_str()) else {
            continue;
        };
        if shard.blake3 == other.blake3 || !is_same_array(of_a, of_b, shard, other) {
            continue;
        }
        if !splits.contains_key(shard.split.as_str()) {
            let keys = (Keys::of(a, &shard.split)?, Keys::of(b, &shard.split)?);
            splits.insert(&shard.split, keys);
        }
        let (one, other) = &splits[shard.split.as_str()];
        let rows = shard.first_sample..shard.first_sample.saturating_add(shard.samples);
        if one.are_those_of(other, &rows)? {
            differences.push(Difference::new(DifferenceKind::File, &shard.path, message));
        }
    }
    Ok(differences)
}

/// Whether both shards have as many samples of the same array from the same number on. How arrays differ is said elsewhere.
fn is_same_array(a: &Manifest, b: &Manifest, one: &ShardEntry, other: &ShardEntry) -> bool {
    let range = |s: &ShardEntry| (s.first_sample, s.samples);
    let array = |manifest: &Manifest| manifest.arrays.get(&one.array).map(comparable_array);
    range(one) == range(other) && array(a) == array(b)
}
