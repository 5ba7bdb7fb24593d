//! Maps the voxels of a cropped, mirrored and rotated window to the stored voxels, in one step.

/// A window of a sample, mirrored and rotated. Its voxel (z, y, x) is the stored voxel
/// `start + z * steps[0] + y * steps[1] + x * steps[2]` of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VoxelMap {
    start: usize,
    steps: [isize; 3],
    /// Voxels z, y, x of the window.
    shape: [usize; 3],
    /// Stored voxels of a channel.
    channel: usize,
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
        }
    }

    /// The window of `shape` that starts at voxel `first`. It must be inside.
    pub fn crop(mut self, first: [usize; 3], shape: [usize; 3]) -> Self {
        for (axis, first) in first.into_iter().enumerate() {
            debug_assert!(first + shape[axis] <= self.shape[axis]);
            self.advance(axis, first);
        }
        Self { shape, ..self }
    }

    /// Mirrored along an axis, 0 to 2 for z, y, x.
    pub fn flip(mut self, axis: usize) -> Self {
        self.advance(axis, self.shape[axis] - 1);
        self.steps[axis] = -self.steps[axis];
        self
    }

    /// With x and y swapped.
    pub fn transpose_xy(mut self) -> Self {
        self.steps.swap(1, 2);
        self.shape.swap(1, 2);
        self
    }

    /// Rotated about z by that many quarter turns.
    pub fn rotate_xy(self, quarters: u32) -> Self {
        (0..quarters % 4).fold(self, |map, _| map.transpose_xy().flip(2))
    }

    /// Whether this is the whole sample, unchanged.
    pub fn is_whole(&self) -> bool {
        let [shape, [_, _, step]] = self.runs();
        self.start == 0 && step == 1 && shape == [1, 1, self.channel as isize]
    }

    /// Copies the window out of `values`, channel by channel.
    pub fn copy(&self, values: &[u8], out: &mut [u8]) {
        let [_, [_, _, sx]] = self.runs();
        if sx != 1 {
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

    /// Copies the window out of `values`, channel by channel, and converts each value.
    pub fn gather<T: Copy, O>(&self, values: &[T], out: &mut [O], convert: impl Fn(T) -> O + Copy) {
        let [z, y, x] = self.shape;
        let stored = values.chunks_exact(self.channel);
        for (stored, out) in stored.zip(out.chunks_exact_mut(z * y * x)) {
            self.gather_channel(stored, out, convert);
        }
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

#[cfg(test)]
mod tests {
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

    proptest! {
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
