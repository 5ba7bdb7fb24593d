//! Which boxes are for training and which for validation: by their tags, or by a seeded choice.

use indexmap::{IndexMap, IndexSet};
use serde_json::{Value, json};

/// Tags that name a split, by split.
const SPLIT_TAGS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("val", &["val", "valid", "validation", "eval", "dev"]),
    ("test", &["test", "testing", "holdout"]),
];

/// One box of this many is for validation.
const VALIDATION_SHARE: usize = 5;

/// Decides which boxes are chosen, always in the same way.
const SEED: &str = "pointshard init";

/// Most tags that are listed for a split.
const MAX_TAGS: usize = 100;

/// The splits that tags give.
#[derive(Debug, PartialEq)]
pub(super) enum TagSplits {
    /// Some tags are names of splits.
    Named(IndexMap<String, Value>),
    /// Boxes have tags, and none is the name of a split: all these boxes are one split.
    Other(IndexMap<String, Value>),
    /// No box has a tag.
    None,
}

/// The splits that the tags of boxes give.
pub(super) fn of_tags<'t>(tags: impl Iterator<Item = &'t String>) -> TagSplits {
    let tags: IndexSet<&str> = tags.map(String::as_str).collect();
    let mut splits = IndexMap::new();
    for (split, names) in SPLIT_TAGS {
        let is_name = |tag: &&&str| names.iter().any(|name| tag.eq_ignore_ascii_case(name));
        let found: Vec<&str> = tags.iter().filter(is_name).copied().collect();
        match found[..] {
            [] => continue,
            [_] => splits.insert(split.to_owned(), json!(found)),
            _ => splits.insert(split.to_owned(), json!({ "any": found })),
        };
    }
    if !splits.is_empty() {
        return TagSplits::Named(splits);
    }
    let tags: Vec<&str> = tags.into_iter().take(MAX_TAGS).collect();
    if tags.is_empty() {
        TagSplits::None
    } else {
        TagSplits::Other(IndexMap::from([(
            "train".to_owned(),
            json!({ "any": tags }),
        )]))
    }
}

/// For each box whether it is for validation: about a fifth of several boxes, and at least one.
pub(super) fn chosen_for_validation(ids: &[String]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    let hash = |i: &usize| *blake3::hash(format!("{SEED} {}", ids[*i]).as_bytes()).as_bytes();
    order.sort_by_key(hash);
    let count = match ids.len() {
        0 | 1 => 0,
        n => (n / VALIDATION_SHARE).max(1),
    };
    let mut chosen = vec![false; ids.len()];
    for i in &order[..count] {
        chosen[*i] = true;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(tags: &[&str]) -> TagSplits {
        let tags: Vec<String> = tags.iter().map(|t| (*t).to_owned()).collect();
        of_tags(tags.iter())
    }

    #[test]
    fn tags_that_name_splits_are_the_splits() {
        let expected = IndexMap::from([
            ("train".to_owned(), json!({"any": ["Training", "train"]})),
            ("val".to_owned(), json!(["validation"])),
        ]);
        let found = splits(&["validation", "Training", "hard", "train"]);
        assert_eq!(found, TagSplits::Named(expected));
        let expected = IndexMap::from([("train".to_owned(), json!({"any": ["hard", "x"]}))]);
        assert_eq!(splits(&["hard", "x", "hard"]), TagSplits::Other(expected));
        assert_eq!(splits(&[]), TagSplits::None);
    }

    #[test]
    fn a_fifth_of_boxes_without_tags_is_for_validation_and_always_the_same() {
        let count = |n: usize| {
            let ids: Vec<String> = (0..n).map(|i| i.to_string()).collect();
            let chosen = chosen_for_validation(&ids);
            assert_eq!(chosen, chosen_for_validation(&ids));
            chosen.into_iter().filter(|c| *c).count()
        };
        assert_eq!([1, 2, 5, 10, 100].map(count), [0, 1, 1, 2, 20]);
    }
}
