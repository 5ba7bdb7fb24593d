//! The mask of negatives: a volume that is not 0 where they may be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::too_large;
use crate::blocks::{Block, VisitMemory, visit_blocks};
use crate::config::{LayerConfig, Missing};
use crate::geometry::{PointNm, Resolution, VoxelBox};
use crate::points::error::PointsError;
use crate::points::open_volume::open_volume;
use crate::storage::{Location, OverBudget, SourceUrl, Storage};
use crate::volume::{BlockGrid, Volume};

/// A volume that is not 0 where negatives may be.
#[derive(Debug)]
pub(crate) struct NegativeMask {
    volume: Arc<dyn Volume>,
    resolution: Resolution,
    missing: Missing,
}

impl NegativeMask {
    /// Opens the volume at `source` at the scale with the given `resolution`.
    pub fn open(
        source: &SourceUrl,
        resolution: &Resolution,
        layer: &LayerConfig,
        roots: Option<&Location>,
        missing: Missing,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        // Without this key it is the resolution of the job, which other layers have.
        let key = "points.negatives.mask.resolution";
        Ok(Self {
            volume: open_volume(source, resolution, layer, roots, key, storage)?,
            resolution: *resolution,
            missing,
        })
    }

    /// Whether each of `points` is in a voxel that is not 0. Of several channels, the first counts.
    pub(super) fn contains(
        &self,
        points: &[PointNm],
        storage: &Storage,
    ) -> Result<Vec<bool>, PointsError> {
        let grid = &self.volume.meta().grid;
        let mut blocks: BTreeMap<u64, Vec<(usize, [i64; 3])>> = BTreeMap::new();
        for (i, point) in points.iter().enumerate() {
            let Some(voxel) = self.resolution.voxel_of(point) else {
                continue;
            };
            let around = VoxelBox {
                start: voxel,
                end: voxel.map(|v| v + 1),
            };
            for block in grid.blocks_touching(&around) {
                blocks
                    .entry(grid.linear(block))
                    .or_default()
                    .push((i, voxel));
            }
        }
        let found: Vec<AtomicBool> = points.iter().map(|_| AtomicBool::new(false)).collect();
        let visit = |number: u64, block: &Block| -> Result<(), PointsError> {
            let block_box = grid.block_box(grid.block_from_linear(number));
            for (i, voxel) in &blocks[&number] {
                let is_set = self.is_set(block, &block_box, *voxel);
                found[*i].store(is_set, Ordering::Relaxed);
            }
            Ok(())
        };
        let numbers: Vec<u64> = blocks.keys().copied().collect();
        self.visit(&numbers, storage, visit)?;
        Ok(found.into_iter().map(AtomicBool::into_inner).collect())
    }

    pub(super) fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    pub(super) fn grid(&self) -> &BlockGrid {
        &self.volume.meta().grid
    }

    /// Whether `voxel`, which is in the block of the voxels `block_box`, is not 0. Of several channels, the first counts.
    pub(super) fn is_set(&self, block: &Block, block_box: &VoxelBox, voxel: [i64; 3]) -> bool {
        let meta = self.volume.meta();
        match block {
            Block::Missing => !meta.fill_value.is_zero(),
            Block::Uniform(value) => !value.is_zero(),
            Block::Stored(values) => {
                let size = meta.data_type.size_bytes();
                let [nx, ny, _] = block_box.shape();
                let [x, y, z] = [0, 1, 2].map(|d| (voxel[d] - block_box.start[d]) as u64);
                let first = ((z * ny + y) * nx + x) as usize * size;
                let value = values.get(first..first + size);
                value.is_some_and(|value| meta.data_type.count_nonzero(value) > 0)
            }
        }
    }

    /// Calls `visit` with each of the blocks with the linear indices `numbers`, in parallel.
    pub(super) fn visit(
        &self,
        numbers: &[u64],
        storage: &Storage,
        visit: impl Fn(u64, &Block) -> Result<(), PointsError> + Sync,
    ) -> Result<(), PointsError> {
        let memory = VisitMemory::reserve(self.volume.as_ref(), storage.budget());
        let memory = memory.map_err(|over| {
            let problem = format!("its chunks take more than {over}");
            too_large(self.volume.describe(), "a mask", problem)
        })?;
        let visit = |number: u64, block: &Block| {
            if matches!(block, Block::Missing) && self.missing == Missing::Error {
                let block = self.grid().block_from_linear(number);
                let chunk = self.volume.describe_block(block);
                return Err(PointsError::MissingChunk { chunk });
            }
            visit(number, block)
        };
        visit_blocks(&self.volume, numbers, &memory, storage, visit)?;
        Ok(())
    }

    /// The error if the lists of its voxels do not fit in memory.
    pub(super) fn lists_too_large(&self, over: OverBudget) -> PointsError {
        let problem = format!("the lists of its chunks and voxels take more than {over}");
        too_large(self.volume.describe(), "a mask", problem)
    }
}
