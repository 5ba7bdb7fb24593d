//! Annotations in a table: one per row, columns named in the config.
//!
//! The table is read as a stream, once its header says that it has the columns and then once for the boxes: of rows
//! outside of all boxes nothing but the id is kept, so that tables may be larger than memory.

mod columns;
mod id;
mod ids;
mod lines;
mod records;
#[cfg(test)]
mod tests;

use ::csv::StringRecord;

use self::columns::{Columns, Fields};
use self::ids::{Counts, Ids, NOT_FINITE, digest};
pub(crate) use self::records::{TableError, TableRecords, table_delimiter};
use super::gather::{Batch, BoxIndex, Hit, gather};
use super::place::{Around, Place};
use super::property::{describe_all, lay_out};
use super::{
    Anchor, Annotation, NotFinite, PointsError, PointsInBoxes, PointsReport, PropertySpec,
};
use crate::config::CsvConfig;
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::storage::{Location, MemoryBudget, StreamedDocument};

const EXPECTED: &str = "a table of annotations (CSV)";

const ADVICE: &str = "allow more with --memory, or split the boxes over several jobs";

/// A table whose columns are known.
#[derive(Debug)]
pub(super) struct Layer {
    document: StreamedDocument,
    budget: MemoryBudget,
    delimiter: u8,
    columns: Columns,
    /// In declared order, as those of `columns`.
    properties: Vec<PropertySpec>,
    property_bytes: usize,
}

/// A row that was understood.
struct Row<'r> {
    id: u64,
    /// The line that it begins on.
    line: u64,
    kind: GeometryKind,
    points: &'r [PointNm],
    properties: &'r [u8],
}

impl Row<'_> {
    /// Its place, and the digest of its geometry.
    fn place(&self, anchor: Anchor) -> (Option<Place>, u64) {
        let place = Place::of(self.kind, self.points.iter().copied(), anchor);
        let digest = place.map_or(NOT_FINITE, |_| digest(self.points));
        (place, digest)
    }

    fn geometry(&self) -> String {
        let points: Vec<String> = self.points.iter().map(PointNm::to_string).collect();
        points.join(" - ")
    }
}

impl Layer {
    /// Reads the header of the table in `file`.
    pub(super) fn open(
        file: &Location,
        config: &CsvConfig,
        budget: &MemoryBudget,
    ) -> Result<Self, PointsError> {
        let document = StreamedDocument::open(file, EXPECTED, budget)?;
        Self::new(document, config, budget)
    }

    fn new(
        document: StreamedDocument,
        config: &CsvConfig,
        budget: &MemoryBudget,
    ) -> Result<Self, PointsError> {
        let object = document.object();
        let delimiter = table_delimiter(config.delimiter, object);
        let records = TableRecords::open(&document, delimiter)?;
        let columns = Columns::find(records.header(), config, object)?;
        let of_columns = columns.properties.iter().map(|(_, spec)| spec.clone());
        let mut properties: Vec<PropertySpec> = of_columns.collect();
        drop(records);
        Ok(Self {
            property_bytes: lay_out(&mut properties),
            document,
            budget: budget.clone(),
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
        let mut ids = Ids::new(&self.budget);
        let mut batch = Batch::default();
        let mut not_finite: Option<(u64, u64)> = None;
        let mut rounded = Rounded::default();
        let keep = |hit: &Hit| {
            let over = |e| self.over(boxes.len(), e);
            self.budget.keep(hit.memory_bytes()).map_err(over)
        };
        self.for_each_row(Some(&mut rounded), |row| {
            let (place, digest) = row.place(anchor);
            ids.add(row.id, digest);
            let Some(place) = place else {
                if not_finite.is_none_or(|(id, _)| row.id < id) {
                    not_finite = Some((row.id, row.line));
                }
                return Ok(());
            };
            let mut inside = index.containing(&place.anchor);
            if let Some(first_box) = inside.next() {
                let hit = Hit {
                    annotation: Annotation {
                        id: row.id,
                        anchor: place.anchor,
                        ends: place.ends,
                        properties: row.properties.into(),
                    },
                    first_box,
                    more_boxes: inside.collect(),
                };
                keep(&hit)?;
                batch.hits.push(hit);
            }
            Ok(())
        })?;
        if ids.is_full() {
            self.check_hits(&batch, anchor)?;
        }
        let counts = ids.finish().map_err(|id| self.conflict(id, anchor))?;
        self.gather(batch, boxes.len(), counts, not_finite, rounded)
    }

    /// The box around all anchors, for which the table is read once more.
    pub(super) fn extent(&self, anchor: Anchor) -> Result<Option<BoxNm>, PointsError> {
        let mut around = Around::default();
        self.for_each_row(None, |row| {
            if let (Some(place), _) = row.place(anchor) {
                around.add(place.anchor);
            }
            Ok(())
        })?;
        Ok(around.finish())
    }

    fn gather(
        &self,
        batch: Batch,
        box_count: usize,
        counts: Counts,
        not_finite: Option<(u64, u64)>,
        rounded: Rounded,
    ) -> Result<PointsInBoxes, PointsError> {
        let gathered = gather(vec![batch], box_count).unwrap_or_default();
        let mut warnings = rounded
            .warning(self.object())
            .into_iter()
            .collect::<Vec<_>>();
        if let [id, ..] = gathered.differing_properties[..] {
            warnings.push(format!(
                "{}: {} annotations have rows with different properties, such as id {id}; the first row counts",
                self.object(),
                gathered.differing_properties.len(),
            ));
        }
        Ok(PointsInBoxes {
            per_box: gathered.per_box,
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

    fn over(&self, boxes: usize, over: crate::storage::OverBudget) -> PointsError {
        let problem = format!("the annotations inside the {boxes} boxes take more than {over}");
        self.document.too_large(problem, ADVICE).into()
    }

    /// That no id of an annotation in a box stands for another geometry elsewhere in the table.
    fn check_hits(&self, batch: &Batch, anchor: Anchor) -> Result<(), PointsError> {
        let of_hits = batch.hits.iter().map(|hit| hit.annotation.id);
        let mut ids: Vec<(u64, Option<u64>)> = of_hits.map(|id| (id, None)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut lowest: Option<u64> = None;
        self.for_each_row(None, |row| {
            let Ok(i) = ids.binary_search_by_key(&row.id, |(id, _)| *id) else {
                return Ok(());
            };
            let (_, found) = row.place(anchor);
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

    /// Reads the table again, to say which rows give `id` two geometries.
    fn conflict(&self, id: u64, anchor: Anchor) -> PointsError {
        let mut found: Vec<(u64, String, String)> = Vec::new();
        let read = self.for_each_row(None, |row| {
            if row.id == id && found.len() < 2 {
                let (_, digest) = row.place(anchor);
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

    /// Calls `visit` with every row, in order; `rounded` counts ids that may be others than those meant.
    fn for_each_row(
        &self,
        mut rounded: Option<&mut Rounded>,
        mut visit: impl FnMut(Row) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let columns = &self.columns;
        let mut records = TableRecords::open(&self.document, self.delimiter)?;
        let mut record = StringRecord::new();
        let mut properties = vec![0; self.property_bytes];
        let mut number = 0;
        while let Some(line) = records.read(&mut record)? {
            let fields = Fields {
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
            let first = fields.point(&columns.start, columns.unit_nm)?;
            let (kind, points) = match &columns.end {
                None => (GeometryKind::Point, [first; 2]),
                Some(end) => (
                    GeometryKind::Line,
                    [first, fields.point(end, columns.unit_nm)?],
                ),
            };
            for ((column, _), spec) in columns.properties.iter().zip(&self.properties) {
                let written = spec.write(fields.text(column), &mut properties);
                written.map_err(|expected| fields.wrong(column, expected))?;
            }
            visit(Row {
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

/// Ids that the program that wrote the table may have rounded.
#[derive(Debug, Default)]
struct Rounded {
    rows: u64,
    /// The first such id and its line.
    example: (u64, u64),
}

impl Rounded {
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
                "{object}: {} ids are written as floats and are above 2^53, such as {id}.0 on line {line}: the program \
                 that wrote the table may have rounded them; write ids as whole numbers",
                self.rows
            )
        })
    }
}
