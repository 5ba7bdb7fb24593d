//! An annotation layer in memory: the rows of a viewer state.
//!
//! Rows are pushed one by one. [`InMemoryLayer::finish`] checks that every id has one geometry; then the layer can be
//! queried like any other source.

use std::collections::HashSet;

use rayon::prelude::*;

use super::annotation::{Anchor, InBox};
use super::error::PointsError;
use super::layer::RelatedObjects;
use super::merge::{AnnotationBatch, BoxIndex, RecordKey, merge_batches};
use super::position::{AnnotationPosition, PointBounds};
use super::property::{PropertySpec, describe_all, lay_out};
use super::report::{NotFinite, PointsInBoxes, PointsReport};
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;

/// Rows that one thread takes at a time.
const BATCH_ROWS: usize = 1 << 15;

/// Annotations in memory.
#[derive(Debug)]
pub(super) struct InMemoryLayer {
    /// What it was read from, for messages.
    object: String,
    /// The texts before and after a row's number in messages.
    row_name: (String, &'static str),
    properties: Vec<PropertySpec>,
    property_bytes: usize,
    rows: Vec<InMemoryRow>,
    /// The vectors of all rows, concatenated.
    points: Vec<PointNm>,
    /// The properties of all rows, concatenated.
    values: Vec<u8>,
    /// The names of relationships, or their problem; `None` if the source has no relationships.
    relationships: Option<Result<Vec<String>, RowProblem>>,
    /// The relations between rows and objects.
    related: Vec<RelatedObject>,
}

/// A problem that is an error only if the invalid part of the file is needed.
#[derive(Clone, Debug)]
pub(super) struct RowProblem {
    pub(super) object: String,
    pub(super) field: String,
    pub(super) found: String,
    pub(super) expected: String,
}

impl From<RowProblem> for PointsError {
    fn from(problem: RowProblem) -> Self {
        let RowProblem {
            object,
            field,
            found,
            expected,
        } = problem;
        Self::Row {
            object,
            field,
            found,
            expected,
        }
    }
}

/// A relation between an annotation and an object.
#[derive(Clone, Copy, Debug)]
struct RelatedObject {
    relationship: usize,
    object: u64,
    id: u64,
}

#[derive(Debug)]
struct InMemoryRow {
    id: u64,
    kind: GeometryKind,
    /// End of its vectors in [`InMemoryLayer::points`].
    end: usize,
    /// Its number in the file.
    number: u64,
}

impl InMemoryLayer {
    /// An empty layer of the file `object`. Messages name its rows `BEFORE{number}AFTER`.
    pub(super) fn new(
        object: String,
        row_name: (String, &'static str),
        mut properties: Vec<PropertySpec>,
    ) -> Self {
        let property_bytes = lay_out(&mut properties);
        Self {
            object,
            row_name,
            properties,
            property_bytes,
            rows: Vec::new(),
            points: Vec::new(),
            values: Vec::new(),
            relationships: None,
            related: Vec::new(),
        }
    }

    /// Adds a row. `set` writes the properties to the record.
    pub(super) fn push(
        &mut self,
        number: u64,
        id: u64,
        kind: GeometryKind,
        points: &[PointNm],
        set: impl FnOnce(&[PropertySpec], &mut [u8]) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let start = self.values.len();
        self.values.resize(start + self.property_bytes, 0);
        set(&self.properties, &mut self.values[start..])?;
        self.points.extend_from_slice(points);
        self.rows.push(InMemoryRow {
            id,
            kind,
            end: self.points.len(),
            number,
        });
        Ok(())
    }

    /// Sets the names of the relationships, which [`InMemoryLayer::relate`] refers to by position.
    pub(super) fn set_relationships(&mut self, names: Vec<String>) {
        self.relationships = Some(Ok(names));
    }

    /// Sets the problem that is the error of queries for relationships.
    pub(super) fn set_relationship_problem(&mut self, problem: RowProblem) {
        self.relationships = Some(Err(problem));
    }

    /// Relates the annotation `id` to `object`.
    pub(super) fn relate(&mut self, id: u64, relationship: usize, object: u64) {
        self.related.push(RelatedObject {
            relationship,
            object,
            id,
        });
    }

    /// The names of the relationships.
    pub(super) fn relationships(&self) -> Result<&[String], PointsError> {
        match &self.relationships {
            None => Ok(&[]),
            Some(Ok(names)) => Ok(names),
            Some(Err(problem)) => Err(problem.clone().into()),
        }
    }

    /// The ids of the annotations that the relationship at `position` relates to one of `objects`.
    pub(super) fn related(&self, position: usize, objects: &[u64]) -> HashSet<u64> {
        let objects: HashSet<&u64> = objects.iter().collect();
        let of_one = self
            .related
            .iter()
            .filter(|r| r.relationship == position && objects.contains(&r.object));
        of_one.map(|r| r.id).collect()
    }

    /// For each of these annotations, whose ids are ascending: for each member of `wanted`, which has positions of relationships,
    /// the objects that these relate it to.
    pub(super) fn objects_of(
        &self,
        ids: &[u64],
        wanted: &[Vec<usize>],
    ) -> Vec<Option<RelatedObjects>> {
        let mut lists = vec![vec![Vec::new(); wanted.len()]; ids.len()];
        for related in &self.related {
            let Ok(i) = ids.binary_search(&related.id) else {
                continue;
            };
            for (list, positions) in lists[i].iter_mut().zip(wanted) {
                if positions.contains(&related.relationship) {
                    list.push(related.object);
                }
            }
        }
        let boxed = |lists: Vec<Vec<u64>>| lists.into_iter().map(Vec::into_boxed_slice).collect();
        lists.into_iter().map(|lists| Some(boxed(lists))).collect()
    }

    /// The first and last end of each of these annotations, whose ids are ascending; `None` if there is none with this id, or if
    /// a coordinate is not finite.
    pub(super) fn ends_of(&self, ids: &[u64]) -> Vec<Option<[PointNm; 2]>> {
        let mut ends = vec![None; ids.len()];
        for (i, row) in self.rows.iter().enumerate() {
            let vectors = self.vectors(i).iter().copied();
            let position = AnnotationPosition::of(row.kind, vectors, Anchor::default());
            if let (Ok(found), Some(position)) = (ids.binary_search(&row.id), position) {
                ends[found] = Some(position.ends);
            }
        }
        ends
    }

    /// What it was read from.
    pub(super) fn object(&self) -> &str {
        &self.object
    }

    /// Checks that no id has two geometries.
    pub(super) fn finish(self) -> Result<Self, PointsError> {
        let mut order: Vec<(u64, usize)> = self
            .rows
            .iter()
            .enumerate()
            .map(|(i, r)| (r.id, i))
            .collect();
        order.par_sort_unstable();
        for pair in order.windows(2) {
            let [(a, i), (b, j)] = pair else { continue };
            let differ =
                self.rows[*i].kind != self.rows[*j].kind || self.vectors(*i) != self.vectors(*j);
            // NaN differs from itself, but such rows have no position anyway.
            let is_finite = |i: usize| self.vectors(i).iter().all(PointNm::is_finite);
            if a == b && differ && (is_finite(*i) || is_finite(*j)) {
                return Err(PointsError::Conflict {
                    id: *a,
                    first: self.geometry(*i),
                    first_object: self.row_name(*i),
                    second: self.geometry(*j),
                    second_object: self.row_name(*j),
                });
            }
        }
        Ok(self)
    }

    /// The kind of its rows; `None` if there are several kinds, or no rows.
    pub(super) fn kind(&self) -> Option<GeometryKind> {
        let first = self.rows.first()?.kind;
        self.rows
            .iter()
            .all(|row| row.kind == first)
            .then_some(first)
    }

    /// Whether some of its rows are lines or polylines.
    pub(super) fn has_ends(&self) -> bool {
        self.rows.iter().any(|row| row.kind.has_ends())
    }

    pub(super) fn properties(&self) -> &[PropertySpec] {
        &self.properties
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} annotations in {}; properties: {}",
            self.rows.len(),
            self.object,
            describe_all(&self.properties)
        )
    }

    pub(super) fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
        in_box: InBox,
    ) -> Result<PointsInBoxes, PointsError> {
        let index = BoxIndex::new(boxes, in_box);
        let starts: Vec<usize> = (0..self.rows.len()).step_by(BATCH_ROWS).collect();
        let batches: Vec<AnnotationBatch> = starts
            .par_iter()
            .map(|start| {
                let end = self.rows.len().min(start + BATCH_ROWS);
                self.batch(*start..end, &index, anchor)
            })
            .collect();
        let merged = merge_batches(batches, boxes.len()).map_err(|conflict| {
            // This cannot occur, because `finish` checked the geometries and all digests here are equal.
            let object = self.object.clone();
            PointsError::Conflict {
                id: conflict.id,
                first: String::new(),
                first_object: object.clone(),
                second: String::new(),
                second_object: object,
            }
        })?;
        let mut warnings = Vec::new();
        if let [id, ..] = merged.differing_properties[..] {
            warnings.push(format!(
                "{}: {} annotation(s) have rows with different properties, for example id {id}; the first row is used",
                self.object,
                merged.differing_properties.len(),
            ));
        }
        let example = merged.not_finite.first_key_value().map(|(id, _)| {
            let row = self.rows.iter().position(|row| row.id == *id);
            (*id, row.map(|i| self.row_name(i)).unwrap_or_default())
        });
        Ok(PointsInBoxes {
            per_box: merged.per_box,
            report: PointsReport {
                annotations_read: merged.distinct,
                repeated_records: merged.repeated,
                not_finite: NotFinite {
                    annotations: merged.not_finite.len() as u64,
                    example,
                },
                warnings,
                ..PointsReport::default()
            },
        })
    }

    /// The bounds of all anchors.
    pub(super) fn extent(&self, anchor: Anchor) -> Option<BoxNm> {
        let mut bounds = PointBounds::default();
        for (i, row) in self.rows.iter().enumerate() {
            let vectors = self.vectors(i).iter().copied();
            if let Some(position) = AnnotationPosition::of(row.kind, vectors, anchor) {
                bounds.add(position.anchor);
            }
        }
        bounds.finish()
    }

    fn batch(
        &self,
        rows: std::ops::Range<usize>,
        index: &BoxIndex,
        anchor: Anchor,
    ) -> AnnotationBatch {
        let mut batch = AnnotationBatch::default();
        for i in rows {
            let row = &self.rows[i];
            let vectors = self.vectors(i).iter().copied();
            let Some(position) = AnnotationPosition::of(row.kind, vectors, anchor) else {
                batch.not_finite.push(row.id);
                continue;
            };
            batch.seen.push(RecordKey {
                id: row.id,
                geometry: 0,
            });
            let properties = i * self.property_bytes..(i + 1) * self.property_bytes;
            let boxed = index.place(row.id, &position, &self.values[properties]);
            batch.in_boxes.extend(boxed);
        }
        batch
    }

    fn vectors(&self, i: usize) -> &[PointNm] {
        let start = if i == 0 { 0 } else { self.rows[i - 1].end };
        &self.points[start..self.rows[i].end]
    }

    fn row_name(&self, i: usize) -> String {
        let (before, after) = &self.row_name;
        format!("{before}{}{after}", self.rows[i].number)
    }

    fn geometry(&self, i: usize) -> String {
        const SHOWN: usize = 4;
        let vectors = self.vectors(i);
        let mut shown: Vec<String> = vectors.iter().take(SHOWN).map(PointNm::to_string).collect();
        if vectors.len() > SHOWN {
            shown.push("...".to_owned());
        }
        shown.join(" - ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(rows: &[(u64, [f64; 3])]) -> InMemoryLayer {
        let mut layer = InMemoryLayer::new("t.csv".into(), ("t.csv: line ".into(), ""), Vec::new());
        for (number, (id, point)) in (2..).zip(rows) {
            layer
                .push(
                    number,
                    *id,
                    GeometryKind::Point,
                    &[PointNm(*point)],
                    |_, _| Ok(()),
                )
                .unwrap();
        }
        layer
    }

    #[test]
    fn every_row_in_a_box_is_an_annotation_and_repeated_rows_count_once() {
        let rows: Vec<_> = (0..100_000u64)
            .map(|i| (i % 99_999, [(i % 99_999) as f64, 0.0, 0.0]))
            .collect();
        let a_box = |from, to| {
            BoxNm::from_corners(PointNm([from, 0.0, 0.0]), PointNm([to, 1.0, 1.0])).unwrap()
        };
        let found = layer(&rows)
            .finish()
            .unwrap()
            .read_boxes(
                &[a_box(0.0, 1e9), a_box(32_767.0, 32_769.0)],
                Anchor::Midpoint,
                InBox::ByAnchor,
            )
            .unwrap();
        assert_eq!(found.per_box[0].len(), 99_999);
        let ids: Vec<u64> = found.per_box[1].iter().map(|a| a.id).collect();
        assert_eq!(ids, [32_767, 32_768]);
        assert_eq!(found.report.repeated_records, 1);
    }

    #[test]
    fn an_id_with_two_geometries_is_an_error_that_names_both_rows() {
        let e = layer(&[(7, [0.0; 3]), (8, [1.0; 3]), (7, [2.0; 3])])
            .finish()
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("id 7") && e.contains("t.csv: line 2") && e.contains("t.csv: line 4"),
            "{e}"
        );
    }

    #[test]
    fn a_row_without_a_finite_position_is_skipped_and_reported() {
        let found = layer(&[(7, [0.0; 3]), (8, [f64::NAN; 3])])
            .finish()
            .unwrap()
            .read_boxes(&[], Anchor::Midpoint, InBox::ByAnchor)
            .unwrap();
        let example = Some((8, "t.csv: line 3".to_owned()));
        assert_eq!(
            found.report.not_finite,
            NotFinite {
                annotations: 1,
                example
            }
        );
    }
}
