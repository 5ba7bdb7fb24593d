//! Annotations in a table: one per row, in columns that the config names. The roots of supervoxels are read from tables in the same way.
//!
//! The table is read as a stream: first its columns are found, then all rows are read. Of rows outside all boxes only the id and the
//! position are read, so that tables can be larger than memory. CSV and JSON are read in full; of Parquet and Arrow only the columns that
//! are needed, and of Parquet only row groups and pages that may have a row in a box. A tabular layer of zetta_utils is a table in one file
//! per chunk; only chunks near a box are read. Blocks of rows are parsed in parallel, and merged in their order.

mod arrow_file;
mod arrow_value;
mod box_rows;
mod cells;
mod chunks;
mod columnar_cells;
mod columnar_file;
mod columns;
mod csv_file;
mod file;
mod format;
mod id;
mod id_set;
mod ids;
mod json_file;
mod list_text;
mod near_boxes;
mod object_reader;
mod parquet_file;
mod position_text;
mod records;
mod relationships;
mod roots;
mod row;
mod row_numbers;
mod same_ids;
mod source;
mod tabular;
#[cfg(test)]
mod tests;
mod text_blocks;
mod text_cells;
mod text_record;
mod waves;

use self::box_rows::{BoxRows, BoxRowsBlock};
use self::cells::{MergeBlock, RowCells, RowCollector};
use self::columns::AnnotationColumns;
use self::file::TableFile;
use self::ids::{IdCheck, IdCounts, TableIds};
pub(crate) use self::records::{TableError, TableRecords, table_delimiter};
use self::relationships::TableRelationships;
pub(crate) use self::roots::{read_roots, supervoxels_without_root};
use self::row::RoundedNumbers;
use self::same_ids::{RowsOfIds, conflicting_id};
use self::source::{NearRows, TableSource};
use super::annotation::{Anchor, InBox};
use super::error::PointsError;
use super::layer::RelatedObjects;
use super::merge::{AnnotationBatch, BoxIndex, merge_batches};
use super::position::PointBounds;
use super::property::{PropertySpec, describe_all};
use super::report::{NotFinite, PointsInBoxes, PointsReport};
use std::collections::HashSet;

use crate::config::TableConfig;
use crate::geometry::BoxNm;
use crate::neuroglancer::GeometryKind;
use crate::storage::{DocumentError, Location, MemoryBudget, Storage};

const EXPECTED: &str = "a table of annotations (CSV, Parquet, Arrow or JSON)";

const ADVICE: &str = "allow more with --memory, or split the boxes over several jobs";

/// A table whose columns were found.
#[derive(Debug)]
pub(super) struct TableLayer {
    source: TableSource,
    columns: AnnotationColumns,
    /// The columns of related objects, if there are some.
    relationships: Option<TableRelationships>,
    budget: MemoryBudget,
    storage: Storage,
}

/// The names of the columns of the table in `file`.
pub(crate) fn table_column_names(
    file: &Location,
    storage: &Storage,
) -> Result<Vec<String>, PointsError> {
    TableFile::column_names(file, EXPECTED, storage)
}

impl TableLayer {
    /// Reads the header of the table in `file`, or its schema.
    pub(super) fn open(
        file: &Location,
        config: &TableConfig,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let columns = AnnotationColumns::new(config).map_err(|problem| PointsError::Columns {
            object: file.to_string(),
            problem,
        })?;
        Ok(Self {
            source: TableSource::open(file, &columns.names, config.delimiter, storage)?,
            relationships: TableRelationships::open(file, config, storage)?,
            columns,
            budget: storage.budget().clone(),
            storage: storage.clone(),
        })
    }

    pub(super) fn object(&self) -> String {
        self.source.object()
    }

    pub(super) fn kind(&self) -> GeometryKind {
        self.columns.kind()
    }

    pub(super) fn properties(&self) -> &[PropertySpec] {
        &self.columns.specs
    }

    /// The annotations that each of `wanted`, a position of a relationship with objects, relates to at least one of these, of the
    /// rows that [`TableLayer::read_boxes`] reads.
    pub(super) fn related(
        &self,
        wanted: &[(usize, &[u64])],
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<HashSet<u64>, PointsError> {
        let index = BoxIndex::new(boxes, InBox::ByAnchor);
        let related = |r: &TableRelationships| r.related(wanted, self.near(&index, anchor));
        self.relationships
            .as_ref()
            .map_or(Ok(HashSet::new()), related)
    }

    /// For each of these annotations, which are in `boxes`, and for each member of `wanted`, which has positions of relationships,
    /// the objects that these relate it to; `None` if no row has its id.
    pub(super) fn objects_of(
        &self,
        ids: &[u64],
        wanted: &[Vec<usize>],
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<Vec<Option<RelatedObjects>>, PointsError> {
        let index = BoxIndex::new(boxes, InBox::ByAnchor);
        let objects = |r: &TableRelationships| {
            let near = self.near(&index, anchor);
            r.objects_of(ids, wanted, near)
        };
        self.relationships.as_ref().map_or(Ok(Vec::new()), objects)
    }

    /// The rows that are near the boxes.
    fn near<'a>(&'a self, boxes: &'a BoxIndex<'a>, anchor: Anchor) -> NearRows<'a> {
        NearRows {
            boxes,
            in_file: self.columns.near(boxes, anchor),
        }
    }

    /// The names of its relationships: columns of related objects.
    pub(super) fn relationships(&self) -> &[String] {
        let relationships = self.relationships.as_ref();
        relationships.map_or(&[], TableRelationships::names)
    }

    pub(super) fn describe(&self) -> String {
        let properties = describe_all(self.properties());
        format!("annotations in {}; properties: {properties}", self.object())
    }

    pub(super) fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
        in_box: InBox,
    ) -> Result<PointsInBoxes, PointsError> {
        let index = BoxIndex::new(boxes, in_box);
        let mut ids = TableIds::new(&self.budget);
        let mut batch = AnnotationBatch::default();
        let mut not_finite: Option<(u64, u64)> = None;
        let mut rounded = RoundedNumbers::default();
        let collector = BoxRows {
            table: self,
            boxes: &index,
            anchor,
        };
        let has_ids = self.columns.id.is_some();
        self.collect(Some((&index, anchor)), &collector, &mut |block, place| {
            let block: BoxRowsBlock = block;
            if has_ids {
                ids.add(&block.keys);
            } else {
                ids.add_numbered(block.rows, block.not_finite_rows);
            }
            self.keep(block.uncounted_bytes)?;
            rounded.add(block.rounded, place.first_number);
            let of_block = block.not_finite.map(|(id, number)| {
                let first_row = if has_ids { 0 } else { place.first_row };
                (id + first_row, number + place.first_number)
            });
            if let Some(of_block) = of_block
                && not_finite.is_none_or(|(id, _)| of_block.0 < id)
            {
                not_finite = Some(of_block);
            }
            self.storage.stage().add(block.in_boxes.len() as u64);
            for mut boxed in block.in_boxes {
                if !has_ids {
                    boxed.annotation.id += place.first_row;
                }
                batch.in_boxes.push(boxed);
            }
            Ok(())
        })?;
        let counts = if has_ids {
            self.check_ids(ids, &batch, anchor)?
        } else {
            ids.finish_numbered()
        };
        self.points_in_boxes(batch, boxes.len(), counts, not_finite, rounded)
    }

    /// Checks that no id has two geometries, which may need another pass over the table.
    fn check_ids(
        &self,
        ids: TableIds<'_>,
        batch: &AnnotationBatch,
        anchor: Anchor,
    ) -> Result<IdCounts, PointsError> {
        let (check, counts) = ids.finish();
        let unclear = match check {
            IdCheck::Right => return Ok(counts),
            IdCheck::Conflict(id) => return Err(self.conflict(id, anchor)),
            IdCheck::Repeated(ids) => ids,
            IdCheck::Unknown => {
                let in_boxes = batch.in_boxes.iter().map(|boxed| boxed.annotation.id);
                let mut ids: Vec<u64> = in_boxes.collect();
                ids.sort_unstable();
                ids.dedup();
                ids
            }
        };
        match conflicting_id(&unclear, self, anchor)? {
            Some(id) => Err(self.conflict(id, anchor)),
            None => Ok(counts),
        }
    }

    /// The bounds of all anchors. Reads the table again.
    pub(super) fn extent(&self, anchor: Anchor) -> Result<Option<BoxNm>, PointsError> {
        let collector = AllAnchors {
            columns: &self.columns,
            anchor,
        };
        let mut bounds = PointBounds::default();
        self.collect(None, &collector, &mut |block: PointBounds, _| {
            bounds.merge(&block);
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
        rounded: RoundedNumbers,
    ) -> Result<PointsInBoxes, PointsError> {
        let merged = merge_batches(vec![batch], box_count).unwrap_or_default();
        let mut warnings: Vec<String> = rounded
            .warning(&self.columns.names, |number| self.source.row_name(number))
            .into_iter()
            .collect();
        warnings.extend(self.source.warning());
        if let [id, ..] = merged.differing_properties[..] {
            warnings.push(format!(
                "{} annotation(s) have rows with different properties, for example id {id}; the first row is used",
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
                    example: not_finite.map(|(id, number)| (id, self.source.row_name(number))),
                },
                warnings,
                ..PointsReport::default()
            },
        })
    }

    /// Counts memory of annotations inside boxes.
    fn keep(&self, bytes: u64) -> Result<(), PointsError> {
        self.budget.keep(bytes).map_err(|over| {
            DocumentError::TooLarge {
                object: self.object(),
                expected: EXPECTED,
                problem: format!("the annotations inside boxes take more than {over}"),
                advice: ADVICE,
            }
            .into()
        })
    }

    /// The error that names the rows with two geometries for `id`. Reads the table again to find them.
    fn conflict(&self, id: u64, anchor: Anchor) -> PointsError {
        let ids = [id];
        let collector = RowsOfIds {
            columns: &self.columns,
            ids: &ids,
            anchor,
        };
        let mut found: Vec<(u64, String, String)> = Vec::new();
        let read = self.collect(None, &collector, &mut |rows, place| {
            for row in rows {
                let is_other = found.iter().all(|(digest, ..)| *digest != row.digest);
                if is_other && found.len() < 2 {
                    let name = self.source.row_name(row.number + place.first_number);
                    found.push((row.digest, row.geometry.describe(), name));
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

    /// Collects all rows, or at least those whose anchor is in a box, and merges what was collected in the order of the rows.
    fn collect<C: RowCollector>(
        &self,
        boxes: Option<(&BoxIndex<'_>, Anchor)>,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        let near = boxes.map(|(boxes, anchor)| self.near(boxes, anchor));
        self.source.collect(near, collector, merge)
    }
}

/// Collects the bounds of all anchors.
struct AllAnchors<'t> {
    columns: &'t AnnotationColumns,
    anchor: Anchor,
}

impl RowCollector for AllAnchors<'_> {
    type Block = PointBounds;

    fn add(&self, cells: &impl RowCells, block: &mut PointBounds) -> Result<(), PointsError> {
        let row = self.columns.row(cells, &mut RoundedNumbers::default())?;
        if let (Some(position), _) = row.geometry.place(self.anchor) {
            block.add(position.anchor);
        }
        Ok(())
    }
}
