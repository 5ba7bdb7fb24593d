//! Maps the voxels of a cropped, mirrored, rotated and warped window to the stored voxels, in one step.

use super::warp::Warp;

/// A window of a sample, mirrored and rotated. Its voxel (z, y, x) is the stored voxel
/// `start + z * steps[0] + y * steps[1] + x * steps[2]` of a channel, unless it is warped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct VoxelMap {
    start: usize,
    steps: [isize; 3],
    /// Voxels z, y, x of the window.
    shape: [usize; 3],
    /// Stored voxels of a channel.
    channel: usize,
    /// Stored voxels before and after the window, z, y, x.
    margins: [[usize; 2]; 3],
    /// Where voxels of the window come from, if not from their own place.
    warp: Option<Warp>,
}

impl VoxelMap {
    /// The whole sample of `shape`, z, y, x, as it is stored.
    pub fn whole(shape: [usize; 3]) -> Self {
        let [z, y, x] = shape;
        Self {
            start: 0,
            steps: [(y * x) as isize, x as isize, 1],
            shape,
            channel: z * y * x,
            margins: [[0, 0]; 3],
            warp: None,
        }
    }

    /// The window of `shape` that starts at voxel `first`. It must be inside.
    pub fn crop(mut self, first: [usize; 3], shape: [usize; 3]) -> Self {
        for (axis, first) in first.into_iter().enumerate() {
            debug_assert!(first + shape[axis] <= self.shape[axis]);
            self.advance(axis, first);
            let [before, after] = &mut self.margins[axis];
            *before += first;
            *after += self.shape[axis] - shape[axis] - first;
        }
        Self { shape, ..self }
    }

    /// Mirrored along an axis, 0 to 2 for z, y, x.
    pub fn flip(mut self, axis: usize) -> Self {
        self.advance(axis, self.shape[axis] - 1);
        self.steps[axis] = -self.steps[axis];
        self.margins[axis].reverse();
        self
    }

    /// With x and y swapped.
    pub fn transpose_xy(mut self) -> Self {
        self.steps.swap(1, 2);
        self.shape.swap(1, 2);
        self.margins.swap(1, 2);
        self
    }

    /// Rotated about z by that many quarter turns.
    pub fn rotate_xy(self, quarters: u32) -> Self {
        (0..quarters % 4).fold(self, |map, _| map.transpose_xy().flip(2))
    }

    /// Warped, as the last step.
    pub fn warp(self, warp: Option<Warp>) -> Self {
        Self { warp, ..self }
    }

    /// Whether this is the whole sample, unchanged.
    pub fn is_whole(&self) -> bool {
        let [shape, [_, _, step]] = self.runs();
        let is_unmoved = self.start == 0 && step == 1 && self.warp.is_none();
        is_unmoved && shape == [1, 1, self.channel as isize]
    }

    /// Copies the bytes of an image, channel by channel: the same as [`interpolate`](Self::interpolate), rounded.
    pub fn copy(&self, values: &[u8], out: &mut [u8]) {
        if let Some(warp) = self.rotation() {
            // The mean of bytes that are not 0 is at least 1.
            return self.interpolate_warped(warp, values, out, f32::from, |v| (v + 0.5) as u8);
        }
        let [_, [_, _, sx]] = self.runs();
        if sx != 1 || self.warp.is_some() {
            return self.gather(values, out, |v| v);
        }
        let [z, y, x] = self.shape;
        let stored = values.chunks_exact(self.channel);
        for (stored, out) in stored.zip(out.chunks_exact_mut(z * y * x)) {
            self.each_row(out, |first, row| {
                row.copy_from_slice(&stored[first..][..row.len()])
            });
        }
    }

    /// Copies the window out of `values`, channel by channel, and converts each value. A warped window has the values of the
    /// nearest voxels, and 0 outside of the sample.
    pub fn gather<T: Copy, O: Copy + Default>(
        &self,
        values: &[T],
        out: &mut [O],
        convert: impl Fn(T) -> O + Copy,
    ) {
        let [z, y, x] = self.shape;
        let stored = values.chunks_exact(self.channel);
        for (stored, out) in stored.zip(out.chunks_exact_mut(z * y * x)) {
            match &self.warp {
                None => self.gather_channel(stored, out, convert),
                Some(warp) => warp.each_voxel(self.shape, out, |out, z, source| {
                    let index = self.stored(z, nearest(source));
                    *out = index.map_or_else(O::default, |i| convert(stored[i]));
                }),
            }
        }
    }

    /// The same as [`gather`](Self::gather) for the values of an image, which are interpolated linearly if the window is
    /// rotated by any angle. Voxels without data (0) don't count, so that 0 is where the nearest voxel is 0.
    pub fn interpolate<T: Copy>(
        &self,
        values: &[T],
        out: &mut [f32],
        convert: impl Fn(T) -> f32 + Copy,
    ) {
        match self.rotation() {
            None => self.gather(values, out, convert),
            Some(warp) => self.interpolate_warped(warp, values, out, convert, |v| v),
        }
    }

    /// Sets the voxels of the window that come from inside of the sample to `one`, all others to 0.
    pub fn mark_inside<O: Copy + Default>(&self, out: &mut [O], one: O) {
        match &self.warp {
            None => out.fill(one),
            Some(warp) => warp.each_voxel(self.shape, out, |out, z, source| {
                let is_inside = self.stored(z, nearest(source)).is_some();
                *out = if is_inside { one } else { O::default() };
            }),
        }
    }

    /// The warp, if it rotates.
    fn rotation(&self) -> Option<&Warp> {
        self.warp.as_ref().filter(|warp| warp.is_rotated())
    }

    fn interpolate_warped<T: Copy, O: Copy>(
        &self,
        warp: &Warp,
        values: &[T],
        out: &mut [O],
        convert: impl Fn(T) -> f32,
        round: impl Fn(f32) -> O,
    ) {
        let [z, y, x] = self.shape;
        let stored = values.chunks_exact(self.channel);
        for (stored, out) in stored.zip(out.chunks_exact_mut(z * y * x)) {
            let value = |z, position| self.stored(z, position).map(|i| convert(stored[i]));
            warp.each_voxel(self.shape, out, |out, z, source| {
                *out = round(linear(source, |position| value(z, position).unwrap_or(0.0)));
            });
        }
    }

    /// Index of the stored voxel at a position of the window, or around it; `None` outside of the sample.
    fn stored(&self, z: usize, [y, x]: [isize; 2]) -> Option<usize> {
        let is_inside = |axis: usize, at: isize| {
            let [before, after] = self.margins[axis];
            (-(before as isize)..(self.shape[axis] + after) as isize).contains(&at)
        };
        let [sz, sy, sx] = self.steps;
        (is_inside(1, y) && is_inside(2, x))
            .then(|| (self.start as isize + z as isize * sz + y * sy + x * sx) as usize)
    }

    fn gather_channel<T: Copy, O>(
        &self,
        values: &[T],
        out: &mut [O],
        convert: impl Fn(T) -> O + Copy,
    ) {
        let [_, [_, _, sx]] = self.runs();
        let put = |(out, value): (&mut O, &T)| *out = convert(*value);
        // Match on the step outside the loops, so that the compiler can vectorize each of them.
        match sx {
            1 => self.each_row(out, |first, row| {
                row.iter_mut().zip(&values[first..]).for_each(put);
            }),
            -1 => self.each_row(out, |first, row| {
                let values = values[..=first].iter().rev();
                row.iter_mut().zip(values).for_each(put);
            }),
            2.. => self.each_row(out, |first, row| {
                let values = values[first..].iter().step_by(sx as usize);
                row.iter_mut().zip(values).for_each(put);
            }),
            _ => self.each_row(out, |first, row| {
                let values = values[..=first].iter().rev().step_by(-sx as usize);
                row.iter_mut().zip(values).for_each(put);
            }),
        }
    }

    /// Calls `fill` with the index of each row's first stored voxel, and with the row.
    fn each_row<O>(&self, out: &mut [O], mut fill: impl FnMut(usize, &mut [O])) {
        let [[nz, ny, nx], [sz, sy, _]] = self.runs();
        let mut rows = out.chunks_exact_mut(nx as usize);
        for z in 0..nz {
            for (y, row) in (0..ny).zip(&mut rows) {
                fill((self.start as isize + z * sz + y * sy) as usize, row);
            }
        }
    }

    /// Shape and steps, with rows merged that are adjacent in both the window and the sample.
    fn runs(&self) -> [[isize; 3]; 2] {
        let [nz, ny, nx] = self.shape.map(|n| n as isize);
        let [sz, sy, sx] = self.steps;
        let shape = if sy != nx * sx {
            [nz, ny, nx]
        } else if sz != ny * sy {
            [nz, 1, ny * nx]
        } else {
            [1, 1, nz * ny * nx]
        };
        [shape, [sz, sy, sx]]
    }

    fn advance(&mut self, axis: usize, voxels: usize) {
        self.start = self
            .start
            .wrapping_add_signed(self.steps[axis] * voxels as isize);
    }
}

/// The voxel y, x that is nearest to a position.
fn nearest(position: [f32; 2]) -> [isize; 2] {
    position.map(|at| (at + 0.5).floor() as isize)
}

/// The mean of the values of the four voxels around a position, weighted by its distances from them. Values of 0 don't count;
/// it is 0 if the nearest one is.
fn linear(position: [f32; 2], value: impl Fn([isize; 2]) -> f32) -> f32 {
    if value(nearest(position)) == 0.0 {
        return 0.0;
    }
    let [y, x] = position.map(|at| at.floor() as isize);
    let [after_y, after_x] = position.map(|at| at - at.floor());
    let (mut sum, mut weights) = (0.0, 0.0);
    for (y, weight_y) in [(y, 1.0 - after_y), (y + 1, after_y)] {
        for (x, weight_x) in [(x, 1.0 - after_x), (x + 1, after_x)] {
            let weight = weight_y * weight_x;
            // A weight of 0 must not read a value that is not finite.
            let value = if weight > 0.0 { value([y, x]) } else { 0.0 };
            if value != 0.0 {
                sum += weight * value;
                weights += weight;
            }
        }
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use super::super::warp::tests::{turned, warp};
    use super::*;
    use proptest::prelude::*;

    /// Applies `map` to a sample of `shape` in which each value is its own index.
    fn indices(map: VoxelMap, shape: [usize; 3], out: [usize; 3]) -> Vec<usize> {
        let values: Vec<usize> = (0..shape.iter().product()).collect();
        let mut found = vec![usize::MAX; out.iter().product()];
        map.gather(&values, &mut found, |v| v);
        let bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
        let mut copied = vec![0; found.len()];
        map.copy(&bytes, &mut copied);
        assert!(copied.iter().zip(&found).all(|(c, f)| *c == *f as u8));
        assert_eq!(map.is_whole(), found == values);
        found
    }

    #[test]
    fn a_quarter_turn_moves_the_first_row_to_the_last_column() {
        let map = VoxelMap::whole([1, 2, 3]).rotate_xy(1);
        assert_eq!(indices(map, [1, 2, 3], [1, 3, 2]), [3, 0, 4, 1, 5, 2]);
        let rotated = VoxelMap::whole([1, 2, 3]).rotate_xy(4);
        assert_eq!(rotated, VoxelMap::whole([1, 2, 3]));
    }

    #[test]
    fn all_channels_are_mapped_in_the_same_way() {
        let mut out = [0; 4];
        VoxelMap::whole([1, 1, 2])
            .flip(2)
            .gather(&[1, 2, 3, 4], &mut out, |v| v);
        assert_eq!(out, [2, 1, 4, 3]);
    }

    #[test]
    fn linear_interpolation_weights_voxels_with_data_by_distance() {
        let values = [[0.0, 2.0], [4.0, 8.0]];
        let at = |y: f32, x: f32| {
            linear([y, x], |[y, x]| {
                let row = usize::try_from(y).ok().and_then(|y| values.get(y));
                let value = row.and_then(|row: &[f32; 2]| row.get(usize::try_from(x).ok()?));
                value.copied().unwrap_or(0.0)
            })
        };
        assert_eq!([at(0.0, 0.0), at(0.0, 1.0), at(1.0, 1.0)], [0.0, 2.0, 8.0]);
        assert_eq!([at(1.0, 0.25), at(0.25, 1.0)], [5.0, 3.5]);
        // The nearest voxel has no data.
        assert_eq!([at(0.25, 0.25), at(1.75, 1.0), at(0.0, -0.5)], [0.0; 3]);
        // Voxels without data don't count.
        assert_eq!([at(0.0, 0.75), at(1.25, 1.0)], [2.0, 8.0]);
        assert_eq!(
            at(0.5, 0.75),
            (0.375 * 2.0 + 0.125 * 4.0 + 0.375 * 8.0) / 0.875
        );
    }

    #[test]
    fn rotated_bytes_are_rounded_and_0_where_the_nearest_byte_is() {
        let values: Vec<u8> = (0..=255).map(|v: u8| v.wrapping_mul(37) % 5).collect();
        let map = VoxelMap::whole([1, 16, 16]).warp(Some(turned(30.0)));
        let (mut bytes, mut nearest, mut floats) = ([9; 256], [9; 256], [9.0; 256]);
        map.copy(&values, &mut bytes);
        map.gather(&values, &mut nearest, |v| v);
        map.interpolate(&values, &mut floats, f32::from);
        for ((byte, nearest), float) in bytes.iter().zip(nearest).zip(floats) {
            assert_eq!(f32::from(*byte), (float + 0.5).floor());
            assert_eq!((*byte == 0, float == 0.0), (nearest == 0, nearest == 0));
        }
        assert_ne!(bytes, nearest);
    }

    proptest! {
        #[test]
        fn a_warp_by_quarter_turns_and_whole_voxels_equals_each_step_done_naively(
            n in 1usize..6, sections in 1usize..4, margins in prop::array::uniform4(0usize..3),
            quarters in 0u32..4, turns in 0u32..4, flip: bool, first in 0usize..4, dy in -5isize..6, dx in -5isize..6,
        ) {
            let [top, bottom, left, right] = margins;
            let shape = [sections, n + top + bottom, n + left + right];
            let values: Vec<f32> = (1..=shape.iter().product()).map(|v: usize| v as f32).collect();
            // The sample with a wide margin of zeros is cropped so that the rotated margin is all there.
            let pad = 16;
            let mut padded = ndarray::Array3::<f32>::zeros([sections, n + 2 * pad, n + 2 * pad]);
            for z in 0..sections {
                for y in 0..shape[1] {
                    for x in 0..shape[2] {
                        padded[[z, pad + y - top, pad + x - left]] = values[(z * shape[1] + y) * shape[2] + x];
                    }
                }
            }
            let mut map = VoxelMap::whole(shape).crop([0, top, left], [sections, n, n]);
            if flip {
                map = map.flip(1);
                padded.invert_axis(ndarray::Axis(1));
            }
            map = map.rotate_xy(turns).warp(Some(warp(quarters, first, [dy, dx])));
            // A warp turns in the opposite direction of `rotate_xy`.
            for _ in 0..(turns + 3 * quarters) % 4 {
                padded.swap_axes(1, 2);
                padded.invert_axis(ndarray::Axis(2));
            }
            let size = sections * n * n;
            let (mut found, mut interpolated, mut inside) = (vec![9.0; size], vec![9.0; size], vec![9u8; size]);
            map.gather(&values, &mut found, |v| v);
            map.interpolate(&values, &mut interpolated, |v| v);
            map.mark_inside(&mut inside, 1);
            for (i, value) in found.iter().enumerate() {
                let (z, y, x) = (i / (n * n), i / n % n, i % n);
                let [dy, dx] = if z >= first { [dy, dx] } else { [0, 0] };
                let at = |i: usize, d: isize| (pad + i).wrapping_add_signed(-d);
                prop_assert_eq!(*value, padded[[z, at(y, dy), at(x, dx)]]);
                prop_assert_eq!(inside[i], u8::from(*value != 0.0));
            }
            prop_assert_eq!(found, interpolated);
            prop_assert!(!map.is_whole());
        }

        #[test]
        fn a_chain_of_steps_equals_each_step_in_ndarray(
            axes in prop::array::uniform3((1usize..7, 0usize..4, 0usize..4)),
            flips: [bool; 3], transpose: bool, quarters in 0u32..5,
        ) {
            let window = axes.map(|(n, _, _)| n);
            let first = axes.map(|(_, before, _)| before);
            let shape = axes.map(|(n, before, after)| n + before + after);
            let mut map = VoxelMap::whole(shape).crop(first, window);
            let at = |p: [usize; 3]| (p[0] * shape[1] + p[1]) * shape[2] + p[2];
            let mut naive = Vec::new();
            for z in 0..window[0] {
                for y in 0..window[1] {
                    for x in 0..window[2] {
                        naive.push(at([z + first[0], y + first[1], x + first[2]]));
                    }
                }
            }
            let mut array = ndarray::Array3::from_shape_vec(window, naive).unwrap();
            for (axis, flip) in flips.into_iter().enumerate() {
                if flip {
                    map = map.flip(axis);
                    array.invert_axis(ndarray::Axis(axis));
                }
            }
            if transpose {
                map = map.transpose_xy();
                array.swap_axes(1, 2);
            }
            map = map.rotate_xy(quarters);
            for _ in 0..quarters {
                array.swap_axes(1, 2);
                array.invert_axis(ndarray::Axis(2));
            }
            let out = array.dim();
            let expected: Vec<usize> = array.iter().copied().collect();
            prop_assert_eq!(indices(map, shape, [out.0, out.1, out.2]), expected);
        }
    }
}
