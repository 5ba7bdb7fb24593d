//! The annotations that were read for some boxes, and a report on them.

use serde::Serialize;

use super::annotation::Annotation;

/// The annotations of a layer that are inside some boxes.
#[derive(Clone, Debug)]
pub struct PointsInBoxes {
    /// For each box, in the given order: its annotations by ascending id, each id once.
    pub per_box: Vec<Vec<Annotation>>,
    /// What was read, and what was unusual.
    pub report: PointsReport,
}

/// What was read of a layer, and what was unusual about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PointsReport {
    /// Cells of the spatial index that were read.
    pub cells_read: u64,
    /// Cells that were looked up but are not stored: they have no annotations.
    pub cells_empty: u64,
    /// Different ids in the cells read, inside boxes or not.
    pub annotations_read: u64,
    /// Records after the first of an id. Lines are stored in every cell that they cross, and some writers store every
    /// annotation on every level.
    pub repeated_records: u64,
    /// Annotations without a finite position. They are in no box and not in `annotations_read`.
    pub not_finite: NotFinite,
    /// Problems of the layer that did not prevent reading it.
    pub warnings: Vec<String>,
}

impl PointsReport {
    /// Adds the report on another layer.
    pub(super) fn add(&mut self, other: Self) {
        self.cells_read += other.cells_read;
        self.cells_empty += other.cells_empty;
        self.annotations_read += other.annotations_read;
        self.repeated_records += other.repeated_records;
        self.not_finite.annotations += other.not_finite.annotations;
        let example = self.not_finite.example.take();
        self.not_finite.example = example.or(other.not_finite.example);
        self.warnings.extend(other.warnings);
    }
}

/// Annotations that were skipped because a coordinate is infinite or not a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotFinite {
    /// The number of ids.
    pub annotations: u64,
    /// The lowest of these ids, and the file with it.
    pub example: Option<(u64, String)>,
}
