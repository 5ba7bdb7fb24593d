//! Annotations in a table: one per row, in columns that the config names.
//!
//! The table is read as a stream: first its columns are found, then all rows are read. Of rows outside all boxes only
//! the id is kept, so that tables can be larger than memory. CSV and JSON are read in full; of Parquet and Arrow only the columns
//! that are needed, and of Parquet only row groups and pages that may have a row in a box. A tabular layer of zetta_utils is a table
//! in one file per chunk; only chunks near a box are read.

mod arrow_file;
mod arrow_value;
mod chunks;
mod columnar_file;
mod columns;
mod csv_file;
mod format;
mod id;
mod ids;
mod json_file;
mod lines;
mod near_boxes;
mod object_reader;
mod parquet_file;
mod position_text;
mod records;
mod row;
mod row_numbers;
mod tabular;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::csv::StringRecord;

use self::chunks::ChunkedTable;
use self::columnar_file::ColumnarFile;
use self::csv_file::CsvFile;
use self::format::TableFormat;
use self::ids::{IdCounts, TableIds};
use self::json_file::JsonFile;
use self::object_reader::ObjectReader;
pub(crate) use self::records::{TableError, TableRecords, table_delimiter};
use self::row::{RoundedIds, TableRow};
use self::tabular::TabularLayer;
use super::annotation::Anchor;
use super::error::PointsError;
use super::merge::{AnnotationBatch, BoxIndex, merge_batches};
use super::position::PointBounds;
use super::property::{PropertySpec, describe_all, lay_out, record_bytes};
use super::report::{NotFinite, PointsInBoxes, PointsReport};
use crate::config::TableConfig;
use crate::geometry::BoxNm;
use crate::neuroglancer::GeometryKind;
use crate::storage::{
    DocumentError, Location, MemoryBudget, OverBudget, Storage, StreamedDocument,
};

const EXPECTED: &str = "a table of annotations (CSV, Parquet, Arrow or JSON)";

const ADVICE: &str = "allow more with --memory, or split the boxes over several jobs";

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct TableLayer {
    source: TableSource,
    budget: MemoryBudget,
    storage: Storage,
    /// In declared order, like those of the file, with their places in a record.
    properties: Vec<PropertySpec>,
}

/// Where the rows are.
#[derive(Debug)]
enum TableSource {
    File(TableFile),
    /// One file per chunk of a volume.
    Chunks(Box<ChunkedTable>),
}

/// An open file.
#[derive(Debug)]
enum TableFile {
    Csv(Box<CsvFile>),
    Json(Box<JsonFile>),
    Columnar(Box<ColumnarFile>),
}

impl TableFile {
    /// Opens the table in `file`; its first bytes decide about the format.
    fn open(file: &Location, config: &TableConfig, storage: &Storage) -> Result<Self, PointsError> {
        let (document, format) = open_document(file, storage)?;
        match format {
            TableFormat::Csv => return Ok(Self::Csv(Box::new(CsvFile::open(document, config)?))),
            TableFormat::Json => {
                return Ok(Self::Json(Box::new(JsonFile::open(document, config)?)));
            }
            TableFormat::Parquet | TableFormat::Arrow => {}
        }
        let object = document.object().to_owned();
        drop(document);
        let reader = open_object(file, &object, storage)?;
        // One batch as it is stored, and once more decompressed.
        let limit_bytes = storage.budget().lease_limit_bytes() / 2;
        let file = ColumnarFile::open(&object, format, reader, config, limit_bytes)?;
        Ok(Self::Columnar(Box::new(file)))
    }

    fn object(&self) -> &str {
        match self {
            Self::Csv(file) => file.object(),
            Self::Json(file) => file.object(),
            Self::Columnar(file) => file.object(),
        }
    }

    fn properties(&self) -> Vec<PropertySpec> {
        match self {
            Self::Csv(file) => file.columns.specs().cloned().collect(),
            Self::Json(file) => file.columns.specs().cloned().collect(),
            Self::Columnar(file) => file.properties().cloned().collect(),
        }
    }

    fn kind(&self) -> GeometryKind {
        let has_lines = match self {
            Self::Csv(file) => file.columns.end.is_some(),
            Self::Json(file) => file.columns.end.is_some(),
            Self::Columnar(file) => file.has_lines(),
        };
        if has_lines {
            GeometryKind::Line
        } else {
            GeometryKind::Point
        }
    }

    /// What the numbers of rows count.
    fn row_word(&self) -> &'static str {
        match self {
            Self::Csv(_) => "line",
            Self::Json(_) | Self::Columnar(_) => "row",
        }
    }

    /// Calls `visit` with every row, in order; with boxes, at least with those whose anchor is in one. `rounded` counts ids that may
    /// have been rounded.
    fn for_each_row(
        &self,
        properties: &[PropertySpec],
        boxes: Option<(&BoxIndex<'_>, Anchor)>,
        rounded: &mut Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        match self {
            Self::Csv(file) => file.for_each_row(properties, rounded, visit),
            Self::Json(file) => file.for_each_row(properties, rounded, visit),
            Self::Columnar(file) => file.for_each_row(boxes, rounded, visit),
        }
    }
}

/// The names of the columns of the table in `file`.
pub(crate) fn table_column_names(
    file: &Location,
    storage: &Storage,
) -> Result<Vec<String>, PointsError> {
    let (document, format) = open_document(file, storage)?;
    let object = document.object().to_owned();
    let names = |names: &StringRecord| names.iter().map(str::to_owned).collect();
    match format {
        TableFormat::Csv => {
            let delimiter = table_delimiter(None, &object);
            let records = TableRecords::open(&document, delimiter)?;
            return Ok(names(records.header()));
        }
        TableFormat::Json => return Ok(names(&JsonFile::column_names(&document)?)),
        TableFormat::Parquet | TableFormat::Arrow => {}
    }
    drop(document);
    let reader = open_object(file, &object, storage)?;
    ColumnarFile::column_names(&object, format, reader)
}

/// The file, and its format.
fn open_document(
    file: &Location,
    storage: &Storage,
) -> Result<(StreamedDocument, TableFormat), PointsError> {
    let document = StreamedDocument::open(file, EXPECTED, storage)?;
    let format = TableFormat::of(document.beginning());
    let format = format.map_err(|problem| PointsError::Table {
        object: document.object().to_owned(),
        problem: problem.to_owned(),
    })?;
    Ok((document, format))
}

fn open_object(
    file: &Location,
    object: &str,
    storage: &Storage,
) -> Result<ObjectReader, PointsError> {
    let missing = || DocumentError::Missing {
        object: object.to_owned(),
        expected: EXPECTED,
    };
    let (folder, key) = file.split_file().ok_or_else(missing)?;
    let store = storage.open(&folder);
    let opened = store.open_object(&key)?.ok_or_else(missing)?;
    Ok(ObjectReader::new(Arc::from(opened), store.has_latency()))
}

impl TableLayer {
    /// Reads the header of the table in `file`, or its schema.
    pub(super) fn open(
        file: &Location,
        config: &TableConfig,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let source = match TableFile::open(file, config, storage) {
            Ok(file) => TableSource::File(file),
            Err(e) if e.is_about_columns() => return Err(e),
            Err(not_a_file) => match TabularLayer::open(file, storage) {
                Ok(Some(layer)) => {
                    let chunks = ChunkedTable::open(file, layer, config, storage)?;
                    TableSource::Chunks(Box::new(chunks))
                }
                Err(e @ PointsError::Table { .. }) => return Err(e),
                // The location has no info of a layer, or none that can be read.
                Ok(None) | Err(_) => return Err(not_a_file),
            },
        };
        let mut properties = match &source {
            TableSource::File(file) => file.properties(),
            TableSource::Chunks(chunks) => chunks.properties(),
        };
        lay_out(&mut properties);
        Ok(Self {
            source,
            budget: storage.budget().clone(),
            storage: storage.clone(),
            properties,
        })
    }

    pub(super) fn object(&self) -> String {
        match &self.source {
            TableSource::File(file) => file.object().to_owned(),
            TableSource::Chunks(chunks) => chunks.object(),
        }
    }

    pub(super) fn kind(&self) -> GeometryKind {
        match &self.source {
            TableSource::File(file) => file.kind(),
            TableSource::Chunks(chunks) => chunks.kind(),
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
        let mut record = vec![0; record_bytes(&self.properties)];
        self.for_each_row(Some((&index, anchor)), Some(&mut rounded), &mut |row| {
            let (position, digest) = row.position(anchor);
            ids.add(row.id, digest);
            let Some(position) = position else {
                if not_finite.is_none_or(|(id, _)| row.id < id) {
                    not_finite = Some((row.id, row.number));
                }
                return Ok(());
            };
            if !index.contains(&position.anchor) {
                return Ok(());
            }
            let properties = row.properties.record(&self.properties, &mut record)?;
            if let Some(boxed) = index.place(row.id, &position, properties) {
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
        self.for_each_row(None, None, &mut |row| {
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
        let mut warnings: Vec<String> = rounded
            .warning(&self.object(), |number| self.row_name(number))
            .into_iter()
            .collect();
        if let TableSource::Chunks(chunks) = &self.source {
            warnings.extend(chunks.warning());
        }
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
                    example: not_finite.map(|(id, number)| (id, self.row_name(number))),
                },
                warnings,
                ..PointsReport::default()
            },
        })
    }

    fn row_name(&self, number: u64) -> String {
        match &self.source {
            TableSource::File(file) => {
                format!("{}: {} {number}", file.object(), file.row_word())
            }
            TableSource::Chunks(chunks) => chunks.row_name(number),
        }
    }

    fn too_large(&self, boxes: usize, over: OverBudget) -> PointsError {
        let problem = format!("the annotations inside the {boxes} boxes take more than {over}");
        DocumentError::TooLarge {
            object: self.object(),
            expected: EXPECTED,
            problem,
            advice: ADVICE,
        }
        .into()
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
        self.for_each_row(None, None, &mut |row| {
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
        let read = self.for_each_row(None, None, &mut |row| {
            if row.id == id && found.len() < 2 {
                let (_, digest) = row.position(anchor);
                if found.iter().all(|(other, ..)| *other != digest) {
                    found.push((digest, row.geometry(), self.row_name(row.number)));
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

    /// Calls `visit` with every row, in order; with boxes, at least with those whose anchor is in one. `rounded` counts ids that may
    /// have been rounded.
    fn for_each_row(
        &self,
        boxes: Option<(&BoxIndex<'_>, Anchor)>,
        mut rounded: Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        match &self.source {
            TableSource::File(file) => {
                file.for_each_row(&self.properties, boxes, &mut rounded, visit)
            }
            TableSource::Chunks(chunks) => {
                let boxes = boxes.map(|(boxes, _)| boxes);
                chunks.for_each_row(&self.properties, boxes, &mut rounded, visit)
            }
        }
    }
}
