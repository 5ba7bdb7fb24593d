//! Neuroglancer's precomputed annotations, read through their spatial index.
//!
//! In go the folder of a layer and some boxes; the cells of every level that the boxes need are read once
//! each, in parallel, and out comes one batch of annotations per cell. All levels are read: by the
//! format each annotation is on one of them, but writers exist that put every annotation on every level.

mod cells;
mod corners;
mod grid;
mod info;
mod record;
mod related;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use rayon::prelude::*;

use self::cells::{Cells, cells, free_if_large, read_list};
use self::grid::{Grid, Span};
use self::info::Info;
use self::record::{RecordLayout, geometry_digest};
use super::gather::{Batch, BoxIndex, Conflict, Hit, RECORD_BYTES, Seen, gather};
use super::property::describe_all;
use super::{
    Anchor, Annotation, NotFinite, PointsError, PointsInBoxes, PointsReport, PropertySpec,
};
use crate::geometry::{BoxNm, PointNm, SourceTransform};
use crate::neuroglancer::{GeometryKind, InfoError, read_info};
use crate::storage::{DocumentError, Keeper, Lease, Location, MemoryBudget, OverBudget, Parts};

/// Most cells that one call reads.
const MAX_CELLS: u64 = 50_000_000;

/// What a cell takes that is to be read: its number in a set, and its place in a list.
const CELL_BYTES: u64 = 64;

/// A precomputed annotation layer.
#[derive(Debug)]
pub(super) struct Layer {
    location: Location,
    /// The info file, for messages.
    object: String,
    /// What the annotations may take.
    budget: MemoryBudget,
    info: Info,
    layout: RecordLayout,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    key: String,
    grid: Grid,
    cells: Box<dyn Cells>,
}

/// One cell to be read.
#[derive(Clone, Copy, Debug)]
struct Task<'a> {
    level: &'a Level,
    number: u64,
}

impl Task<'_> {
    fn object(&self) -> String {
        self.level
            .cells
            .describe(&self.level.grid.cell(self.number))
    }

    /// Replaces the contents of `into` by the cell's list of annotations; `None` if none is stored.
    fn read(
        &self,
        budget: &MemoryBudget,
        into: &mut Vec<u8>,
    ) -> Result<Option<Lease>, PointsError> {
        let cell = self.level.grid.cell(self.number);
        let cells = &self.level.cells;
        let read = |limit_bytes| cells.read(&cell, limit_bytes, into);
        read_list(budget, cells.memory_of_byte(), read, || self.object())
    }
}

impl Layer {
    /// Reads and checks the layer's info.
    pub(super) fn open(
        location: &Location,
        transform: Option<&SourceTransform>,
        budget: &MemoryBudget,
    ) -> Result<Self, PointsError> {
        let found = read_info(location, info::EXPECTED).map_err(|problem| match problem {
            InfoError::Document(e) if e.is_missing() => missing(location, e),
            InfoError::Document(e) => PointsError::Document(e),
            InfoError::Redirect { object, problem } => PointsError::Redirect { object, problem },
        })?;
        let (location, object) = (found.location, found.object);
        let mut info = Info::parse(&found.value, &object, transform)?;
        let levels = std::mem::take(&mut info.levels)
            .into_iter()
            .map(|level| Level {
                cells: cells(location.join(&level.key).open(), level.sharding),
                key: level.key,
                grid: level.grid,
            })
            .collect();
        Ok(Self {
            location,
            object,
            budget: budget.clone(),
            layout: RecordLayout::new(&info),
            info,
            levels,
        })
    }

    pub(super) fn location(&self) -> String {
        self.location.to_string()
    }

    /// Where annotations lie, as the info says.
    pub(super) fn extent(&self) -> Option<BoxNm> {
        let placed = &self.info.placed;
        let nm = |bound: &[f64]| PointNm(placed.map(|axis| axis.nm(bound[axis.dimension])));
        BoxNm::from_corners(nm(&self.info.lower_bound), nm(&self.info.upper_bound))
    }

    pub(super) fn kind(&self) -> GeometryKind {
        self.info.kind
    }

    pub(super) fn properties(&self) -> &[PropertySpec] {
        &self.info.properties
    }

    pub(super) fn describe(&self) -> String {
        let levels: Vec<String> = self
            .levels
            .iter()
            .map(|level| {
                let shape: Vec<String> = level.grid.shape().iter().map(u64::to_string).collect();
                format!("{} ({} cells)", level.key, shape.join(" x "))
            })
            .collect();
        let properties = describe_all(&self.info.properties);
        format!(
            "precomputed annotations of type {} at {}; levels: {}; properties: {properties}",
            self.info.kind.name(),
            self.location,
            levels.join(", "),
        )
    }

    pub(super) fn read_boxes(
        &self,
        boxes: &[BoxNm],
        anchor: Anchor,
    ) -> Result<PointsInBoxes, PointsError> {
        let tasks = self.tasks(boxes)?;
        let index = BoxIndex::new(boxes);
        let parts = Parts::new();
        // Most cells of a sparse layer are not stored: only those that are leave something behind.
        let read = tasks
            .par_iter()
            .map_init(Vec::new, |buffer, task| {
                let batch = parts.run(|| self.read_cell(*task, &index, anchor, buffer));
                batch.map(|batch| batch.map(|batch| (*task, batch)))
            })
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>();
        let read = parts.finish(read)?;
        let (stored, batches): (Vec<Task>, Vec<Batch>) = read.into_iter().unzip();
        let gathered =
            gather(batches, boxes.len()).map_err(|conflict| self.conflict(&stored, conflict))?;
        let cells_empty = (tasks.len() - stored.len()) as u64;
        let mut report = PointsReport {
            cells_read: stored.len() as u64,
            cells_empty,
            annotations_read: gathered.distinct,
            repeated_records: gathered.repeated,
            not_finite: NotFinite {
                annotations: gathered.not_finite.len() as u64,
                example: gathered
                    .not_finite
                    .first_key_value()
                    .map(|(id, i)| (*id, stored[*i].object())),
            },
            warnings: self.info.warnings.clone(),
        };
        if report.cells_read == 0 && cells_empty > 0 {
            report.warnings.push(format!(
                "{}: none of the {cells_empty} cells that the boxes touch is stored, such as {}: \
                 are boxes and layer in the same place, and is the layer whole?",
                self.object,
                tasks[0].object(),
            ));
        }
        if let [id, ..] = gathered.differing_properties[..] {
            report.warnings.push(format!(
                "{}: {} annotations have records with different properties, such as id {id}; the first record counts",
                self.object,
                gathered.differing_properties.len(),
            ));
        }
        Ok(PointsInBoxes {
            per_box: gathered.per_box,
            report,
        })
    }

    /// The names of the layer's relationships.
    pub(super) fn relationships(&self) -> Result<Vec<String>, PointsError> {
        let all = related::parse(&self.info.relationships, &self.object)?;
        Ok(all.into_iter().map(|r| r.id).collect())
    }

    /// The ids of the annotations that the relationship at `position` relates to one of `objects`.
    pub(super) fn related(
        &self,
        position: usize,
        objects: &[u64],
    ) -> Result<HashSet<u64>, PointsError> {
        let all = related::parse(&self.info.relationships, &self.object)?;
        match all.get(position) {
            Some(relationship) => {
                relationship.annotations_of(objects, &self.location, &self.layout, &self.budget)
            }
            None => Ok(HashSet::new()),
        }
    }

    /// The cells that some box needs, each once: by level, then by their number in it.
    fn tasks(&self, boxes: &[BoxNm]) -> Result<Vec<Task<'_>>, PointsError> {
        let mut tasks = Vec::new();
        let most_cells = MAX_CELLS.min(self.budget.keep_limit_bytes() / CELL_BYTES);
        for (i, level) in self.levels.iter().enumerate() {
            let too_many = |found| PointsError::TooManyCells {
                object: self.object.clone(),
                level: format!("spatial[{i}]"),
                found,
                limit: most_cells,
            };
            // A line may be listed in the cells of its ends only.
            let ring = self.info.kind != GeometryKind::Point;
            let regions: HashSet<Vec<RangeInclusive<u64>>> = boxes
                .iter()
                .map(|b| level.grid.cells_of(&self.spans(b), ring))
                .collect();
            let all: u128 = level.grid.shape().iter().map(|n| u128::from(*n)).product();
            let mut needed = HashSet::new();
            for region in regions {
                let count: u128 = region
                    .iter()
                    .map(|r| u128::from(r.end() - r.start()) + 1)
                    .product();
                if count > u128::from(most_cells) {
                    return Err(too_many(count));
                }
                for_each_cell(&region, |cell| {
                    needed.insert(level.grid.number(cell));
                });
                if needed.len() as u64 > most_cells {
                    return Err(too_many(needed.len() as u128));
                }
                if needed.len() as u128 == all {
                    break;
                }
            }
            let mut numbers: Vec<u64> = needed.into_iter().collect();
            numbers.sort_unstable();
            tasks.extend(numbers.into_iter().map(|number| Task { level, number }));
        }
        Ok(tasks)
    }

    /// What a box covers along each dimension of the layer.
    fn spans(&self, b: &BoxNm) -> Vec<Span> {
        let mut spans = vec![Span::EVERYTHING; self.info.rank];
        for (i, axis) in self.info.placed.into_iter().enumerate() {
            let position = |nm: f64| (nm - axis.offset_nm) / axis.unit_nm;
            spans[axis.dimension] = Span {
                from: position(b.min()[i]),
                to: position(b.max()[i]),
            };
        }
        spans
    }

    /// `None` if the cell is not stored.
    fn read_cell(
        &self,
        task: Task,
        index: &BoxIndex,
        anchor: Anchor,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Batch>, PointsError> {
        let Some(_lease) = task.read(&self.budget, buffer)? else {
            return Ok(None);
        };
        let mut batch = Batch::default();
        let mut keeper = Keeper::new(&self.budget);
        let read = self.layout.read(buffer, &|| task.object(), |record| {
            if !keeper.keep(RECORD_BYTES) {
                return;
            }
            let Some(place) = self.layout.place(record.geometry, anchor) else {
                batch.not_finite.push(record.id);
                return;
            };
            batch.seen.push(Seen {
                id: record.id,
                geometry: geometry_digest(record.geometry),
            });
            let mut boxes = index.containing(&place.anchor);
            if let Some(first_box) = boxes.next() {
                let hit = Hit {
                    annotation: Annotation {
                        id: record.id,
                        anchor: place.anchor,
                        ends: place.ends,
                        properties: record.properties.into(),
                    },
                    first_box,
                    more_boxes: boxes.collect(),
                };
                keeper.keep(hit.memory_bytes());
                batch.hits.push(hit);
            }
        });
        free_if_large(buffer);
        read.map_err(|e| e.with_hint(task.level.cells.hint()))?;
        let over = |over| self.over(index.len(), over);
        keeper.finish().map_err(over)?;
        Ok(Some(batch))
    }

    fn over(&self, boxes: usize, over: OverBudget) -> PointsError {
        PointsError::Document(DocumentError::TooLarge {
            object: self.location(),
            expected: "a layer of annotations",
            problem: format!(
                "the annotations of the cells that the {boxes} boxes touch take more than {over}"
            ),
            advice: "allow more with --memory, or split the boxes over several jobs",
        })
    }

    /// Reads the two cells of a conflict again, to say what they hold.
    fn conflict(&self, stored: &[Task], conflict: Conflict) -> PointsError {
        let Conflict { id, batches } = conflict;
        let mut found: Vec<(u64, String, String)> = Vec::new();
        let mut buffer = Vec::new();
        for task in batches.map(|i| stored[i]) {
            let _lease = match task.read(&self.budget, &mut buffer) {
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

/// Documents of volumes, and what they are of.
const VOLUMES: [(&str, &str); 4] = [
    ("zarr.json", "zarr.json, of Zarr"),
    (".zarray", ".zarray, of Zarr"),
    (".zattrs", ".zattrs, of Zarr"),
    ("attributes.json", "attributes.json, of N5"),
];

/// Why a layer without an info cannot be read: `e`, or that it is a volume of another format.
fn missing(location: &Location, e: DocumentError) -> PointsError {
    let store = location.open();
    let is_there = |(key, _): &&(&str, &str)| matches!(store.size(key), Ok(Some(_)));
    match VOLUMES.iter().find(is_there) {
        Some((_, document)) => PointsError::Volume {
            location: location.to_string(),
            document,
        },
        None => PointsError::Document(e),
    }
}

/// Calls `visit` with every cell of a region, the last dimension fastest.
fn for_each_cell(region: &[RangeInclusive<u64>], mut visit: impl FnMut(&[u64])) {
    let mut cell: Vec<u64> = region.iter().map(|range| *range.start()).collect();
    loop {
        visit(&cell);
        let next = (0..cell.len()).rev().find(|d| cell[*d] < *region[*d].end());
        let Some(d) = next else { return };
        cell[d] += 1;
        for later in d + 1..cell.len() {
            cell[later] = *region[later].start();
        }
    }
}
