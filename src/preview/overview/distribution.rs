//! How the values of index columns are distributed in each split.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataset::{AnyColumn, ColumnNumber, Dataset, DatasetError};
use crate::preview::report::short;

/// The distribution of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    /// Name of the column.
    pub column: String,
    /// Names of the bins.
    pub bins: Vec<String>,
    /// By split: the number of samples in each bin.
    pub splits: Vec<(String, Vec<u64>)>,
}

/// Bins of a range of numbers.
const BINS: usize = 20;

/// Most different values that have a bin each.
const MAX_VALUES: usize = 20;

/// Rows of a column that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

/// Columns whose values are positions or ids: their distribution means nothing.
const EXCLUDED: [&str; 5] = [
    "annotation_id",
    "box",
    "center_nm",
    "start_voxel",
    "resolution_nm",
];
const EXCLUDED_SUFFIXES: [&str; 3] = ["_start_voxel", "_object_id", "_object_ids"];

/// The distributions of all columns that have one.
pub(crate) fn distributions(dataset: &Dataset) -> Result<Vec<Distribution>, DatasetError> {
    let manifest = dataset.manifest();
    let mut names: Vec<&str> = Vec::new();
    for split in manifest.splits.values() {
        for name in manifest.columns(split) {
            if has_distribution(name) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let found = names.into_iter().map(|name| distribution(dataset, name));
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn has_distribution(column: &str) -> bool {
    let is_excluded = EXCLUDED_SUFFIXES.iter().any(|s| column.ends_with(s));
    !EXCLUDED.contains(&column) && !is_excluded
}

/// The distribution of the column; `None` if it has several values per sample, or none at all.
fn distribution(dataset: &Dataset, name: &str) -> Result<Option<Distribution>, DatasetError> {
    let manifest = dataset.manifest();
    let mut columns = Vec::new();
    for (split, entry) in &manifest.splits {
        if !manifest.columns(entry).contains(name) {
            continue;
        }
        let folder = format!("{}/{name}", entry.path);
        let column = AnyColumn::open(Arc::clone(dataset.store()), folder, entry.samples)?;
        if column.row_values() != 1 {
            return Ok(None);
        }
        columns.push((split.clone(), column, entry.samples));
    }
    let mut range = Range::default();
    for (_, column, samples) in &columns {
        for_each(column, *samples, |value| range.add(value))?;
    }
    let labels = columns.first().map(|(_, c, _)| c.labels());
    let Some(bins) = Bins::of(name, &range, labels.unwrap_or_default()) else {
        return Ok(None);
    };
    let mut splits = Vec::new();
    for (split, column, samples) in columns {
        let mut counts = vec![0; bins.len()];
        for_each(&column, samples, |value| {
            if let Some(bin) = bins.bin_of(value) {
                counts[bin] += 1;
            }
        })?;
        splits.push((split, counts));
    }
    Ok(Some(Distribution {
        column: name.to_owned(),
        bins: bins.names(),
        splits,
    }))
}

fn for_each(
    column: &AnyColumn,
    samples: u64,
    mut visit: impl FnMut(ColumnNumber),
) -> Result<(), DatasetError> {
    for first in (0..samples).step_by(BATCH_ROWS as usize) {
        let rows = column.rows(first..first.saturating_add(BATCH_ROWS))?;
        rows.into_iter().for_each(&mut visit);
    }
    Ok(())
}

/// The range of a column, and its different values if they are few.
#[derive(Default)]
struct Range {
    min: Option<f64>,
    max: Option<f64>,
    /// By number, as text: at most one more than [`MAX_VALUES`].
    values: BTreeMap<OrderedNumber, String>,
}

/// A number in its order.
#[derive(Clone, Copy, PartialEq)]
struct OrderedNumber(f64);

impl Eq for OrderedNumber {}

impl PartialOrd for OrderedNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Range {
    fn add(&mut self, value: ColumnNumber) {
        let number = value.as_f64();
        if !number.is_finite() {
            return;
        }
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
        if self.values.len() <= MAX_VALUES {
            let text = || value.to_string();
            self.values
                .entry(OrderedNumber(number))
                .or_insert_with(text);
        }
    }
}

/// The bins of a distribution.
enum Bins {
    /// One for each value that has a label.
    Labels(Vec<(f64, String)>),
    /// One for each value.
    Values(BTreeMap<OrderedNumber, String>),
    /// Of equal width, from the first number to the second one.
    Equal([f64; 2]),
}

impl Bins {
    fn of(column: &str, range: &Range, labels: Vec<(f64, String)>) -> Option<Self> {
        let (min, max) = (range.min?, range.max?);
        let is_fraction = column.ends_with("_fraction") && min >= 0.0 && max <= 1.0;
        Some(if !labels.is_empty() {
            Self::Labels(labels)
        } else if is_fraction {
            Self::Equal([0.0, 1.0])
        } else if range.values.len() <= MAX_VALUES {
            Self::Values(range.values.clone())
        } else {
            Self::Equal([min, max])
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Labels(labels) => labels.len(),
            Self::Values(values) => values.len(),
            Self::Equal(_) => BINS,
        }
    }

    fn bin_of(&self, value: ColumnNumber) -> Option<usize> {
        let number = value.as_f64();
        match self {
            Self::Labels(labels) => labels.iter().position(|(value, _)| *value == number),
            Self::Values(values) => values.keys().position(|v| *v == OrderedNumber(number)),
            Self::Equal([low, high]) => {
                let share = (number - low) / (high - low);
                // The last bin includes its upper end. NaN is in no bin.
                let bin = (share * BINS as f64).min(BINS as f64 - 1.0);
                share.is_finite().then_some(bin as usize)
            }
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Labels(labels) => labels.iter().map(|(_, label)| label.clone()).collect(),
            Self::Values(values) => values.values().cloned().collect(),
            Self::Equal([low, high]) => {
                let edge = |i: usize| low + (high - low) * i as f64 / BINS as f64;
                let name = |i| format!("{} to {}", trimmed(edge(i)), trimmed(edge(i + 1)));
                (0..BINS).map(name).collect()
            }
        }
    }
}

/// A number without zeros at its end.
fn trimmed(value: f64) -> String {
    let text = short(value);
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(values: impl IntoIterator<Item = f64>) -> Range {
        let mut range = Range::default();
        values
            .into_iter()
            .for_each(|v| range.add(ColumnNumber::Float(v)));
        range
    }

    #[test]
    fn fractions_have_bins_of_a_twentieth_and_1_is_in_the_last_one() {
        let bins = Bins::of("img_nonzero_fraction", &range([0.5, 0.5]), Vec::new()).unwrap();
        assert_eq!(bins.names()[0], "0 to 0.05");
        for (value, bin) in [(0.0, 0), (0.049, 0), (0.05, 1), (0.99, 19), (1.0, 19)] {
            assert_eq!(
                bins.bin_of(ColumnNumber::Float(value)),
                Some(bin),
                "{value}"
            );
        }
        assert_eq!(bins.bin_of(ColumnNumber::Float(f64::NAN)), None);
    }

    #[test]
    fn few_values_have_a_bin_each_many_a_range_and_labels_their_name() {
        let few = Bins::of("property_kind", &range([3.0, 1.0, 3.0]), Vec::new()).unwrap();
        assert_eq!(few.names(), ["1", "3"]);
        assert_eq!(few.bin_of(ColumnNumber::Unsigned(3)), Some(1));
        let many = Bins::of("property_size", &range((0..=40).map(f64::from)), Vec::new()).unwrap();
        assert_eq!((many.len(), many.names()[19].as_str()), (20, "38 to 40"));
        let labels = vec![(3.0, "no".to_owned()), (1.0, "yes".to_owned())];
        let labels = Bins::of("property_ok", &range([0.0]), labels).unwrap();
        assert_eq!(labels.bin_of(ColumnNumber::Unsigned(1)), Some(1));
        assert_eq!(labels.bin_of(ColumnNumber::Unsigned(2)), None);
        assert!(Bins::of("property_nan", &range([f64::NAN]), Vec::new()).is_none());
    }
}
