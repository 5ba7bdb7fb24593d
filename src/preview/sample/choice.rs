//! Which samples are shown.

use std::collections::BTreeSet;

use super::array::ShownArray;
use crate::check::{ChosenSamples, Report, random_samples};
use crate::dataset::{Dataset, DatasetError, DroppedTable};
use crate::preview::PreviewError;

/// Which samples to show.
#[derive(Clone, Debug)]
pub struct SampleChoice {
    /// Most samples of each split. `None`: as many as make a page of a few MB, at most 24.
    pub samples: Option<u64>,
    /// The same number chooses the same samples.
    pub seed: u64,
    /// If not empty, the samples of these annotations, and no others.
    pub ids: Vec<u64>,
}

/// The samples to show: split and position in it, in the order of the dataset.
pub(crate) type Chosen = Vec<(String, u64)>;

/// Bytes of voxels on a page, about, if the number of samples is not given.
const PAGE_BYTES: u64 = 6 << 20;

/// Samples of each split, if their number is not given and windows are small.
const DEFAULT_SAMPLES: u64 = 24;

/// Rows of a column that are read at once.
const BATCH_ROWS: u64 = 1 << 18;

/// The samples of `dataset` to show. With a report of `check`, these are the samples that it names.
pub(crate) fn choose(
    dataset: &Dataset,
    arrays: &[ShownArray],
    choice: &SampleChoice,
    findings: Option<&Report>,
) -> Result<ChosenSamples, PreviewError> {
    if !choice.ids.is_empty() {
        return of_annotations(dataset, &choice.ids);
    }
    let most = choice
        .samples
        .unwrap_or_else(|| default_samples(dataset, arrays));
    Ok(match findings {
        Some(report) => of_findings(dataset, report, most),
        None => random_samples(dataset.manifest(), most, choice.seed),
    })
}

/// The chosen samples in the order of the dataset.
pub(crate) fn in_order(dataset: &Dataset, chosen: &ChosenSamples) -> Chosen {
    let splits = dataset.manifest().splits.keys();
    let samples = splits.flat_map(|split| {
        let of_split = chosen.get(split).into_iter().flatten();
        of_split.map(move |i| (split.clone(), *i))
    });
    samples.collect()
}

fn default_samples(dataset: &Dataset, arrays: &[ShownArray]) -> u64 {
    let splits = dataset.manifest().splits.len().max(1) as u64;
    let bytes: u64 = arrays.iter().map(ShownArray::estimated_bytes).sum();
    (PAGE_BYTES / splits / bytes.max(1)).clamp(1, DEFAULT_SAMPLES)
}

/// Samples that findings name, of each split at most `most`: one of each finding, then another one of each, and so on.
fn of_findings(dataset: &Dataset, report: &Report, most: u64) -> ChosenSamples {
    let mut chosen = ChosenSamples::new();
    for (split, entry) in &dataset.manifest().splits {
        let of_split = report.findings.iter();
        let of_split = of_split.filter(|f| f.split.as_ref() == Some(split));
        let mut lists: Vec<_> = of_split.map(|f| f.samples.iter()).collect();
        let mut samples = BTreeSet::new();
        while !lists.is_empty() && (samples.len() as u64) < most {
            lists.retain_mut(|list| match list.next() {
                None => false,
                Some(i) => {
                    if (samples.len() as u64) < most && *i < entry.samples {
                        samples.insert(*i);
                    }
                    true
                }
            });
        }
        chosen.insert(split.clone(), samples);
    }
    chosen
}

/// All samples of these annotations: an annotation may be in several boxes.
fn of_annotations(dataset: &Dataset, ids: &[u64]) -> Result<ChosenSamples, PreviewError> {
    let wanted: BTreeSet<u64> = ids.iter().copied().collect();
    let mut missing = wanted.clone();
    let mut chosen = ChosenSamples::new();
    for (split, entry) in &dataset.manifest().splits {
        let column = dataset
            .split(split)?
            .open_column::<u64>("annotation_id", Some(1))?;
        let mut samples = BTreeSet::new();
        for first in (0..entry.samples).step_by(BATCH_ROWS as usize) {
            let rows = column.rows(first..first.saturating_add(BATCH_ROWS))?;
            for (i, id) in (first..).zip(rows) {
                if wanted.contains(&id) {
                    samples.insert(i);
                    missing.remove(&id);
                }
            }
        }
        chosen.insert(split.clone(), samples);
    }
    match missing.first() {
        None => Ok(chosen),
        Some(id) => Err(PreviewError::NoSample {
            dataset: dataset.location().to_string(),
            id: *id,
            reasons: reasons(dataset, *id)?,
        }),
    }
}

/// The boxes in which the annotation was dropped, and why.
fn reasons(dataset: &Dataset, id: u64) -> Result<Vec<(String, String)>, DatasetError> {
    let mut reasons = Vec::new();
    let unreadable = |(_, e)| e;
    if let Some(table) = DroppedTable::open(dataset).map_err(unreadable)? {
        let read = table.for_each(|row| {
            if row.annotation_id == id {
                let boxes = &dataset.manifest().boxes;
                let of_box = boxes.get(row.box_index as usize);
                let name = of_box.map_or_else(String::new, |b| b.id.clone());
                reasons.push((name, row.reason.to_owned()));
            }
        });
        read.map_err(unreadable)?;
    }
    Ok(reasons)
}
