//! The columns `<array>_inside_fraction`: one fraction per sample, less than 1 where the manifest counts a padded window.

use super::report::{Finding, FindingKind, describe};
use crate::dataset::{Dataset, SplitReader};

/// Suffix of the columns that say how much of an array's windows is inside of the layer's volume.
const INSIDE_FRACTION: &str = "_inside_fraction";

/// Whether [`check`] reads the column.
pub(super) fn is_checked(dataset: &Dataset, split: &str, column: &str) -> bool {
    let arrays = &dataset.manifest().arrays;
    let name = column.strip_suffix(INSIDE_FRACTION);
    let array = name.and_then(|name| arrays.get(name));
    array.is_some_and(|a| a.padded_windows.contains_key(split))
}

/// Checks the columns of a split. Older manifests count no padded windows and have no such column.
pub(super) fn check(dataset: &Dataset, split: &str, reader: &SplitReader) -> Vec<Finding> {
    let manifest = dataset.manifest();
    let entry = &manifest.splits[split];
    let check_array = |(name, padded): (&String, u64)| {
        let column = format!("{name}{INSIDE_FRACTION}");
        let (samples, message) = match reader.column::<f32>(&column) {
            Err(e) => (Vec::new(), describe(&e)),
            Ok(fractions) => problem(&fractions, entry.samples, padded)?,
        };
        Some(Finding {
            kind: FindingKind::Column,
            file: format!("{}/{column}", entry.path),
            split: Some(split.to_owned()),
            samples,
            message,
        })
    };
    let arrays = manifest.arrays.iter();
    let counted = arrays.filter_map(|(name, a)| Some((name, *a.padded_windows.get(split)?)));
    counted.filter_map(check_array).collect()
}

/// What is wrong with the fractions of an array's windows, if anything: the samples, and a message.
fn problem(fractions: &[f32], samples: u64, padded: u64) -> Option<(Vec<u64>, String)> {
    let rows = fractions.len();
    if rows as u64 != samples {
        let message = format!("it has {rows} rows, expected one per sample: {samples}");
        return Some((Vec::new(), message));
    }
    let invalid = (0..)
        .zip(fractions)
        .filter(|(_, v)| !(0.0..=1.0).contains(*v));
    let invalid: Vec<u64> = invalid.map(|(i, _)| i).collect();
    if !invalid.is_empty() {
        let message = "found values that are not fractions, expected numbers from 0 to 1";
        return Some((invalid, message.to_owned()));
    }
    let found = fractions.iter().filter(|v| **v < 1.0).count() as u64;
    (found != padded).then(|| {
        let message = format!(
            "{found} of its values are less than 1, but the manifest counts {padded} padded windows"
        );
        (Vec::new(), message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_from_0_to_1_and_below_1_as_often_as_windows_are_padded() {
        assert_eq!(problem(&[1.0, 0.5, 0.0], 3, 2), None);
        let of = |fractions: &[f32], samples, padded| problem(fractions, samples, padded).unwrap();
        assert!(of(&[1.0, 1.0], 3, 0).1.contains("2 rows"));
        for invalid in [-0.5, 1.5, f32::NAN, f32::INFINITY] {
            assert_eq!(of(&[1.0, invalid, 0.5], 3, 1).0, [1]);
        }
        let (samples, message) = of(&[1.0, 0.5, 1.0], 3, 2);
        assert!(
            samples.is_empty() && message.contains("counts 2 padded"),
            "{message}"
        );
    }
}
