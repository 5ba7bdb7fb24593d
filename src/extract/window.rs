//! Copying the common voxels of a block and a window, row by row.

use crate::data_type::FillValue;
use crate::geometry::VoxelBox;

/// A C-order array `[channel, z, y, x]` that covers a box of voxels.
#[derive(Clone, Copy)]
pub(super) struct Region<'b> {
    pub covers: &'b VoxelBox,
    pub channels: usize,
    pub value_bytes: usize,
}

impl Region<'_> {
    /// Size of the array in bytes.
    pub fn bytes(&self) -> usize {
        let voxels: u64 = self.covers.shape().iter().product();
        voxels as usize * self.channels * self.value_bytes
    }

    /// Bytes from one row of voxels to the next.
    fn row_bytes(&self) -> usize {
        self.covers.shape()[0] as usize * self.value_bytes
    }

    /// Byte at which the row of voxels from `x` on at (channel, z, y) begins.
    fn row(&self, channel: usize, z: i64, y: i64, x: i64) -> usize {
        let [nx, ny, nz] = self.covers.shape().map(|n| n as usize);
        let [x0, y0, z0] = self.covers.start;
        let [dx, dy, dz] = [(x - x0) as usize, (y - y0) as usize, (z - z0) as usize];
        (((channel * nz + dz) * ny + dy) * nx + dx) * self.value_bytes
    }
}

/// Copies the voxels that `block` and `window` share from `values` to `out`, each row through `row`, which is given
/// as many values as it has to make. `out` and `values` are arrays as [`Region`] says.
pub(super) fn copy<E>(
    values: &[u8],
    block: &Region<'_>,
    out: &mut [u8],
    window: &Region<'_>,
    mut row: impl FnMut(&[u8], &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(common) = block.covers.intersection(window.covers) else {
        return Ok(());
    };
    let voxels = common.shape()[0] as usize;
    let [from_bytes, to_bytes] = [block, window].map(|r| voxels * r.value_bytes);
    for (channel, z) in planes(&common, window.channels) {
        let [x, y, _] = common.start;
        let (mut from, mut to) = (block.row(channel, z, y, x), window.row(channel, z, y, x));
        for _ in y..common.end[1] {
            row(
                &values[from..from + from_bytes],
                &mut out[to..to + to_bytes],
            )?;
            from += block.row_bytes();
            to += window.row_bytes();
        }
    }
    Ok(())
}

/// Fills the voxels of `out` that lie in `covers`.
pub(super) fn fill(fill_value: FillValue, covers: &VoxelBox, out: &mut [u8], window: &Region<'_>) {
    let Some(common) = covers.intersection(window.covers) else {
        return;
    };
    let bytes = common.shape()[0] as usize * window.value_bytes;
    for (channel, z) in planes(&common, window.channels) {
        let [x, y, _] = common.start;
        let mut to = window.row(channel, z, y, x);
        for _ in y..common.end[1] {
            fill_value.fill(window.value_bytes, &mut out[to..to + bytes]);
            to += window.row_bytes();
        }
    }
}

/// Channel and z of every plane of `common`.
fn planes(common: &VoxelBox, channels: usize) -> impl Iterator<Item = (usize, i64)> + use<> {
    let z = common.start[2]..common.end[2];
    (0..channels).flat_map(move |channel| z.clone().map(move |z| (channel, z)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    use proptest::prelude::*;

    fn boxed(start: [i64; 3], size: [i64; 3]) -> VoxelBox {
        VoxelBox {
            start,
            end: std::array::from_fn(|d| start[d] + size[d]),
        }
    }

    proptest! {
        #[test]
        fn a_copy_moves_each_common_voxel_and_no_other(
            at in prop::array::uniform3(-6i64..6), size in prop::array::uniform3(1i64..7),
            w_at in prop::array::uniform3(-6i64..6), w_size in prop::array::uniform3(1i64..7),
            channels in 1usize..3, value_bytes in prop::sample::select(vec![1usize, 2, 4, 8]), stored: bool,
            value in prop::sample::select(vec![[0; 8], [1, 2, 3, 4, 5, 6, 7, 8]]),
        ) {
            let (block, window) = (boxed(at, size), boxed(w_at, w_size));
            let region = |covers| Region { covers, channels, value_bytes };
            let bytes = |b: &VoxelBox| b.shape().iter().product::<u64>() as usize * channels * value_bytes;
            let values: Vec<u8> = (0..bytes(&block)).map(|i| (i % 251) as u8).collect();
            let mut out = vec![255; bytes(&window)];
            let fill_value = FillValue::from_le_bytes(&value[..value_bytes]).unwrap();
            match stored {
                false => fill(fill_value, &block, &mut out, &region(&window)),
                true => {
                    let copied: Result<(), Infallible> =
                        copy(&values, &region(&block), &mut out, &region(&window), |from, to| {
                            to.copy_from_slice(from);
                            Ok(())
                        });
                    let Ok(()) = copied;
                }
            }
            let mut i = 0;
            for c in 0..channels {
                for z in window.start[2]..window.end[2] {
                    for y in window.start[1]..window.end[1] {
                        for x in window.start[0]..window.end[0] {
                            let v = [x, y, z];
                            let inside = (0..3).all(|d| block.start[d] <= v[d] && v[d] < block.end[d]);
                            let [nx, ny, nz] = size;
                            let from = ((c as i64 * nz + z - at[2]) * ny + y - at[1]) * nx + x - at[0];
                            for byte in 0..value_bytes {
                                let expected = match (inside, stored) {
                                    (false, _) => 255,
                                    (true, false) => value[byte],
                                    (true, true) => values[from as usize * value_bytes + byte],
                                };
                                prop_assert_eq!(out[i], expected);
                                i += 1;
                            }
                        }
                    }
                }
            }
        }
    }
}
