//! Class balance: how often the values of targets are nonzero, by box. A box that differs much from the others often has a wrong
//! layer, or annotations of another kind.

use super::columns::BATCH_ROWS;
use super::content::is_target;
use super::kind::FindingKind;
use super::leaks::SplitRows;
use super::report::Finding;
use super::rows::BoxRows;
use crate::dataset::{ColumnReader, Dataset, DatasetError};

/// Boxes with fewer samples are not judged.
const LEAST_SAMPLES: u64 = 10;

/// Splits with fewer boxes are not judged.
const LEAST_BOXES: usize = 5;

/// A box is unusual if its fraction differs from the median of the boxes by more than this many times their median difference ...
const DIFFERENCES: f64 = 8.0;

/// ... and by a factor of more than this.
const FACTOR: f64 = 4.0;

/// Boxes that a message names.
const NAMED_BOXES: usize = 3;

pub(super) fn check(dataset: &Dataset, splits: &[SplitRows<'_>]) -> Vec<Finding> {
    let arrays = dataset.manifest().arrays.iter();
    let targets: Vec<_> = arrays.filter(|(_, a)| is_target(a)).collect();
    let pairs = splits
        .iter()
        .flat_map(|s| targets.iter().map(move |(t, _)| (s, t)));
    // A column that cannot be read is a finding of `columns`.
    let findings = pairs.filter_map(|(rows, target)| check_target(dataset, rows, target).ok());
    findings.flatten().collect()
}

fn check_target(
    dataset: &Dataset,
    rows: &SplitRows<'_>,
    target: &str,
) -> Result<Option<Finding>, DatasetError> {
    let manifest = dataset.manifest();
    let name = format!("{target}_nonzero_fraction");
    let column = dataset.split(rows.split)?.open_column(&name, Some(1))?;
    let means = rows.boxes.iter().map(|b| mean(&column, b));
    let means: Vec<f64> = means.collect::<Result<_, _>>()?;
    let file = format!("{}/{target}", manifest.splits[rows.split].path);
    if !means.is_empty() && means.iter().all(|mean| *mean == 0.0) {
        let message = "all values are 0 in all samples of the split: is the layer right?";
        let finding = Finding::new(FindingKind::EmptyTarget, &file, message);
        return Ok(Some(finding.in_split(rows.split)));
    }
    let counts: Vec<u64> = rows.boxes.iter().map(BoxRows::count).collect();
    let unusual = unusual(&means, &counts);
    if unusual.is_empty() {
        return Ok(None);
    }
    let describe = |n: &usize| {
        let index = rows.boxes[*n].index as usize;
        let id = manifest.boxes.get(index).map_or("", |b| &b.id);
        format!("{id:?} ({:.2} %)", 100.0 * means[*n])
    };
    let named: Vec<_> = unusual.iter().take(NAMED_BOXES).map(describe).collect();
    let others = unusual.len() - named.len();
    let others = if others > 0 {
        format!(" and {others} more")
    } else {
        String::new()
    };
    let message = format!(
        "values are nonzero much more or less often in the box {}{others} than in the others (median {:.2} %)",
        named.join(", "),
        100.0 * median(judged(&means, &counts).map(|n| means[n]).collect())
    );
    let samples = unusual.iter().flat_map(|n| rows.boxes[*n].samples.clone());
    let finding = Finding::new(FindingKind::ClassBalance, &file, message);
    Ok(Some(
        finding.in_split(rows.split).in_samples(samples.collect()),
    ))
}

/// The mean of the column in the rows of a box.
fn mean(column: &ColumnReader<f32>, of_box: &BoxRows) -> Result<f64, DatasetError> {
    let (mut sum, mut first) = (0.0, of_box.samples.start);
    while first < of_box.samples.end {
        let end = of_box.samples.end.min(first + BATCH_ROWS);
        sum += column
            .rows(first..end)?
            .iter()
            .map(|v| f64::from(*v))
            .sum::<f64>();
        first = end;
    }
    Ok(sum / of_box.count().max(1) as f64)
}

/// Positions of the boxes that have enough samples.
fn judged<'a>(means: &'a [f64], counts: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
    (0..means.len()).filter(|n| counts[*n] >= LEAST_SAMPLES)
}

/// Positions of the boxes whose mean is far from those of the others.
fn unusual(means: &[f64], counts: &[u64]) -> Vec<usize> {
    let judged: Vec<usize> = judged(means, counts).collect();
    if judged.len() < LEAST_BOXES {
        return Vec::new();
    }
    let center = median(judged.iter().map(|n| means[*n]).collect());
    let difference = median(judged.iter().map(|n| (means[*n] - center).abs()).collect());
    let is_unusual = |n: &usize| {
        let (low, high) = (means[*n].min(center), means[*n].max(center));
        high - low > DIFFERENCES * difference && high > FACTOR * low
    };
    judged.into_iter().filter(is_unusual).collect()
}

/// The lower median of values, which are not empty.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values
        .get((values.len().max(1) - 1) / 2)
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_far_from_the_others_is_unusual_if_it_has_enough_samples() {
        let usual = [0.10, 0.11, 0.09, 0.12, 0.10, 0.11];
        let with = |mean: f64, count: u64| {
            let means = [&usual[..], &[mean]].concat();
            let counts = [vec![20; usual.len()], vec![count]].concat();
            unusual(&means, &counts)
        };
        assert!(with(0.11, 20).is_empty());
        assert!(with(0.2, 20).is_empty());
        assert_eq!(with(0.6, 20), [6]);
        assert_eq!(with(0.001, 20), [6]);
        assert_eq!(with(0.0, 20), [6]);
        assert!(with(0.6, 9).is_empty());
        assert!(unusual(&[0.1, 0.1, 0.1, 0.9], &[50; 4]).is_empty());
        // All boxes are equal but one.
        assert_eq!(unusual(&[0.1, 0.1, 0.1, 0.1, 0.1, 0.5], &[50; 6]), [5]);
        // Boxes that differ much from one another have no usual value.
        assert!(unusual(&[0.01, 0.1, 0.3, 0.5, 0.7, 0.9], &[50; 6]).is_empty());
    }
}
