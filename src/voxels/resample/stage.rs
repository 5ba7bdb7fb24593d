//! One stage of resampling, from one grid to another. Most windows need a single stage.

use std::ops::Range;

use super::axis::{Cover, WeightedAxis};
use super::ratio::Ratio;
use crate::config::Rounding;
use crate::geometry::VoxelBox;

/// How the value of a voxel follows from the voxels that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The value of the only one.
    Nearest,
    /// Their weighted mean.
    Mean(Rounding),
    /// 1 where any of them is greater than 0.
    Any,
    /// Their most frequent value.
    Majority(Vote),
}

/// How the most frequent value is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    /// Of two by two along two axes: tinybrain's `mode_pooling_2x2` and `countless2d`.
    Square,
    /// Of two by two by two in a single stage: tinybrain's `mode_pooling_2x2x2`.
    Cube,
    /// Of two by two by two in one of several stages: tinybrain's `countless3d`.
    CubeStep,
    /// Of any number of voxels, by the volume of their overlap.
    Volume,
}

/// How voxels of one grid are resampled to another.
#[derive(Clone, Debug)]
pub(crate) struct StageRule {
    pub kernel: Kernel,
    pub ratios: [Ratio; 3],
    pub cover: Cover,
}

/// A box of voxels, and the voxels that they cover. Kernels get little-endian values in C order `[channel, z, y, x]`: those
/// of the source over [`Stage::source_box`], and those to write over the box. They do not change voxels outside of
/// [`Stage::support`].
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub kernel: Kernel,
    /// Of the box, in voxels x, y, z.
    pub shape: [usize; 3],
    pub axes: [WeightedAxis; 3],
}

/// A row of a stage's voxels along x.
pub(crate) struct Row {
    channel: usize,
    /// Position of its span on the y axis.
    pub y: usize,
    /// Position of its span on the z axis.
    pub z: usize,
    /// Range of its voxels with support among the values of the box.
    pub out: Range<usize>,
}

impl StageRule {
    /// The stage that computes the voxels of `window` from those within `bounds`. `None` where none of them has support.
    pub fn stage(&self, window: &VoxelBox, bounds: &VoxelBox) -> Option<Stage> {
        let axis = |d: usize| {
            WeightedAxis::new(
                window.start[d]..window.end[d],
                self.ratios[d],
                self.cover,
                bounds.start[d]..bounds.end[d],
            )
        };
        Some(Stage {
            kernel: self.kernel,
            shape: window.shape().map(|n| n as usize),
            axes: [axis(0)?, axis(1)?, axis(2)?],
        })
    }

    /// The voxels that cover any voxel within `bounds`.
    pub fn covered_box(&self, bounds: &VoxelBox) -> VoxelBox {
        let along = |d: usize| self.ratios[d].covering(bounds.start[d]..bounds.end[d]);
        let [x, y, z] = [along(0), along(1), along(2)];
        VoxelBox {
            start: [x.start, y.start, z.start],
            end: [x.end, y.end, z.end],
        }
    }
}

impl Stage {
    /// The voxels that are needed.
    pub fn source_box(&self) -> VoxelBox {
        VoxelBox {
            start: std::array::from_fn(|d| self.axes[d].source.start),
            end: std::array::from_fn(|d| self.axes[d].source.end),
        }
    }

    /// The voxels with support, counted from the start of the box.
    pub fn support(&self) -> VoxelBox {
        VoxelBox {
            start: std::array::from_fn(|d| self.axes[d].support.start as i64),
            end: std::array::from_fn(|d| self.axes[d].support.end as i64),
        }
    }

    /// The rows that have support.
    pub fn rows(&self, channels: usize) -> impl Iterator<Item = Row> {
        let [nx, ny, nz] = self.shape;
        let [x, y, z] = self.axes.each_ref().map(|axis| axis.support.clone());
        let of_plane = move |channel, at_z| {
            let (x, z) = (x.clone(), z.clone());
            y.clone().enumerate().map(move |(row_y, at_y)| {
                let begin = ((channel * nz + at_z) * ny + at_y) * nx;
                Row {
                    channel,
                    y: row_y,
                    z: at_z - z.start,
                    out: begin + x.start..begin + x.end,
                }
            })
        };
        let z = self.axes[2].support.clone();
        (0..channels)
            .flat_map(move |channel| z.clone().map(move |at_z| (channel, at_z)))
            .flat_map(move |(channel, at_z)| of_plane(channel, at_z))
    }

    /// The rows of the source that a row covers, y first: the range of each among the source's values, and the positions of its
    /// weights on the y axis and on the z axis.
    pub fn source_rows(&self, row: &Row) -> impl Iterator<Item = (Range<usize>, [usize; 2])> {
        let [_, y, z] = &self.axes;
        z.voxels_of(row.z).flat_map(move |(at_z, z_weight)| {
            y.voxels_of(row.y).map(move |(at_y, y_weight)| {
                (self.source_row(row, at_y, at_z), [y_weight, z_weight])
            })
        })
    }

    /// Range of the source's values in a row's channel at y and z, counted from the source's start.
    fn source_row(&self, row: &Row, y: usize, z: usize) -> Range<usize> {
        let [nx, ny, nz] = self
            .axes
            .each_ref()
            .map(|axis| (axis.source.end - axis.source.start) as usize);
        let begin = ((row.channel * nz + z) * ny + y) * nx;
        begin..begin + nx
    }
}
