//! Windows at one resolution out of voxels at another.
//!
//! Voxel `i` at resolution `r` covers `[i * r, (i + 1) * r)` nm along each axis, in both grids. What a voxel of the
//! window is made of is a product of what it is made of along x, y and z. Voxels outside of the volume are left out,
//! and the others' weights make up for them; a voxel of the window with none inside has no support.
//!
//! - nearest: the voxel of the data that holds the centre; between two, the lower one, so that half the resolution is
//!   every second voxel.
//! - area: the mean of what the voxel covers, by volume.
//! - linear: between the two centres of the data's voxels around the centre, along each axis.
//!
//! Means of whole numbers are rounded half to even.

mod axis;
mod ratio;
#[cfg(test)]
mod tests;

use std::ops::{AddAssign, Mul, Range};

use super::cast::Cast;
use crate::config::Interpolation;
use crate::data_type::{DataType, with_type};
use crate::geometry::{AXES, Resolution, VoxelBox, Window};
use axis::Axis;
use ratio::Ratio;

/// How the windows of an array are made of a layer at another resolution.
#[derive(Clone, Debug)]
pub(crate) struct Resample {
    ratios: [Ratio; 3],
    interpolation: Interpolation,
    data_type: DataType,
}

/// One window, and the voxels that it is made of.
#[derive(Clone, Debug)]
pub(crate) struct ResampledWindow {
    interpolation: Interpolation,
    data_type: DataType,
    /// Of the window, in voxels x, y, z.
    shape: [usize; 3],
    axes: [Axis; 3],
}

impl Resample {
    /// How voxels of `data_resolution` become voxels of `resolution`, both of type `data_type`.
    ///
    /// # Errors
    /// What was found and expected: for means of 64-bit whole numbers, which are labels, and for resolutions that are
    /// worlds apart.
    pub fn new(
        resolution: Resolution,
        data_resolution: Resolution,
        interpolation: Interpolation,
        data_type: DataType,
    ) -> Result<Self, String> {
        let whole = !data_type.is_float();
        if whole && data_type.size_bytes() == 8 && interpolation != Interpolation::Nearest {
            return Err(format!(
                "means of {data_type} values are not exact, and mean nothing for labels: expected `nearest`, or a layer of another type"
            ));
        }
        let mut ratios = [Ratio { voxels: 1, per: 1 }; 3];
        for (d, ratio) in ratios.iter_mut().enumerate() {
            let (nm, data_nm) = (resolution.nm()[d], data_resolution.nm()[d]);
            *ratio = Ratio::new(nm, data_nm).ok_or_else(|| {
                format!(
                    "found voxels of {data_nm} nm along {} for windows of {nm} nm, expected a factor of at most {} between them",
                    AXES[d],
                    Ratio::MAX
                )
            })?;
        }
        Ok(Self {
            ratios,
            interpolation,
            data_type,
        })
    }

    /// Whether windows are made of the voxels as they are.
    pub fn is_identity(&self) -> bool {
        self.ratios.iter().all(Ratio::is_one)
    }

    /// Most voxels that a window of this size is made of.
    pub fn source_voxels(&self, window: &Window) -> u64 {
        let along = |d: usize| {
            let (ratio, n) = (self.ratios[d], i128::from(window.voxels()[d]));
            // One more at either end, and for the neighbours of centres.
            (n * ratio.voxels / ratio.per) as u64 + 3
        };
        along(0) * along(1) * along(2)
    }

    /// How to make `window`, a box at the window's resolution, of those of the data's voxels that lie within
    /// `bounds`, the volume's at the data's resolution. `None` where no voxel of the window has any.
    pub fn window(&self, window: &VoxelBox, bounds: &VoxelBox) -> Option<ResampledWindow> {
        let axis = |d: usize| {
            Axis::new(
                window.start[d]..window.end[d],
                self.ratios[d],
                self.interpolation,
                bounds.start[d]..bounds.end[d],
            )
        };
        Some(ResampledWindow {
            interpolation: self.interpolation,
            data_type: self.data_type,
            shape: window.shape().map(|n| n as usize),
            axes: [axis(0)?, axis(1)?, axis(2)?],
        })
    }
}

impl ResampledWindow {
    /// The voxels that are needed, at the data's resolution; all of them lie within the volume.
    pub fn source_box(&self) -> VoxelBox {
        VoxelBox {
            start: std::array::from_fn(|d| self.axes[d].source.start),
            end: std::array::from_fn(|d| self.axes[d].source.end),
        }
    }

    /// The voxels that are made, counted from the window's start; others have no voxel within the volume.
    pub fn support(&self) -> VoxelBox {
        VoxelBox {
            start: std::array::from_fn(|d| self.axes[d].support.start as i64),
            end: std::array::from_fn(|d| self.axes[d].support.end as i64),
        }
    }

    /// Whether every voxel of the window is made.
    pub fn is_supported(&self) -> bool {
        (0..3).all(|d| self.axes[d].support == (0..self.shape[d]))
    }

    /// Makes the window. `source` and `out` are little-endian values in C order `[channel, z, y, x]` over
    /// [`ResampledWindow::source_box`] and over the window; voxels out of [`ResampledWindow::support`] are left as
    /// they are.
    pub fn apply(&self, channels: usize, source: &[u8], out: &mut [u8]) {
        match self.interpolation {
            Interpolation::Nearest => match self.data_type.size_bytes() {
                1 => self.take::<1>(channels, source, out),
                2 => self.take::<2>(channels, source, out),
                4 => self.take::<4>(channels, source, out),
                _ => self.take::<8>(channels, source, out),
            },
            Interpolation::Area | Interpolation::Linear => self.mean(channels, source, out),
        }
    }

    fn take<const N: usize>(&self, channels: usize, source: &[u8], out: &mut [u8]) {
        let ((source, _), (out, _)) = (source.as_chunks::<N>(), out.as_chunks_mut::<N>());
        let [x, y, z] = &self.axes;
        for row in self.rows(channels) {
            let from = self.source_row(&row, y.spans[row.y].first, z.spans[row.z].first);
            let from = &source[from];
            for (to, span) in out[row.out].iter_mut().zip(&x.spans) {
                *to = from[span.first];
            }
        }
    }

    fn mean(&self, channels: usize, source: &[u8], out: &mut [u8]) {
        let largest_total: f64 = self.axes.iter().map(Axis::largest_total).product();
        let largest_sum = largest_total * 2f64.powi(8 * self.data_type.size_bytes() as i32);
        // Sums of whole numbers that `f32` holds exactly, of which a vector has twice as many.
        let fits_f32 = !self.data_type.is_float() && largest_sum <= 2f64.powi(24);
        with_type!(self.data_type, T => {
            let from_mean = |mean: f64| {
                let (value, _): (T, bool) = mean.cast();
                value.to_le_bytes()
            };
            match fits_f32 {
                true => {
                    let value = |v| -> f32 { T::from_le_bytes(v).cast().0 };
                    self.mean_in(channels, source, out, value, |w| w as f32, from_mean);
                }
                false => {
                    let value = |v| -> f64 { T::from_le_bytes(v).cast().0 };
                    self.mean_in(channels, source, out, value, |w| w, from_mean);
                }
            }
        });
    }

    /// Adds up in numbers `A`: along y and z whole rows at a time, then along x.
    fn mean_in<const N: usize, A>(
        &self,
        channels: usize,
        source: &[u8],
        out: &mut [u8],
        value: impl Fn([u8; N]) -> A,
        weight: impl Fn(f64) -> A,
        from_mean: impl Fn(f64) -> [u8; N],
    ) where
        A: Copy + Default + Into<f64> + Mul<Output = A> + AddAssign,
    {
        let ((source, _), (out, _)) = (source.as_chunks::<N>(), out.as_chunks_mut::<N>());
        let [x, y, z] = &self.axes;
        let x_weights: Vec<A> = x.weights.iter().map(|w| weight(*w)).collect();
        let mut sums = vec![A::default(); (x.source.end - x.source.start) as usize];
        for row in self.rows(channels) {
            sums.fill(A::default());
            for (z_at, z_weight) in z.taps(row.z) {
                for (y_at, y_weight) in y.taps(row.y) {
                    let by = weight(y_weight * z_weight);
                    let from = &source[self.source_row(&row, y_at, z_at)];
                    for (sum, v) in sums.iter_mut().zip(from) {
                        *sum += value(*v) * by;
                    }
                }
            }
            let total = y.spans[row.y].total * z.spans[row.z].total;
            for (to, span) in out[row.out].iter_mut().zip(&x.spans) {
                let mut sum = A::default();
                let weights = &x_weights[span.weights.clone()];
                for (v, by) in sums[span.first..].iter().zip(weights) {
                    sum += *v * *by;
                }
                *to = from_mean(sum.into() / (total * span.total));
            }
        }
    }

    /// The rows of the window that have support.
    fn rows(&self, channels: usize) -> impl Iterator<Item = Row> {
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

    /// Where the source's values are of a row's channel at y and z, counted from the source's start.
    fn source_row(&self, row: &Row, y: usize, z: usize) -> Range<usize> {
        let [nx, ny, nz] = self
            .axes
            .each_ref()
            .map(|axis| (axis.source.end - axis.source.start) as usize);
        let begin = ((row.channel * nz + z) * ny + y) * nx;
        begin..begin + nx
    }
}

/// A row of the window along x.
struct Row {
    channel: usize,
    /// Which of the axis' spans the row is made of.
    y: usize,
    z: usize,
    /// Where its voxels with support are among the window's values.
    out: Range<usize>,
}
