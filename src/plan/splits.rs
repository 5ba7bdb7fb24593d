//! Which split a box belongs to: by its tags, or at random.
//!
//! The random number of a box depends on the seed and on the box alone, so that boxes that are added or removed change the split
//! of no other box. The numbers of boxes in the splits are therefore not exact.

use std::collections::BTreeSet;

use super::error::PlanError;
use super::table::PlannedBox;
use crate::collection::TaggedBox;
use crate::config::{ConfigFile, GroupBy, RandomParts, RandomSplitsConfig, SplitConfig};

/// Separates random numbers of boxes from those of other choices with the same seed.
const PURPOSE: &[u8] = b"splits";

/// Assigns boxes to splits.
pub(super) struct SplitChooser<'c> {
    file: &'c ConfigFile,
    /// The number of random splits. They come before the splits by tags.
    random_splits: usize,
    /// Number of boxes that took part in the random choice.
    boxes: u64,
    /// How many of these boxes have no tag that they are grouped by, and the id of the first one.
    ungrouped: (u64, Option<String>),
}

impl<'c> SplitChooser<'c> {
    pub(super) fn new(file: &'c ConfigFile) -> Self {
        let random = file.config.random_splits.as_ref();
        Self {
            file,
            random_splits: random.map_or(0, |random| random.names().count()),
            boxes: 0,
            ungrouped: (0, None),
        }
    }

    /// The split of a box: a position in the names of the config's splits. `id` is the box's id in the job.
    pub(super) fn split_of(
        &mut self,
        id: &str,
        tagged: &TaggedBox,
    ) -> Result<Option<usize>, PlanError> {
        let splits = self.file.config.splits.iter().enumerate();
        let mut fitting = splits.filter(|(_, (_, split))| split.fits(&tagged.tags));
        let first = fitting.next();
        match (first, fitting.next()) {
            (Some((_, (first, _))), Some((_, (second, _)))) => Err(PlanError::SeveralSplits {
                id: id.to_owned(),
                tags: tagged.tags.clone(),
                first: first.clone(),
                second: second.clone(),
                config: self.file.path.clone(),
            }),
            (Some((i, _)), _) => Ok(Some(self.random_splits + i)),
            (None, _) => Ok(self.random_split_of(id, tagged)),
        }
    }

    /// The random split of a box that belongs to no split by its tags.
    fn random_split_of(&mut self, id: &str, tagged: &TaggedBox) -> Option<usize> {
        let random = self.file.config.random_splits.as_ref()?;
        if !random.tags.fits(&tagged.tags) {
            return None;
        }
        self.boxes += 1;
        if let Some(GroupBy::TagPrefix(prefix)) = &random.group_by
            && !tagged.tags.iter().any(|tag| tag.starts_with(prefix))
        {
            self.ungrouped.0 += 1;
            self.ungrouped.1.get_or_insert_with(|| id.to_owned());
        }
        random.split_of(random_number(random, tagged))
    }

    /// Fails if a split has no box because of a tag that no box has, if a random split has no box, or if no split has one. A split
    /// by tags may be empty because no box has all of its tags at once.
    pub(super) fn require_boxes(
        &self,
        boxes: &[PlannedBox],
        collection: &str,
    ) -> Result<(), PlanError> {
        let is_empty = |split: usize| boxes.iter().all(|b| b.split != Some(split));
        let is_known = |tag: &String| boxes.iter().any(|b| b.tags.contains(tag));
        let no_split = boxes.iter().all(|b| b.split.is_none());
        let no_box = |path: String, split: String, tags: &SplitConfig| PlanError::NoBox {
            split,
            path,
            boxes: boxes.len(),
            collection: collection.to_owned(),
            config: self.file.path.clone(),
            wanted: list_of_tags(tags.tags()),
            found: list_of_tags(boxes.iter().flat_map(|b| &b.tags)),
        };
        for (i, (name, split)) in self.file.config.splits.iter().enumerate() {
            let has_unknown_tag = split.all.iter().chain(&split.any).any(|tag| !is_known(tag));
            let is_wrong = has_unknown_tag || (no_split && self.random_splits == 0);
            if is_empty(self.random_splits + i) && is_wrong {
                return Err(no_box(
                    format!("splits.{name}"),
                    format!("split `{name}`"),
                    split,
                ));
            }
        }
        let Some(random) = &self.file.config.random_splits else {
            return Ok(());
        };
        if self.boxes == 0 && !random.tags.is_empty() {
            let path = "random_splits.tags".to_owned();
            return Err(no_box(path, "random splits".to_owned(), &random.tags));
        }
        if let Some(GroupBy::TagPrefix(prefix)) = &random.group_by
            && self.boxes > 0
            && self.ungrouped.0 == self.boxes
        {
            return Err(PlanError::NoTagWithPrefix {
                prefix: prefix.clone(),
                config: self.file.path.clone(),
                found: list_of_tags(boxes.iter().flat_map(|b| &b.tags)),
            });
        }
        match random.names().enumerate().find(|(i, _)| is_empty(*i)) {
            None => Ok(()),
            Some((_, split)) => Err(PlanError::NoRandomBox {
                split: split.to_owned(),
                boxes: self.boxes,
                collection: collection.to_owned(),
                config: self.file.path.clone(),
                part: part(random, split),
                grouped: random.group_by.is_some(),
            }),
        }
    }
}

impl SplitChooser<'_> {
    /// A warning about boxes that have no tag that they are grouped by, if there are some.
    pub(super) fn warning(&self) -> Option<String> {
        let random = self.file.config.random_splits.as_ref()?;
        let (ungrouped, Some(example)) = &self.ungrouped else {
            return None;
        };
        let Some(GroupBy::TagPrefix(prefix)) = &random.group_by else {
            return None;
        };
        Some(format!(
            "{ungrouped} of {} box(es) in the random splits have no tag that begins with `{prefix}` (`random_splits.group_by`): each is a group of its own, for example {example:?}",
            self.boxes
        ))
    }
}

/// The random number of a box: the first 8 bytes of a digest, little-endian.
fn random_number(config: &RandomSplitsConfig, tagged: &TaggedBox) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(PURPOSE);
    hasher.update(&config.seed.to_le_bytes());
    hasher.update(group_of(config.group_by.as_ref(), tagged).as_bytes());
    let digest = hasher.finalize();
    u64::from_le_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default())
}

/// What boxes with the same random number have in common. The name of the collection is no part of it, so that a job may get
/// more collections.
fn group_of(group_by: Option<&GroupBy>, tagged: &TaggedBox) -> String {
    match group_by {
        None => tagged.id.clone(),
        Some(GroupBy::TagPrefix(prefix)) => {
            let mut tags = tagged.tags.iter();
            let tag = tags.find(|tag| tag.starts_with(prefix));
            tag.unwrap_or(&tagged.id).clone()
        }
        Some(GroupBy::BlockNm(size)) => {
            let (min, max) = (tagged.bounds.min(), tagged.bounds.max());
            let block = |d: usize| ((min[d] + max[d]) / 2.0 / size[d]).floor() as i64;
            format!("block {} {} {}", block(0), block(1), block(2))
        }
    }
}

/// Which part of the boxes a random split gets, in words.
fn part(random: &RandomSplitsConfig, split: &str) -> String {
    match &random.parts {
        RandomParts::Fractions(fractions) => {
            let fraction = fractions.get(split).copied().unwrap_or_default();
            format!("a fraction of {fraction}")
        }
        RandomParts::Folds { folds, fold } if split == "val" => {
            format!("the fold {fold} of {folds}")
        }
        RandomParts::Folds { folds, fold } => format!("all of the {folds} folds except {fold}"),
    }
}

/// The different tags in alphabetical order.
fn list_of_tags<'t>(tags: impl Iterator<Item = &'t String>) -> String {
    let tags: BTreeSet<&String> = tags.collect();
    if tags.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = tags.into_iter().map(|tag| format!("`{tag}`")).collect();
    quoted.join(", ")
}
