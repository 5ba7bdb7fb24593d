//! Random samples of each split. The same seed chooses the same samples.

use std::collections::BTreeSet;

use super::ChosenSamples;
use crate::dataset::{Manifest, SplitEntry};

/// At most `count` samples of each split, by split.
pub(crate) fn random_samples(manifest: &Manifest, count: u64, seed: u64) -> ChosenSamples {
    let of_split = |(name, split): (&String, &SplitEntry)| {
        let mut chosen = BTreeSet::new();
        let wanted = count.min(split.samples);
        let mut number = 0u64;
        while (chosen.len() as u64) < wanted {
            let text = format!("{seed} {name} {number}");
            let digest = blake3::hash(text.as_bytes());
            let first = digest.as_bytes().first_chunk().copied();
            chosen.insert(u64::from_le_bytes(first.unwrap_or_default()) % split.samples);
            number += 1;
        }
        (name.clone(), chosen)
    };
    manifest.splits.iter().map(of_split).collect()
}
