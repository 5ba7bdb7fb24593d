//! Index columns: one row per sample, and true. Boxes contain their points, and windows start where the rule says.

use std::collections::{HashMap, HashSet};

use super::groups::members;
use super::padding;
use super::report::{Finding, FindingKind, describe};
use crate::dataset::{Dataset, DatasetError, Manifest, SplitEntry, SplitReader};
use crate::geometry::{BoxNm, PointNm, Resolution, WindowSize};

pub(super) fn check(dataset: &Dataset) -> Vec<Finding> {
    let splits = dataset.manifest().splits.iter();
    splits
        .flat_map(|(name, split)| check_split(dataset, name, split))
        .collect()
}

fn check_split(dataset: &Dataset, name: &str, split: &SplitEntry) -> Vec<Finding> {
    let unreadable =
        |column: &str, e: &DatasetError| finding(split, name, column, Vec::new(), describe(e));
    let reader = match dataset.split(name) {
        Ok(reader) => reader,
        Err(e) => return vec![unreadable("", &e)],
    };
    let mut findings = Vec::new();
    let columns = Columns::read(&reader, |column, e| findings.push(unreadable(column, &e)));
    let arrays = &dataset.manifest().arrays;
    let others = members(dataset, split).into_iter().filter(|column| {
        !arrays.contains_key(*column)
            && !Columns::NAMES.contains(column)
            && !padding::is_checked(dataset, name, column)
    });
    for column in others {
        let checked = reader.check_column(column);
        findings.extend(checked.err().map(|e| unreadable(column, &e)));
    }
    if let Some(columns) = columns {
        findings.extend(columns.check(dataset.manifest(), name));
    }
    findings.extend(padding::check(dataset, name, &reader));
    findings
}

/// The columns that every dataset has.
struct Columns {
    annotation_id: Vec<u64>,
    box_index: Vec<u32>,
    center_nm: Vec<[f64; 3]>,
    start_voxel: Vec<[i64; 3]>,
    resolution_nm: Vec<[f64; 3]>,
}

/// Something that is wrong with a column: its name, the samples, and a message.
type ColumnProblem = (&'static str, Vec<u64>, String);

impl Columns {
    const NAMES: [&str; 5] = [
        "annotation_id",
        "box",
        "center_nm",
        "start_voxel",
        "resolution_nm",
    ];

    /// Reads the columns; `None` where one cannot be read. Calls `failed` with each of these.
    fn read(reader: &SplitReader, mut failed: impl FnMut(&str, DatasetError)) -> Option<Self> {
        fn ok<T>(
            name: &str,
            read: Result<T, DatasetError>,
            failed: &mut impl FnMut(&str, DatasetError),
        ) -> Option<T> {
            read.map_err(|e| failed(name, e)).ok()
        }
        let [id, box_index, center, start, resolution] = Self::NAMES;
        let annotation_id = ok(id, reader.column(id), &mut failed);
        let box_index = ok(box_index, reader.column(box_index), &mut failed);
        let center_nm = ok(center, triples(reader, center), &mut failed);
        let start_voxel = ok(start, triples(reader, start), &mut failed);
        let resolution_nm = ok(resolution, triples(reader, resolution), &mut failed);
        Some(Self {
            annotation_id: annotation_id?,
            box_index: box_index?,
            center_nm: center_nm?,
            start_voxel: start_voxel?,
            resolution_nm: resolution_nm?,
        })
    }

    fn check(&self, manifest: &Manifest, split: &str) -> Vec<Finding> {
        let entry = &manifest.splits[split];
        let mut problems = self.wrong_lengths(entry.samples);
        if problems.is_empty() {
            problems = [
                self.foreign_boxes(manifest, split),
                self.outside_of_box(manifest),
                self.misplaced(manifest),
                self.wrong_resolutions(manifest),
                self.repeated(),
            ]
            .into_iter()
            .filter(|(_, samples, _)| !samples.is_empty())
            .collect();
            problems.extend(self.wrong_counts(manifest, split));
        }
        let problems = problems.into_iter();
        problems
            .map(|(column, samples, message)| finding(entry, split, column, samples, message))
            .collect()
    }

    /// Columns that do not have one row per sample.
    fn wrong_lengths(&self, samples: u64) -> Vec<ColumnProblem> {
        let lengths = [
            self.annotation_id.len(),
            self.box_index.len(),
            self.center_nm.len(),
            self.start_voxel.len(),
            self.resolution_nm.len(),
        ];
        let columns = Self::NAMES.into_iter().zip(lengths);
        columns
            .filter(|(_, n)| *n as u64 != samples)
            .map(|(name, n)| {
                let message = format!("it has {n} rows, expected one per sample: {samples}");
                (name, Vec::new(), message)
            })
            .collect()
    }

    /// Samples whose box is not one of the split's.
    fn foreign_boxes(&self, manifest: &Manifest, split: &str) -> ColumnProblem {
        let samples = self.samples_where(|i| {
            let b = manifest.boxes.get(self.box_index[i] as usize);
            b.is_none_or(|b| b.split.as_deref() != Some(split))
        });
        let message = "the sample's box is not one of the split's boxes in the manifest";
        ("box", samples, message.to_owned())
    }

    /// Samples whose centre is outside of their box.
    fn outside_of_box(&self, manifest: &Manifest) -> ColumnProblem {
        let is_snapped = manifest.config["snap"] == "zetta";
        let bounds_of = |i: usize| {
            let b = manifest.boxes.get(self.box_index[i] as usize)?;
            let bounds = BoxNm::from_corners(PointNm(b.min_nm), PointNm(b.max_nm))?;
            match (is_snapped, Resolution::new(self.resolution_nm[i])) {
                (true, Some(resolution)) => Some(bounds.snapped_as_zetta(&resolution)),
                _ => Some(bounds),
            }
        };
        // Samples are ordered by box: the bounds are computed once per box and resolution.
        let key = |i: usize| (self.box_index[i], self.resolution_nm[i]);
        let mut bounds = None;
        let mut samples = Vec::new();
        for i in 0..self.box_index.len() {
            if i == 0 || key(i) != key(i - 1) {
                bounds = bounds_of(i);
            }
            let center = PointNm(self.center_nm[i]);
            if bounds.as_ref().is_some_and(|b| !b.contains(&center)) {
                samples.push(i as u64);
            }
        }
        let message = "the sample's centre is outside of its box";
        ("center_nm", samples, message.to_owned())
    }

    /// Samples whose window does not start where it must.
    fn misplaced(&self, manifest: &Manifest) -> ColumnProblem {
        let window = WindowSize::new(manifest.window_voxels);
        let samples = self.samples_where(|i| {
            let start = window.zip(Resolution::new(self.resolution_nm[i]));
            let start = start.and_then(|(w, r)| w.start_around(&PointNm(self.center_nm[i]), &r));
            start != Some(self.start_voxel[i])
        });
        let message = "the window does not start at the voxel that follows from centre, resolution and window size";
        ("start_voxel", samples, message.to_owned())
    }

    /// Samples whose resolution is not that of their box's layer group.
    fn wrong_resolutions(&self, manifest: &Manifest) -> ColumnProblem {
        let samples = self.samples_where(|i| {
            let b = manifest.boxes.get(self.box_index[i] as usize);
            let group = b.and_then(|b| manifest.groups.get(b.group?));
            group.is_some_and(|g| g.resolution_nm != self.resolution_nm[i])
        });
        let message =
            "the sample's resolution is not that of its box's layer group in the manifest";
        ("resolution_nm", samples, message.to_owned())
    }

    /// Samples whose annotation occurs before in the same box.
    fn repeated(&self) -> ColumnProblem {
        let mut seen = HashSet::new();
        let samples =
            self.samples_where(|i| !seen.insert((self.box_index[i], self.annotation_id[i])));
        let message = "the annotation occurs twice in one box";
        ("annotation_id", samples, message.to_owned())
    }

    /// Boxes of the split with another number of samples than the manifest says.
    fn wrong_counts(&self, manifest: &Manifest, split: &str) -> Vec<ColumnProblem> {
        let mut per_box: HashMap<u32, u64> = HashMap::new();
        for b in &self.box_index {
            *per_box.entry(*b).or_insert(0) += 1;
        }
        let boxes = (0..).zip(&manifest.boxes);
        boxes
            .filter(|(_, b)| b.split.as_deref() == Some(split))
            .filter_map(|(i, b)| {
                let found = per_box.get(&i).copied().unwrap_or(0);
                let message = format!(
                    "the box {:?} has {found} samples, but the manifest says {}",
                    b.id, b.samples
                );
                (found != b.samples).then_some(("box", Vec::new(), message))
            })
            .collect()
    }

    fn samples_where(&self, mut is_wrong: impl FnMut(usize) -> bool) -> Vec<u64> {
        let samples = (0..self.box_index.len()).filter(|i| is_wrong(*i));
        samples.map(|i| i as u64).collect()
    }
}

fn triples<T: zarrs::array::ElementOwned + Copy>(
    reader: &SplitReader,
    name: &str,
) -> Result<Vec<[T; 3]>, DatasetError> {
    let values = reader.column::<T>(name)?;
    Ok(values.as_chunks::<3>().0.to_vec())
}

fn finding(
    entry: &SplitEntry,
    split: &str,
    column: &str,
    samples: Vec<u64>,
    message: String,
) -> Finding {
    Finding {
        kind: FindingKind::Column,
        file: format!("{}/{column}", entry.path)
            .trim_end_matches('/')
            .to_owned(),
        split: Some(split.to_owned()),
        samples,
        message,
    }
}
