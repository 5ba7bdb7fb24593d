//! Plans and splits without a sample, and why.

use std::collections::BTreeMap;

use super::{DropReason, Plan, PlannedBox};

impl Plan {
    /// Nothing is wrong with a split without a sample, but nobody trains on it either.
    pub(super) fn tell_of_empty_splits(&mut self) {
        for (number, split) in self.splits.iter().enumerate() {
            if split.samples.is_empty() {
                let boxes = || self.boxes.iter().filter(|b| b.split == Some(number));
                self.warnings.push(format!(
                    "the split `{}` has no sample: its {} box(es) hold {} annotation(s){}",
                    split.name,
                    boxes().count(),
                    boxes().map(|b| b.annotations).sum::<u64>(),
                    dropped_of(boxes())
                ));
            }
        }
    }

    /// Why there is no sample at all, where that is so.
    pub fn without_samples(&self) -> Option<String> {
        if self.samples() > 0 {
            return None;
        }
        let boxes = || self.boxes.iter().filter(|b| b.split.is_some());
        let annotations = boxes().map(|b| b.annotations).sum::<u64>();
        let count = boxes().count();
        Some(match annotations {
            0 => format!(
                "no annotation lies in any of the {count} box(es) of the splits: are boxes and annotations those of one volume, in the units that the config says?\n{}",
                self.outside_of_boxes.join("\n")
            )
            .trim_end()
            .to_owned(),
            n => format!(
                "none of the {n} annotation(s) in the {count} box(es) of the splits is a sample{}; the config's keys of these names drop them",
                dropped_of(boxes())
            ),
        })
    }
}

/// How many annotations of the boxes were dropped, the main reason first; nothing where none were.
fn dropped_of<'b>(boxes: impl Iterator<Item = &'b PlannedBox>) -> String {
    let mut reasons: BTreeMap<DropReason, u64> = BTreeMap::new();
    for (reason, n) in boxes.flat_map(|b| &b.dropped) {
        *reasons.entry(*reason).or_insert(0) += n;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let told = reasons.iter().map(|(r, n)| format!("{n} `{}`", r.name()));
    match reasons.is_empty() {
        true => String::new(),
        false => format!(", dropped: {}", told.collect::<Vec<_>>().join(", ")),
    }
}
