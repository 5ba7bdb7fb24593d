//! The rows of the columns that every dataset has: boxes contain their points, and windows start where the rule says.

use std::collections::HashSet;
use std::ops::Range;

use serde::Deserialize;

use super::kind::FindingKind;
use crate::dataset::Manifest;
use crate::geometry::{BoxNm, PointNm, Resolution, WindowRule, WindowSize};

/// Rows of the columns, one per sample.
pub(super) struct Rows {
    /// The sample of the first row.
    pub first: u64,
    pub annotation_id: Vec<u64>,
    pub box_index: Vec<u32>,
    pub center_nm: Vec<[f64; 3]>,
    pub start_voxel: Vec<[i64; 3]>,
    pub resolution_nm: Vec<[f64; 3]>,
}

/// The rows of a box.
pub(super) struct BoxRows {
    /// Its position in the manifest.
    pub index: u32,
    pub resolution_nm: [f64; 3],
    pub samples: Range<u64>,
}

impl BoxRows {
    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.samples.end - self.samples.start
    }
}

/// Something that is wrong with a column.
pub(super) struct ColumnProblem {
    pub kind: FindingKind,
    pub column: &'static str,
    /// The samples; empty where the problem is not about single samples.
    pub samples: Vec<u64>,
    pub message: String,
}

/// Checks rows, batch by batch, in the order of the samples.
pub(super) struct RowChecks<'m> {
    manifest: &'m Manifest,
    split: &'m str,
    window: Option<WindowSize>,
    rule: WindowRule,
    is_snapped: bool,
    /// Number of samples of each box of the manifest.
    per_box: Vec<u64>,
    /// The box of the last row, with its bounds at the resolution of that row, and the ids of its annotations so far.
    current: Option<CurrentBox>,
    /// Boxes and annotations of all rows, if the samples of a box need not follow each other.
    unordered: Option<Vec<BoxAnnotation>>,
    box_rows: Vec<BoxRows>,
    foreign_boxes: Vec<u64>,
    split_boxes: Vec<u64>,
    outside_of_box: Vec<u64>,
    misplaced: Vec<u64>,
    wrong_resolutions: Vec<u64>,
    repeated: Vec<u64>,
}

/// Memory that each row takes while samples of a box need not follow each other.
pub(super) const UNORDERED_BYTES: u64 = size_of::<BoxAnnotation>() as u64;

/// A box, an annotation, and its sample.
type BoxAnnotation = (u32, u64, u64);

struct CurrentBox {
    index: u32,
    resolution_nm: [f64; 3],
    bounds: Option<BoxNm>,
    ids: HashSet<u64>,
}

impl<'m> RowChecks<'m> {
    pub(super) fn new(manifest: &'m Manifest, split: &'m str) -> Self {
        Self {
            manifest,
            split,
            window: WindowSize::new(manifest.window_voxels),
            rule: WindowRule::deserialize(&manifest.config["rule"]).unwrap_or_default(),
            is_snapped: manifest.config["snap"] == "zetta",
            per_box: vec![0; manifest.boxes.len()],
            current: None,
            unordered: manifest.order_of_plan.is_some().then(Vec::new),
            box_rows: Vec::new(),
            foreign_boxes: Vec::new(),
            split_boxes: Vec::new(),
            outside_of_box: Vec::new(),
            misplaced: Vec::new(),
            wrong_resolutions: Vec::new(),
            repeated: Vec::new(),
        }
    }

    /// Checks the next rows.
    pub(super) fn add(&mut self, rows: &Rows) {
        for i in 0..rows.annotation_id.len() {
            self.add_row(rows, i);
        }
    }

    fn add_row(&mut self, rows: &Rows, i: usize) {
        let sample = rows.first + i as u64;
        let (index, resolution_nm) = (rows.box_index[i], rows.resolution_nm[i]);
        let of_box = self.manifest.boxes.get(index as usize);
        if of_box.is_none_or(|b| b.split.as_deref() != Some(self.split)) {
            self.foreign_boxes.push(sample);
        }
        let group = of_box.and_then(|b| self.manifest.groups.get(b.group?));
        if group.is_some_and(|g| g.resolution_nm != resolution_nm) {
            self.wrong_resolutions.push(sample);
        }
        let center = PointNm(rows.center_nm[i]);
        let start = self.window.zip(Resolution::new(resolution_nm));
        let start = start.and_then(|(w, r)| w.start_around(&center, &r, self.rule));
        if start != Some(rows.start_voxel[i]) {
            self.misplaced.push(sample);
        }
        self.enter_box(index, resolution_nm, sample);
        if let Some(count) = self.per_box.get_mut(index as usize) {
            *count += 1;
        }
        if let Some(of_box) = self.box_rows.last_mut() {
            of_box.samples.end = sample + 1;
        }
        if let Some(current) = &mut self.current {
            if current
                .bounds
                .as_ref()
                .is_some_and(|b| !b.contains(&center))
            {
                self.outside_of_box.push(sample);
            }
            let id = rows.annotation_id[i];
            match &mut self.unordered {
                Some(unordered) => unordered.push((index, id, sample)),
                None if current.ids.insert(id) => {}
                None => self.repeated.push(sample),
            }
        }
    }

    /// Makes the box with this index the current one, for a row of `sample`.
    fn enter_box(&mut self, index: u32, resolution_nm: [f64; 3], sample: u64) {
        let ids = match self.current.take() {
            Some(current) if (current.index, current.resolution_nm) == (index, resolution_nm) => {
                self.current = Some(current);
                return;
            }
            Some(current) if current.index == index => current.ids,
            _ => {
                let is_ordered = self.unordered.is_none();
                let has_rows = self.per_box.get(index as usize).is_some_and(|n| *n > 0);
                if is_ordered && has_rows {
                    self.split_boxes.push(sample);
                }
                HashSet::new()
            }
        };
        self.box_rows.push(BoxRows {
            index,
            resolution_nm,
            samples: sample..sample,
        });
        self.current = Some(CurrentBox {
            index,
            resolution_nm,
            bounds: self.bounds(index, resolution_nm),
            ids,
        });
    }

    fn bounds(&self, index: u32, resolution_nm: [f64; 3]) -> Option<BoxNm> {
        let b = self.manifest.boxes.get(index as usize)?;
        let bounds = BoxNm::from_corners(PointNm(b.min_nm), PointNm(b.max_nm))?;
        match (self.is_snapped, Resolution::new(resolution_nm)) {
            (true, Some(resolution)) => Some(bounds.snapped_as_zetta(&resolution)),
            _ => Some(bounds),
        }
    }

    /// What is wrong, after the last row, and the rows of each box.
    pub(super) fn finish(mut self) -> (Vec<ColumnProblem>, Vec<BoxRows>) {
        let mut unordered = self.unordered.take().unwrap_or_default();
        unordered.sort_unstable();
        let pairs = unordered.windows(2);
        let repeated = pairs.filter(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1));
        self.repeated.extend(repeated.map(|pair| pair[1].2));
        self.repeated.sort_unstable();
        let counts = self.wrong_counts();
        let of_samples = [
            (
                FindingKind::ForeignBox,
                "box",
                self.foreign_boxes,
                "the sample's box is not one of the split's boxes in the manifest",
            ),
            (
                FindingKind::BoxOrder,
                "box",
                self.split_boxes,
                "the sample does not follow the other samples of its box",
            ),
            (
                FindingKind::CenterOutsideBox,
                "center_nm",
                self.outside_of_box,
                "the sample's centre is outside of its box",
            ),
            (
                FindingKind::WindowStart,
                "start_voxel",
                self.misplaced,
                "the window does not start at the voxel that follows from centre, resolution and window size",
            ),
            (
                FindingKind::Resolution,
                "resolution_nm",
                self.wrong_resolutions,
                "the sample's resolution is not that of its box's layer group in the manifest",
            ),
            (
                FindingKind::RepeatedAnnotation,
                "annotation_id",
                self.repeated,
                "the annotation occurs twice in one box",
            ),
        ];
        let of_samples = of_samples
            .into_iter()
            .filter(|(.., samples, _)| !samples.is_empty());
        let of_samples = of_samples.map(|(kind, column, samples, message)| ColumnProblem {
            kind,
            column,
            samples,
            message: message.to_owned(),
        });
        (of_samples.chain(counts).collect(), self.box_rows)
    }

    /// Boxes of the split with another number of samples than the manifest says.
    fn wrong_counts(&self) -> Vec<ColumnProblem> {
        let boxes = self.manifest.boxes.iter().zip(&self.per_box);
        let wrong = boxes
            .filter(|(b, found)| b.split.as_deref() == Some(self.split) && **found != b.samples);
        let problems = wrong.map(|(b, found)| ColumnProblem {
            kind: FindingKind::BoxCount,
            column: "box",
            samples: Vec::new(),
            message: format!(
                "the box {:?} has {found} samples, but the manifest says {}",
                b.id, b.samples
            ),
        });
        problems.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A manifest of two boxes of `train`, 0 to 400 and 400 to 800 nm, and one of `val`.
    fn manifest() -> Manifest {
        let of_box = |id: &str, split: &str, x: f64, samples: u64| {
            json!({
                "id": id, "tags": [], "split": split, "group": 0, "min_nm": [x, 0, 0], "max_nm": [x + 400.0, 400, 400],
                "annotations": samples, "samples": samples, "dropped": {},
            })
        };
        let manifest = json!({
            "schema_version": 3, "plan_digest": "", "config": {}, "collection": "", "window_voxels": [4, 4, 4],
            "sources": [], "splits": {}, "arrays": {}, "shards": [], "files": [], "warnings": [], "digest": "",
            "groups": [{"resolution_nm": [8, 8, 8], "sources": {}}],
            "boxes": [of_box("a", "train", 0.0, 3), of_box("b", "train", 400.0, 2), of_box("c", "val", 800.0, 0)],
        });
        serde_json::from_value(manifest).unwrap()
    }

    /// Samples of the two boxes, as (id, box, x of the centre in voxels).
    const RIGHT: [(u64, u32, i64); 5] = [(7, 0, 5), (8, 0, 9), (9, 0, 20), (7, 1, 60), (8, 1, 99)];

    fn rows(first: u64, samples: &[(u64, u32, i64)]) -> Rows {
        let voxels = samples.iter().map(|(_, _, x)| [*x, 10, 10]);
        Rows {
            first,
            annotation_id: samples.iter().map(|s| s.0).collect(),
            box_index: samples.iter().map(|s| s.1).collect(),
            center_nm: voxels.clone().map(|v| v.map(|v| v as f64 * 8.0)).collect(),
            start_voxel: voxels.map(|v| v.map(|v| v - 2)).collect(),
            resolution_nm: vec![[8.0; 3]; samples.len()],
        }
    }

    /// Columns, samples and messages of the problems in these rows, which come in batches.
    fn problems(batches: impl IntoIterator<Item = Rows>) -> Value {
        let manifest = manifest();
        let mut checks = RowChecks::new(&manifest, "train");
        batches.into_iter().for_each(|rows| checks.add(&rows));
        let (problems, _) = checks.finish();
        let short = |p: &ColumnProblem| json!([p.column, p.samples, p.kind]);
        problems.iter().map(short).collect()
    }

    #[test]
    fn right_rows_have_no_problem_however_they_are_divided_into_batches() {
        for at in 0..=RIGHT.len() {
            let batches = [rows(0, &RIGHT[..at]), rows(at as u64, &RIGHT[at..])];
            assert_eq!(problems(batches), json!([]), "{at}");
        }
    }

    #[test]
    fn the_rows_of_each_box_are_known_however_they_are_divided_into_batches() {
        let manifest = manifest();
        for at in 0..=RIGHT.len() {
            let mut checks = RowChecks::new(&manifest, "train");
            checks.add(&rows(0, &RIGHT[..at]));
            checks.add(&rows(at as u64, &RIGHT[at..]));
            let boxes = checks.finish().1.into_iter();
            let boxes: Vec<_> = boxes.map(|b| (b.index, b.samples)).collect();
            assert_eq!(boxes, [(0, 0..3), (1, 3..5)], "{at}");
        }
    }

    #[test]
    fn an_annotation_that_occurs_twice_in_a_box_is_found_in_another_batch() {
        let mut samples = RIGHT;
        samples[2].0 = 7;
        for at in 0..=RIGHT.len() {
            let batches = [rows(0, &samples[..at]), rows(at as u64, &samples[at..])];
            assert_eq!(
                problems(batches),
                json!([["annotation_id", [2], "repeated_annotation"]])
            );
        }
    }

    #[test]
    fn samples_of_a_box_that_do_not_follow_each_other_are_found() {
        let mut samples = RIGHT;
        samples.swap(2, 3);
        let found = json!([["box", [3, 4], "box_order"]]);
        assert_eq!(problems([rows(0, &samples)]), found);
    }

    #[test]
    fn each_rule_finds_the_sample_that_breaks_it() {
        let broken = |change: &dyn Fn(&mut Rows)| {
            let mut rows = rows(0, &RIGHT);
            change(&mut rows);
            problems([rows])
        };
        let column = |name: &str, kind: FindingKind| json!([[name, [4], kind]]);
        let found = broken(&|rows| rows.start_voxel[4][2] += 1);
        assert_eq!(found, column("start_voxel", FindingKind::WindowStart));
        let found = broken(&|rows| {
            rows.center_nm[4][1] = 400.0;
            rows.start_voxel[4][1] = 48;
        });
        assert_eq!(found, column("center_nm", FindingKind::CenterOutsideBox));
        let found = broken(&|rows| {
            rows.resolution_nm[4] = [8.0, 8.0, 4.0];
            rows.start_voxel[4][2] = 18;
        });
        assert_eq!(found, column("resolution_nm", FindingKind::Resolution));
        let in_val = broken(&|rows| {
            rows.box_index[4] = 2;
            rows.center_nm[4][0] = 808.0;
            rows.start_voxel[4][0] = 99;
        });
        let found = json!([["box", [4], "foreign_box"], ["box", [], "box_count"]]);
        assert_eq!(in_val, found);
    }
}
