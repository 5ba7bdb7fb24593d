//! How much memory it takes to compare a sample with its source.

use super::number::Number;
use crate::geometry::VoxelBox;
use crate::plan::{Plan, Sample};
use crate::volume::Volume;
use crate::voxels::Ratio;

/// Voxels beside those that a window covers which resampling may look at, along each axis.
const MARGIN: i64 = 3;

/// Bytes that the comparison of a sample of the array takes at most: its values, those of its source, and decoded chunks.
pub(super) fn comparison_bytes(
    plan: &Plan,
    array: usize,
    sample: &Sample,
    value_bytes: usize,
    volume: &dyn Volume,
) -> u64 {
    let window = plan.window_of(array, sample);
    let source = &plan.sources[plan.source_of(array, sample)];
    let [nm, data_nm] = [plan.resolution_of(sample).nm(), source.resolution.nm()];
    let meta = volume.meta();
    let along = |d: usize| {
        let (start, end) = (window.start[d], window.end[d]);
        match Ratio::new(nm[d], data_nm[d]) {
            Some(ratio) if !ratio.is_one() => {
                let in_data = |voxel: i64| voxel as f64 * nm[d] / data_nm[d];
                let [first, last] = [in_data(start).floor(), in_data(end).ceil()];
                (first as i64 - MARGIN, last as i64 + MARGIN)
            }
            _ => (start, end),
        }
    };
    let [x, y, z] = [0, 1, 2].map(along);
    let data = VoxelBox {
        start: [x.0, y.0, z.0],
        end: [x.1, y.1, z.1],
    };
    let voxels = |b: &VoxelBox| {
        b.shape()
            .iter()
            .fold(u64::from(meta.channels), |n, k| n.saturating_mul(*k))
    };
    let blocks = meta.grid.count_touching(&data);
    let resampled = if data == window {
        0
    } else {
        voxels(&data).saturating_mul(2 * size_of::<Option<Number>>() as u64)
    };
    // Encoded and decoded.
    let stored = 2 * value_bytes as u64;
    voxels(&window)
        .saturating_mul(size_of::<Number>() as u64 + stored)
        .saturating_add(resampled)
        .saturating_add((blocks + 1).saturating_mul(meta.largest_block_bytes()))
}
