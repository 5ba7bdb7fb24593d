//! Annotations in a table: one per row, in columns that the config names.
//!
//! The table is read as a stream: first its header, to find the columns, then all rows. Of rows outside all boxes only
//! the id is kept, so that tables can be larger than memory.

mod columns;
mod id;
mod ids;
mod lines;
mod records;
#[cfg(test)]
mod tests;

use ::csv::StringRecord;

use self::columns::{CsvColumns, RowFields};
use self::ids::{IdCounts, NOT_FINITE, TableIds, digest};
pub(crate) use self::records::{TableError, TableRecords, table_delimiter};
use super::annotation::Anchor;
use super::error::PointsError;
use super::merge::{AnnotationBatch, BoxIndex, merge_batches};
use super::position::{AnnotationPosition, PointBounds};
use super::property::{PropertySpec, describe_all, lay_out};
use super::report::{NotFinite, PointsInBoxes, PointsReport};
use crate::config::CsvConfig;
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::storage::{Location, MemoryBudget, OverBudget, Storage, StreamedDocument};

const EXPECTED: &str = "a table of annotations (CSV)";

const ADVICE: &str = "allow more with --memory, or split the boxes over several jobs";

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct CsvLayer {
    document: StreamedDocument,
    budget: MemoryBudget,
    storage: Storage,
    delimiter: u8,
    columns: CsvColumns,
    /// In declared order, like the properties in `columns`.
    properties: Vec<PropertySpec>,
    property_bytes: usize,
}

/// A parsed row.
struct CsvRow<'r> {
    id: u64,
    /// The line on which it starts.
    line: u64,
    kind: GeometryKind,
    points: &'r [PointNm],
    properties: &'r [u8],
}

impl CsvRow<'_> {
    /// Its position, and the digest of its geometry.
    fn position(&self, anchor: Anchor) -> (Option<AnnotationPosition>, u64) {
        let position = AnnotationPosition::of(self.kind, self.points.iter().copied(), anchor);
        let digest = position.map_or(NOT_FINITE, |_| digest(self.points));
        (position, digest)
    }

    fn geometry(&self) -> String {
        let points: Vec<String> = self.points.iter().map(PointNm::to_string).collect();
        points.join(" - ")
    }
}

impl CsvLayer {
    /// Reads the header of the table in `file`.
    pub(super) fn open(
        file: &Location,
        config: &CsvConfig,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let document = StreamedDocument::open(file, EXPECTED, storage)?;
        let object = document.object();
        let delimiter = table_delimiter(config.delimiter, object);
        let records = TableRecords::open(&document, delimiter)?;
        let columns = CsvColumns::find(records.header(), config, object)?;
        let of_columns = columns.properties.iter().map(|(_, spec)| spec.clone());
        let mut properties: Vec<PropertySpec> = of_columns.collect();
        drop(records);
        Ok(Self {
            property_bytes: lay_out(&mut properties),
            document,
            budget: storage.budget().clone(),
            storage: storage.clone(),
            delimiter,
            columns,
            properties,
        })
    }

    pub(super) fn object(&self) -> &str {
        self.document.object()
    }

    pub(super) fn kind(&self) -> GeometryKind {
        match self.columns.end {
            None => GeometryKind::Point,
            Some(_) => GeometryKind::Line,
        }
    }

    pub(super) fn properties(&self) -> &[PropertySpec] {
        &self.properties
    }

    pub(super) fn describe(&self) -> String {
        let properties = describe_all(&self.properties);
        format!("annotations in {}; properties: {properties}", self.object())
    }

    pub(super) fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<PointsInBoxes, PointsError> {
        let index = BoxIndex::new(boxes);
        let mut ids = TableIds::new(&self.budget);
        let mut batch = AnnotationBatch::default();
        let mut not_finite: Option<(u64, u64)> = None;
        let mut rounded = RoundedIds::default();
        let too_large = |e| self.too_large(boxes.len(), e);
        self.for_each_row(Some(&mut rounded), |row| {
            let (position, digest) = row.position(anchor);
            ids.add(row.id, digest);
            let Some(position) = position else {
                if not_finite.is_none_or(|(id, _)| row.id < id) {
                    not_finite = Some((row.id, row.line));
                }
                return Ok(());
            };
            if let Some(boxed) = index.place(row.id, &position, row.properties) {
                self.budget.keep(boxed.memory_bytes()).map_err(too_large)?;
                batch.in_boxes.push(boxed);
                self.storage.stage().add(1);
            }
            Ok(())
        })?;
        if ids.is_full() {
            self.check_ids_in_boxes(&batch, anchor)?;
        }
        let counts = ids.finish().map_err(|id| self.conflict(id, anchor))?;
        self.points_in_boxes(batch, boxes.len(), counts, not_finite, rounded)
    }

    /// The bounds of all anchors. Reads the table again.
    pub(super) fn extent(&self, anchor: Anchor) -> Result<Option<BoxNm>, PointsError> {
        let mut bounds = PointBounds::default();
        self.for_each_row(None, |row| {
            if let (Some(position), _) = row.position(anchor) {
                bounds.add(position.anchor);
            }
            Ok(())
        })?;
        Ok(bounds.finish())
    }

    fn points_in_boxes(
        &self,
        batch: AnnotationBatch,
        box_count: usize,
        counts: IdCounts,
        not_finite: Option<(u64, u64)>,
        rounded: RoundedIds,
    ) -> Result<PointsInBoxes, PointsError> {
        let merged = merge_batches(vec![batch], box_count).unwrap_or_default();
        let mut warnings: Vec<String> = rounded.warning(self.object()).into_iter().collect();
        if let [id, ..] = merged.differing_properties[..] {
            warnings.push(format!(
                "{}: {} annotation(s) have rows with different properties, for example id {id}; the first row is used",
                self.object(),
                merged.differing_properties.len(),
            ));
        }
        Ok(PointsInBoxes {
            per_box: merged.per_box,
            report: PointsReport {
                annotations_read: counts.distinct,
                repeated_records: counts.repeated,
                not_finite: NotFinite {
                    annotations: counts.not_finite,
                    example: not_finite.map(|(id, line)| (id, self.row_name(line))),
                },
                warnings,
                ..PointsReport::default()
            },
        })
    }

    fn row_name(&self, line: u64) -> String {
        format!("{}: line {line}", self.object())
    }

    fn too_large(&self, boxes: usize, over: OverBudget) -> PointsError {
        let problem = format!("the annotations inside the {boxes} boxes take more than {over}");
        self.document.too_large(problem, ADVICE).into()
    }

    /// Checks that no id of an annotation in a box has another geometry elsewhere in the table. Reads the table again.
    fn check_ids_in_boxes(
        &self,
        batch: &AnnotationBatch,
        anchor: Anchor,
    ) -> Result<(), PointsError> {
        let in_boxes = batch.in_boxes.iter().map(|boxed| boxed.annotation.id);
        let mut ids: Vec<(u64, Option<u64>)> = in_boxes.map(|id| (id, None)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut lowest: Option<u64> = None;
        self.for_each_row(None, |row| {
            let Ok(i) = ids.binary_search_by_key(&row.id, |(id, _)| *id) else {
                return Ok(());
            };
            let (_, found) = row.position(anchor);
            if *ids[i].1.get_or_insert(found) != found && lowest.is_none_or(|id| row.id < id) {
                lowest = Some(row.id);
            }
            Ok(())
        })?;
        match lowest {
            Some(id) => Err(self.conflict(id, anchor)),
            None => Ok(()),
        }
    }

    /// The error that names the rows with two geometries for `id`. Reads the table again to find them.
    fn conflict(&self, id: u64, anchor: Anchor) -> PointsError {
        let mut found: Vec<(u64, String, String)> = Vec::new();
        let read = self.for_each_row(None, |row| {
            if row.id == id && found.len() < 2 {
                let (_, digest) = row.position(anchor);
                if found.iter().all(|(other, ..)| *other != digest) {
                    found.push((digest, row.geometry(), self.row_name(row.line)));
                }
            }
            Ok(())
        });
        if let Err(e) = read {
            return e;
        }
        let mut found = found.into_iter().map(|(_, geometry, row)| (geometry, row));
        let (first, first_object) = found.next().unwrap_or_default();
        let (second, second_object) = found.next().unwrap_or_default();
        PointsError::Conflict {
            id,
            first,
            first_object,
            second,
            second_object,
        }
    }

    /// Calls `visit` with every row, in order. `rounded` counts ids that may have been rounded.
    fn for_each_row(
        &self,
        mut rounded: Option<&mut RoundedIds>,
        mut visit: impl FnMut(CsvRow) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let columns = &self.columns;
        let mut records = TableRecords::open(&self.document, self.delimiter)?;
        let mut record = StringRecord::new();
        let mut properties = vec![0; self.property_bytes];
        let mut number = 0;
        while let Some(line) = records.read(&mut record)? {
            let fields = RowFields {
                record: &record,
                object: self.object(),
                line,
            };
            let id = match &columns.id {
                None => number,
                Some(column) => {
                    let id = fields.id(column)?;
                    if let Some(rounded) = rounded.as_mut().filter(|_| id.may_be_rounded) {
                        rounded.note(id.value, line);
                    }
                    id.value
                }
            };
            let (kind, points) = fields.geometry(columns)?;
            for ((column, _), spec) in columns.properties.iter().zip(&self.properties) {
                let written = spec.write(fields.text(column), &mut properties);
                written.map_err(|expected| fields.wrong(column, expected))?;
            }
            visit(CsvRow {
                id,
                line,
                kind,
                points: &points[..kind.vectors().unwrap_or(1)],
                properties: &properties,
            })?;
            number += 1;
        }
        Ok(())
    }
}

/// Ids that the table's writer may have rounded.
#[derive(Debug, Default)]
struct RoundedIds {
    rows: u64,
    /// The first such id and its line.
    example: (u64, u64),
}

impl RoundedIds {
    fn note(&mut self, id: u64, line: u64) {
        if self.rows == 0 {
            self.example = (id, line);
        }
        self.rows += 1;
    }

    fn warning(&self, object: &str) -> Option<String> {
        let (id, line) = self.example;
        (self.rows > 0).then(|| {
            format!(
                "{object}: {} ids are written as floats and are above 2^53, for example {id}.0 on line {line}: the \
                 program that wrote the table may have rounded them; write ids as whole numbers",
                self.rows
            )
        })
    }
}
