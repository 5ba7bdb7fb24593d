//! Where each voxel of what is delivered lies in what is stored: a crop, mirrored and turned, is one mapping.

/// A window of a sample, mirrored and turned: its voxel (z, y, x) is the stored voxel
/// `start + z * steps[0] + y * steps[1] + x * steps[2]` of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    start: usize,
    steps: [isize; 3],
    /// Voxels z, y, x of the window.
    shape: [usize; 3],
    /// Stored voxels of a channel.
    channel: usize,
}

impl View {
    /// All of a sample of `shape`, z, y, x, as it is stored.
    pub fn whole(shape: [usize; 3]) -> Self {
        let [z, y, x] = shape;
        Self {
            start: 0,
            steps: [(y * x) as isize, x as isize, 1],
            shape,
            channel: z * y * x,
        }
    }

    /// The window of `shape` that begins at voxel `first`; it must lie inside.
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

    /// With x and y exchanged.
    pub fn transpose_xy(mut self) -> Self {
        self.steps.swap(1, 2);
        self.shape.swap(1, 2);
        self
    }

    /// Turned about z by that many quarters.
    pub fn rotate_xy(self, quarters: u32) -> Self {
        (0..quarters % 4).fold(self, |view, _| view.transpose_xy().flip(2))
    }

    /// Whether every voxel is delivered where it is stored.
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

    /// Copies the window out of `values`, channel by channel, each value made what `convert` makes of it.
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
        // The step is told apart outside of the loops, so that each is as fast as it can be.
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

    /// Calls `fill` with the place of each row's first voxel in what is stored, and with the row.
    fn each_row<O>(&self, out: &mut [O], mut fill: impl FnMut(usize, &mut [O])) {
        let [[nz, ny, nx], [sz, sy, _]] = self.runs();
        let mut rows = out.chunks_exact_mut(nx as usize);
        for z in 0..nz {
            for (y, row) in (0..ny).zip(&mut rows) {
                fill((self.start as isize + z * sz + y * sy) as usize, row);
            }
        }
    }

    /// Shape and steps, with rows that follow one another in both made one.
    fn runs(&self) -> [[isize; 3]; 2] {
        let [nz, ny, nx] = self.shape.map(|n| n as isize);
        let [sz, sy, sx] = self.steps;
        match sy == nx * sx {
            true if sz == ny * sy => [[1, 1, nz * ny * nx], [sz, sy, sx]],
            true => [[nz, 1, ny * nx], [sz, sy, sx]],
            false => [[nz, ny, nx], [sz, sy, sx]],
        }
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

    /// What `view` shows of a sample of `shape` whose values are their own places.
    fn places(view: View, shape: [usize; 3], out: [usize; 3]) -> Vec<usize> {
        let values: Vec<usize> = (0..shape.iter().product()).collect();
        let mut found = vec![usize::MAX; out.iter().product()];
        view.gather(&values, &mut found, |v| v);
        let bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
        let mut copied = vec![0; found.len()];
        view.copy(&bytes, &mut copied);
        assert!(copied.iter().zip(&found).all(|(c, f)| *c == *f as u8));
        assert_eq!(view.is_whole(), found == values);
        found
    }

    #[test]
    fn a_quarter_turn_takes_the_first_row_to_the_last_column() {
        let view = View::whole([1, 2, 3]).rotate_xy(1);
        assert_eq!(places(view, [1, 2, 3], [1, 3, 2]), [3, 0, 4, 1, 5, 2]);
        let turned = View::whole([1, 2, 3]).rotate_xy(4);
        assert_eq!(turned, View::whole([1, 2, 3]));
    }

    #[test]
    fn channels_are_turned_alike() {
        let mut out = [0; 4];
        View::whole([1, 1, 2])
            .flip(2)
            .gather(&[1, 2, 3, 4], &mut out, |v| v);
        assert_eq!(out, [2, 1, 4, 3]);
    }

    proptest! {
        #[test]
        fn every_voxel_comes_from_where_the_steps_one_by_one_say(
            axes in prop::array::uniform3((1usize..7, 0usize..4, 0usize..4)),
            flips: [bool; 3], transpose: bool, quarters in 0u32..5,
        ) {
            let window = axes.map(|(n, _, _)| n);
            let first = axes.map(|(_, before, _)| before);
            let shape = axes.map(|(n, before, after)| n + before + after);
            let mut view = View::whole(shape).crop(first, window);
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
                    view = view.flip(axis);
                    array.invert_axis(ndarray::Axis(axis));
                }
            }
            if transpose {
                view = view.transpose_xy();
                array.swap_axes(1, 2);
            }
            view = view.rotate_xy(quarters);
            for _ in 0..quarters {
                array.swap_axes(1, 2);
                array.invert_axis(ndarray::Axis(2));
            }
            let out = array.dim();
            let expected: Vec<usize> = array.iter().copied().collect();
            prop_assert_eq!(places(view, shape, [out.0, out.1, out.2]), expected);
        }
    }
}
