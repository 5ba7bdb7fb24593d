//! Splits and plans without samples, and the reasons.

use std::collections::BTreeMap;

use super::drop_reason::DropReason;
use super::table::{Plan, PlannedBox};

impl Plan {
    /// A split without samples is allowed, but useless for training.
    pub(super) fn warn_about_empty_splits(&mut self) {
        for (i, split) in self.splits.iter().enumerate() {
            if split.samples.is_empty() {
                let boxes = || self.boxes.iter().filter(|b| b.split == Some(i));
                let annotations = boxes().map(|b| b.annotations).sum::<u64>();
                let dropped = match annotations {
                    0 => String::new(),
                    _ => format!(", dropped: {}", list_drops(boxes())),
                };
                self.warnings.push(format!(
                    "the split `{}` has no samples: its {} box(es) have {annotations} annotation(s){dropped}",
                    split.name,
                    boxes().count(),
                ));
            }
        }
    }

    /// If there are no samples at all: the reason.
    pub fn why_no_samples(&self) -> Option<String> {
        if self.samples() > 0 {
            return None;
        }
        let boxes = || self.boxes.iter().filter(|b| b.split.is_some());
        let annotations = boxes().map(|b| b.annotations).sum::<u64>();
        let count = boxes().count();
        Some(match annotations {
            0 => format!(
                "no annotation is in any of the {count} box(es) of the splits: check that boxes and annotations belong to the same volume, and that the config has the right units\n{}",
                self.layers_outside_boxes.join("\n")
            )
            .trim_end()
            .to_owned(),
            n => format!(
                "all of the {n} annotation(s) in the {count} box(es) of the splits were dropped: {}; change the config keys that drop them",
                list_drops(boxes())
            ),
        })
    }
}

/// How many annotations of the boxes were dropped, most common reason first.
fn list_drops<'b>(boxes: impl Iterator<Item = &'b PlannedBox>) -> String {
    let mut reasons: BTreeMap<DropReason, u64> = BTreeMap::new();
    for (reason, n) in boxes.flat_map(|b| &b.dropped) {
        *reasons.entry(*reason).or_insert(0) += n;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let texts = reasons.iter().map(|(r, n)| format!("{n} `{}`", r.name()));
    texts.collect::<Vec<_>>().join(", ")
}
