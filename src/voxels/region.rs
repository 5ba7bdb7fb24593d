//! Copying and converting the voxels that a block and a window share, row by row.

use crate::data_type::Scalar;
use crate::geometry::VoxelBox;

/// A C-order array `[channel, z, y, x]` that covers a box of voxels.
#[derive(Clone, Copy)]
pub(crate) struct Region<'b> {
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

    /// The first channel's value at a voxel of the box.
    pub fn value(&self, values: &[u8], [x, y, z]: [i64; 3]) -> Option<Scalar> {
        let at = self.row(0, z, y, x);
        Scalar::from_le_bytes(&values[at..at + self.value_bytes])
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

/// Copies the voxels that `block` and `window` share from `values` to `out`. Both are arrays as described by
/// [`Region`], with values of the same size.
pub(crate) fn copy(values: &[u8], block: &Region<'_>, out: &mut [u8], window: &Region<'_>) {
    for_planes(block, window, |rows| {
        let (values, out) = (&values[rows.from..], &mut out[rows.to..]);
        match rows.from_bytes {
            0..4 => rows.each(values, out, |from, to| to.copy_from_slice(from)),
            4..8 => rows.each(values, out, copy_ends::<4>),
            8..16 => rows.each(values, out, copy_ends::<8>),
            16..32 => rows.each(values, out, copy_ends::<16>),
            32..64 => rows.each(values, out, copy_ends::<32>),
            64..=128 => rows.each(values, out, copy_ends::<64>),
            _ => rows.each(values, out, |from, to| to.copy_from_slice(from)),
        }
    });
}

/// Copies a row of `N` to `2 * N` bytes: the first `N`, then the last `N`, which may overlap. Windows have short rows: a call
/// of `memcpy` for each, which tests the length first, takes three times as long.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else {
        return to.copy_from_slice(from);
    };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
}

/// Converts the voxels that `block` and `window` share from `values` to `out`. Calls `row` with each row of values, and with
/// the values to write. `values` and `out` are arrays as described by [`Region`].
pub(crate) fn convert<E>(
    values: &[u8],
    block: &Region<'_>,
    out: &mut [u8],
    window: &Region<'_>,
    mut row: impl FnMut(&[u8], &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut result = Ok(());
    for_planes(block, window, |rows| {
        let (values, out) = (&values[rows.from..], &mut out[rows.to..]);
        rows.each(values, out, |from, to| {
            if result.is_ok() {
                result = row(from, to);
            }
        });
    });
    result
}

/// The rows along x of one plane that a block and a window share, in bytes.
struct Rows {
    count: usize,
    /// Byte at which the first one begins in the block's array.
    from: usize,
    /// Byte at which the first one begins in the window's array.
    to: usize,
    /// Bytes of a row.
    from_bytes: usize,
    to_bytes: usize,
    /// Bytes from one row to the next.
    from_step: usize,
    to_step: usize,
}

impl Rows {
    /// Calls `row` for each of the rows; `values` and `out` begin with the first one.
    #[inline(always)]
    fn each(&self, values: &[u8], out: &mut [u8], mut row: impl FnMut(&[u8], &mut [u8])) {
        let from = values.chunks(self.from_step);
        for (from, to) in from.zip(out.chunks_mut(self.to_step)).take(self.count) {
            row(&from[..self.from_bytes], &mut to[..self.to_bytes]);
        }
    }
}

/// Calls `plane` for each plane of voxels that `block` and `window` share.
fn for_planes(block: &Region<'_>, window: &Region<'_>, mut plane: impl FnMut(Rows)) {
    let Some(common) = block.covers.intersection(window.covers) else {
        return;
    };
    let [nx, ny, _] = common.shape().map(|n| n as usize);
    let [x, y, _] = common.start;
    for (channel, z) in planes(&common, window.channels) {
        plane(Rows {
            count: ny,
            from: block.row(channel, z, y, x),
            to: window.row(channel, z, y, x),
            from_bytes: nx * block.value_bytes,
            to_bytes: nx * window.value_bytes,
            from_step: block.row_bytes(),
            to_step: window.row_bytes(),
        });
    }
}

/// Fills the voxels of `out` that are in `covers`.
pub(crate) fn fill(fill_value: Scalar, covers: &VoxelBox, out: &mut [u8], window: &Region<'_>) {
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

/// Fills the voxels of `out.covers` that are not in `kept`.
pub(crate) fn fill_around(
    fill_value: Scalar,
    kept: &VoxelBox,
    buffer: &mut [u8],
    out: &Region<'_>,
) {
    for d in 0..3 {
        let (mut below, mut above) = (*out.covers, *out.covers);
        below.end[d] = kept.start[d].clamp(below.start[d], below.end[d]);
        above.start[d] = kept.end[d].clamp(above.start[d], above.end[d]);
        for slab in [below, above] {
            if slab.start[d] < slab.end[d] {
                fill(fill_value, &slab, buffer, out);
            }
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
    use std::ops::Range;

    use proptest::prelude::*;

    fn boxed(start: [i64; 3], size: [i64; 3]) -> VoxelBox {
        VoxelBox {
            start,
            end: std::array::from_fn(|d| start[d] + size[d]),
        }
    }

    /// Along x also from `long`, so that rows of every length occur; else from `short`.
    fn lengths(short: Range<i64>, long: Range<i64>) -> impl Strategy<Value = [i64; 3]> {
        let short_or_long = prop_oneof![short.clone(), long];
        (short_or_long, short.clone(), short).prop_map(|(x, y, z)| [x, y, z])
    }

    proptest! {
        #[test]
        fn a_copy_writes_each_shared_voxel_and_no_other(
            at in lengths(-6..6, -100..100), size in lengths(1..7, 1..300),
            w_at in lengths(-6..6, -100..100), w_size in lengths(1..7, 1..300),
            channels in 1usize..3, value_bytes in prop::sample::select(vec![1usize, 2, 4, 8]), stored: bool, convert: bool,
            value in prop::sample::select(vec![[0; 8], [1, 2, 3, 4, 5, 6, 7, 8]]),
        ) {
            let (block, window) = (boxed(at, size), boxed(w_at, w_size));
            let region = |covers| Region { covers, channels, value_bytes };
            let bytes = |b: &VoxelBox| b.shape().iter().product::<u64>() as usize * channels * value_bytes;
            let values: Vec<u8> = (0..bytes(&block)).map(|i| (i % 251) as u8).collect();
            let mut out = vec![255; bytes(&window)];
            let fill_value = Scalar::from_le_bytes(&value[..value_bytes]).unwrap();
            match stored {
                false => fill(fill_value, &block, &mut out, &region(&window)),
                true if convert => {
                    let copied: Result<(), Infallible> =
                        super::convert(&values, &region(&block), &mut out, &region(&window), |from, to| {
                            to.copy_from_slice(from);
                            Ok(())
                        });
                    let Ok(()) = copied;
                }
                true => copy(&values, &region(&block), &mut out, &region(&window)),
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
