//! An opened precomputed layer, and reading annotations from it.

use std::collections::HashSet;

use rayon::prelude::*;

use super::cells::free_if_large;
use super::index::{CellTask, SpatialIndex};
use super::info::{self, AnnotationInfo};
use super::record::{RecordLayout, geometry_digest};
use super::related;
use crate::geometry::{BoxNm, PointNm, SourceTransform};
use crate::neuroglancer::{GeometryKind, InfoError, read_info};
use crate::points::annotation::{Anchor, InBox};
use crate::points::error::PointsError;
use crate::points::merge::{
    AnnotationBatch, BoxIndex, GeometryConflict, MergedBatches, RECORD_BYTES, RecordKey,
    merge_batches,
};
use crate::points::property::{PropertySpec, describe_all};
use crate::points::report::{NotFinite, PointsInBoxes, PointsReport};
use crate::storage::{DocumentError, Keeper, Location, OverBudget, ParallelTasks, Storage};

/// Limit of cells that one call reads.
const MAX_CELLS: u64 = 50_000_000;

/// Memory for a cell to read: its number in a set, and its task in a list.
const CELL_BYTES: u64 = 64;

/// A precomputed annotation layer.
#[derive(Debug)]
pub(in crate::points) struct PrecomputedLayer {
    location: Location,
    /// The info file, for messages.
    pub(super) object: String,
    pub(super) storage: Storage,
    pub(super) info: AnnotationInfo,
    pub(super) layout: RecordLayout,
    index: SpatialIndex,
}

impl PrecomputedLayer {
    /// Reads and checks the layer's info.
    pub(in crate::points) fn open(
        location: &Location,
        transform: Option<&SourceTransform>,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let found =
            read_info(location, info::EXPECTED, storage).map_err(|problem| match problem {
                InfoError::Document(e) if e.is_missing() => missing(location, e, storage),
                InfoError::Document(e) => PointsError::Document(e),
                InfoError::Redirect { object, problem } => {
                    PointsError::Redirect { object, problem }
                }
            })?;
        let (location, object) = (found.location, found.object);
        let mut info = AnnotationInfo::parse(&found.value, &object, transform)?;
        let index = SpatialIndex::new(&mut info, &object, &location, storage);
        Ok(Self {
            location,
            object,
            storage: storage.clone(),
            layout: RecordLayout::new(&info),
            info,
            index,
        })
    }

    /// The folder of the layer.
    pub(super) fn folder(&self) -> &Location {
        &self.location
    }

    pub(in crate::points) fn location(&self) -> String {
        self.location.to_string()
    }

    /// The bounds of annotations in the info.
    pub(in crate::points) fn extent(&self) -> Option<BoxNm> {
        let placed = &self.info.placed;
        let nm = |bound: &[f64]| PointNm(placed.map(|axis| axis.nm(bound[axis.dimension])));
        BoxNm::from_corners(nm(&self.info.lower_bound), nm(&self.info.upper_bound))
    }

    pub(in crate::points) fn kind(&self) -> GeometryKind {
        self.info.kind
    }

    pub(in crate::points) fn properties(&self) -> &[PropertySpec] {
        &self.info.properties
    }

    pub(in crate::points) fn describe(&self) -> String {
        let properties = describe_all(&self.info.properties);
        format!(
            "precomputed annotations of type {} at {}; levels: {}; properties: {properties}",
            self.info.kind.name(),
            self.location,
            self.index.describe(),
        )
    }

    pub(in crate::points) fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
        in_box: InBox,
    ) -> Result<PointsInBoxes, PointsError> {
        let cell_tasks = self.cell_tasks(boxes)?;
        let index = BoxIndex::new(boxes, in_box);
        let tasks = ParallelTasks::new(&self.storage);
        // Most cells of a sparse layer are not stored, so only the stored ones are kept.
        let read = cell_tasks
            .par_iter()
            .map_init(Vec::new, |buffer, task| {
                let batch = tasks.run(|| self.read_cell(*task, &index, anchor, buffer));
                batch.map(|batch| batch.map(|batch| (*task, batch)))
            })
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>();
        let read = tasks.finish(read)?;
        let (stored, batches): (Vec<CellTask>, Vec<AnnotationBatch>) = read.into_iter().unzip();
        let merged = merge_batches(batches, boxes.len())
            .map_err(|conflict| self.conflict(&stored, conflict))?;
        let report = self.report(&merged, &cell_tasks, &stored);
        Ok(PointsInBoxes {
            per_box: merged.per_box,
            report,
        })
    }

    /// The report on the cells `all`, of which only some are `stored`.
    fn report(
        &self,
        merged: &MergedBatches,
        all: &[CellTask],
        stored: &[CellTask],
    ) -> PointsReport {
        let cells_empty = (all.len() - stored.len()) as u64;
        let mut warnings = self.info.warnings.clone();
        if let ([example, ..], []) = (all, stored) {
            warnings.push(format!(
                "{}: none of the {cells_empty} cells that the boxes overlap is stored, for example {}: \
                 check that boxes and layer have the same coordinates, and that the layer is complete",
                self.object,
                example.object(),
            ));
        }
        if let [id, ..] = merged.differing_properties[..] {
            warnings.push(format!(
                "{}: {} annotation(s) have records with different properties, for example id {id}; the first record is used",
                self.object,
                merged.differing_properties.len(),
            ));
        }
        let not_finite = merged.not_finite.first_key_value();
        PointsReport {
            cells_read: stored.len() as u64,
            cells_empty,
            annotations_read: merged.distinct,
            repeated_records: merged.repeated,
            not_finite: NotFinite {
                annotations: merged.not_finite.len() as u64,
                example: not_finite.map(|(id, batch)| (*id, stored[*batch].object())),
            },
            warnings,
        }
    }

    /// The names of the layer's relationships.
    pub(in crate::points) fn relationships(&self) -> Result<Vec<String>, PointsError> {
        let all = related::parse(&self.info.relationships, &self.object)?;
        Ok(all.into_iter().map(|r| r.id).collect())
    }

    /// The ids of the annotations that the relationship at `position` relates to one of `objects`.
    pub(in crate::points) fn related(
        &self,
        position: usize,
        objects: &[u64],
    ) -> Result<HashSet<u64>, PointsError> {
        let all = related::parse(&self.info.relationships, &self.object)?;
        match all.get(position) {
            Some(relationship) => {
                relationship.annotations_of(objects, &self.location, &self.layout, &self.storage)
            }
            None => Ok(HashSet::new()),
        }
    }

    /// The cells that the boxes need, each once.
    pub(super) fn cell_tasks(&self, boxes: &[BoxNm]) -> Result<Vec<CellTask<'_>>, PointsError> {
        let limit = MAX_CELLS.min(self.storage.budget().keep_limit_bytes() / CELL_BYTES);
        self.index.tasks(boxes, limit)
    }

    /// Reads the annotations of a cell; `None` if the cell is not stored.
    fn read_cell(
        &self,
        task: CellTask,
        index: &BoxIndex,
        anchor: Anchor,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<AnnotationBatch>, PointsError> {
        let Some(_lease) = task.read(self.storage.budget(), buffer)? else {
            return Ok(None);
        };
        let mut batch = AnnotationBatch::default();
        let mut keeper = Keeper::new(self.storage.budget());
        let read = self.layout.read(buffer, &|| task.object(), |record| {
            if !keeper.keep(RECORD_BYTES) {
                return;
            }
            let Some(position) = self.layout.position(record.geometry, anchor) else {
                batch.not_finite.push(record.id);
                return;
            };
            batch.seen.push(RecordKey {
                id: record.id,
                geometry: geometry_digest(record.geometry),
            });
            if let Some(boxed) = index.place(record.id, &position, record.properties) {
                keeper.keep(boxed.memory_bytes());
                batch.in_boxes.push(boxed);
            }
        });
        free_if_large(buffer);
        read.map_err(|e| e.with_hint(task.hint()))?;
        let too_large = |over| self.too_large(index.len(), over);
        keeper.finish().map_err(too_large)?;
        self.storage.stage().add(batch.in_boxes.len() as u64);
        Ok(Some(batch))
    }

    pub(super) fn too_large(&self, boxes: usize, over: OverBudget) -> PointsError {
        PointsError::Document(DocumentError::TooLarge {
            object: self.location(),
            expected: "a layer of annotations",
            problem: format!(
                "the annotations of the cells that the {boxes} boxes overlap take more than {over}"
            ),
            advice: "allow more with --memory, or split the boxes over several jobs",
        })
    }

    /// The error that names both geometries of a conflict. Reads the two cells again.
    pub(super) fn conflict(&self, stored: &[CellTask], conflict: GeometryConflict) -> PointsError {
        let GeometryConflict { id, batches } = conflict;
        let mut found: Vec<(u64, String, String)> = Vec::new();
        let mut buffer = Vec::new();
        for task in batches.map(|i| stored[i]) {
            let _lease = match task.read(self.storage.budget(), &mut buffer) {
                Ok(lease) => lease,
                Err(e) => return e,
            };
            let read = self.layout.read(&buffer, &|| task.object(), |record| {
                let digest = geometry_digest(record.geometry);
                if record.id == id && found.iter().all(|(other, ..)| *other != digest) {
                    found.push((digest, self.layout.describe(record.geometry), task.object()));
                }
            });
            if let Err(e) = read {
                return e;
            }
        }
        let mut found = found
            .into_iter()
            .map(|(_, geometry, object)| (geometry, object));
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
}

/// Documents of volumes with their formats.
const VOLUMES: [(&str, &str); 4] = [
    ("zarr.json", "zarr.json, of Zarr"),
    (".zarray", ".zarray, of Zarr"),
    (".zattrs", ".zattrs, of Zarr"),
    ("attributes.json", "attributes.json, of N5"),
];

/// The error for a layer without an info: `e`, or that it is a volume of another format.
fn missing(location: &Location, e: DocumentError, storage: &Storage) -> PointsError {
    let store = storage.open(location);
    let exists = |(key, _): &&(&str, &str)| matches!(store.size(key), Ok(Some(_)));
    match VOLUMES.iter().find(exists) {
        Some((_, document)) => PointsError::Volume {
            location: location.to_string(),
            document,
        },
        None => PointsError::Document(e),
    }
}
