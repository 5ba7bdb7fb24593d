//! The spatial index of a layer: which cells some boxes need, and the lists of annotations in them.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::cells::{CellStore, cell_store, read_list};
use super::grid::{CellGrid, DimensionRange};
use super::info::AnnotationInfo;
use crate::geometry::{BoxNm, Placement};
use crate::neuroglancer::GeometryKind;
use crate::points::error::PointsError;
use crate::storage::{Lease, Location, MemoryBudget, Storage};

/// The levels of a layer's spatial index.
#[derive(Debug)]
pub(super) struct SpatialIndex {
    /// The info file, for messages.
    object: String,
    rank: usize,
    placed: Placement,
    /// Whether the cells around those of a box are needed too: a line may be listed only in the cells of its ends.
    with_neighbours: bool,
    levels: Vec<IndexLevel>,
}

#[derive(Debug)]
struct IndexLevel {
    key: String,
    grid: CellGrid,
    cells: Box<dyn CellStore>,
}

/// One cell to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellTask<'a> {
    level: &'a IndexLevel,
    number: u64,
}

impl CellTask<'_> {
    /// The location of the cell, for messages.
    pub(super) fn object(&self) -> String {
        self.level
            .cells
            .describe(&self.level.grid.cell(self.number))
    }

    /// A possible cause if the cell is damaged; often empty.
    pub(super) fn hint(&self) -> &'static str {
        self.level.cells.hint()
    }

    /// Reads the cell's list of annotations into `into`, replacing its contents; `None` if the cell is not stored.
    pub(super) fn read(
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

impl SpatialIndex {
    /// The index of the layer in the folder `location`. Moves the levels out of `info`, the contents of `object`.
    pub(super) fn new(
        info: &mut AnnotationInfo,
        object: &str,
        location: &Location,
        storage: &Storage,
    ) -> Self {
        let levels = std::mem::take(&mut info.levels)
            .into_iter()
            .map(|level| IndexLevel {
                cells: cell_store(storage.open(&location.join(&level.key)), level.sharding),
                key: level.key,
                grid: level.grid,
            });
        Self {
            object: object.to_owned(),
            rank: info.rank,
            placed: info.placed,
            with_neighbours: info.kind != GeometryKind::Point,
            levels: levels.collect(),
        }
    }

    /// The levels with their numbers of cells.
    pub(super) fn describe(&self) -> String {
        let levels = self.levels.iter().map(|level| {
            let shape: Vec<String> = level.grid.shape().iter().map(u64::to_string).collect();
            format!("{} ({} cells)", level.key, shape.join(" x "))
        });
        levels.collect::<Vec<_>>().join(", ")
    }

    /// The cells that the boxes need, each once, ordered by level and then by number. More than `limit` on one level are
    /// an error.
    pub(super) fn tasks(
        &self,
        boxes: &[BoxNm],
        limit: u64,
    ) -> Result<Vec<CellTask<'_>>, PointsError> {
        let mut tasks = Vec::new();
        for (i, level) in self.levels.iter().enumerate() {
            let ranges = boxes.iter().map(|b| self.ranges(b));
            let numbers = level
                .cells_needed(ranges, self.with_neighbours, limit)
                .map_err(|found| PointsError::TooManyCells {
                    object: self.object.clone(),
                    level: format!("spatial[{i}]"),
                    found,
                    limit,
                })?;
            tasks.extend(numbers.into_iter().map(|number| CellTask { level, number }));
        }
        Ok(tasks)
    }

    /// The range of a box along each dimension of the layer.
    fn ranges(&self, b: &BoxNm) -> Vec<DimensionRange> {
        let mut ranges = vec![DimensionRange::EVERYTHING; self.rank];
        for (i, axis) in self.placed.into_iter().enumerate() {
            let position = |nm: f64| (nm - axis.offset_nm) / axis.unit_nm;
            ranges[axis.dimension] = DimensionRange {
                from: position(b.min()[i]),
                to: position(b.max()[i]),
            };
        }
        ranges
    }
}

impl IndexLevel {
    /// The sorted numbers of the cells that some boxes need. The error is a number of cells above `limit`.
    fn cells_needed(
        &self,
        boxes: impl Iterator<Item = Vec<DimensionRange>>,
        with_neighbours: bool,
        limit: u64,
    ) -> Result<Vec<u64>, u128> {
        let regions: HashSet<Vec<RangeInclusive<u64>>> = boxes
            .map(|ranges| self.grid.cells_of(&ranges, with_neighbours))
            .collect();
        let all: u128 = self.grid.shape().iter().map(|n| u128::from(*n)).product();
        let mut needed = HashSet::new();
        for region in regions {
            let count: u128 = region
                .iter()
                .map(|r| u128::from(r.end() - r.start()) + 1)
                .product();
            if count > u128::from(limit) {
                return Err(count);
            }
            for_each_cell(&region, |cell| {
                needed.insert(self.grid.number(cell));
            });
            if needed.len() as u64 > limit {
                return Err(needed.len() as u128);
            }
            if needed.len() as u128 == all {
                break;
            }
        }
        let mut numbers: Vec<u64> = needed.into_iter().collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Calls `visit` for every cell of a region. The last dimension varies fastest.
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
