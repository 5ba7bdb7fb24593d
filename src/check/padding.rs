//! The columns `<array>_inside_fraction`: one fraction per sample, less than 1 where the manifest counts a padded window.

use super::columns::BATCH_ROWS;
use super::kind::FindingKind;
use super::report::{Finding, describe};
use crate::dataset::{Dataset, DatasetError, SplitReader};

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
        let (kind, (samples, message)) = match InsideFractions::read(reader, &column, entry.samples)
        {
            Err(e) => (FindingKind::Column, (Vec::new(), describe(&e))),
            Ok(fractions) => (FindingKind::InsideFraction, fractions.problem(padded)?),
        };
        let file = format!("{}/{column}", entry.path);
        let finding = Finding::new(kind, &file, message);
        Some(finding.in_split(split).in_samples(samples))
    };
    let arrays = manifest.arrays.iter();
    let counted = arrays.filter_map(|(name, a)| Some((name, *a.padded_windows.get(split)?)));
    counted.filter_map(check_array).collect()
}

/// The fractions of an array's windows.
#[derive(Default)]
struct InsideFractions {
    rows: u64,
    /// Rows that are not fractions.
    invalid: Vec<u64>,
    /// Number of rows less than 1.
    padded: u64,
}

impl InsideFractions {
    fn read(reader: &SplitReader, column: &str, samples: u64) -> Result<Self, DatasetError> {
        let column = reader.open_column(column, Some(1))?;
        let mut fractions = Self::default();
        while fractions.rows < samples {
            let first = fractions.rows;
            fractions.add(&column.rows(first..first.saturating_add(BATCH_ROWS))?);
        }
        Ok(fractions)
    }

    /// Adds the next rows.
    fn add(&mut self, fractions: &[f32]) {
        for fraction in fractions {
            if !(0.0..=1.0).contains(fraction) {
                self.invalid.push(self.rows);
            }
            self.padded += u64::from(*fraction < 1.0);
            self.rows += 1;
        }
    }

    /// What is wrong, if anything: the samples, and a message.
    fn problem(self, padded: u64) -> Option<(Vec<u64>, String)> {
        if !self.invalid.is_empty() {
            let message = "found values that are not fractions, expected numbers from 0 to 1";
            return Some((self.invalid, message.to_owned()));
        }
        let found = self.padded;
        (found != padded).then(|| {
            let message = format!(
                "{found} of its values are less than 1, but the manifest counts {padded} padded windows"
            );
            (Vec::new(), message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_from_0_to_1_and_below_1_as_often_as_windows_are_padded() {
        let problem = |batches: &[&[f32]], padded| {
            let mut fractions = InsideFractions::default();
            batches.iter().for_each(|batch| fractions.add(batch));
            fractions.problem(padded)
        };
        assert_eq!(problem(&[&[1.0, 0.5], &[0.0]], 2), None);
        for invalid in [-0.5, 1.5, f32::NAN, f32::INFINITY] {
            let found = problem(&[&[1.0], &[1.0, invalid, 0.5]], 1).unwrap();
            assert_eq!(found.0, [2]);
        }
        let (samples, message) = problem(&[&[1.0, 0.5, 1.0]], 2).unwrap();
        assert!(
            samples.is_empty() && message.contains("counts 2 padded"),
            "{message}"
        );
    }
}
