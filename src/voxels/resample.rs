//! Resampling: windows at one resolution from voxels at another.
//!
//! Voxel `i` at resolution `r` covers `[i * r, (i + 1) * r)` nm along each axis, in both grids. The weights of a voxel of the
//! window are products of weights along x, y and z. Voxels outside of the volume are left out, and the weights of the others
//! are scaled up. A voxel of the window without any voxel inside has no support.
//!
//! - nearest: the voxel of the data that holds the centre; between two voxels, the lower one, so that half the resolution
//!   takes every second voxel.
//! - area: the mean of the covered voxels, by volume.
//! - linear: interpolated between the two nearest centres of the data's voxels, along each axis.
//! - any: 1 where any covered voxel, even if covered in part, is greater than 0.
//! - majority: the most frequent value of the covered voxels, see [`majority`].
//!
//! Means of integers are rounded half to even or truncated.

mod any;
mod axis;
mod majority;
mod mean;
mod nearest;
mod ratio;
mod stage;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::config::Interpolation;
use crate::data_type::{DataType, Scalar};
use crate::geometry::{AXES, Resolution, VoxelBox, WindowSize};
use axis::Cover;
pub(crate) use ratio::Ratio;
use stage::{Kernel, Stage, StageRule, Vote};

/// How the windows of an array are resampled from a layer at another resolution.
#[derive(Clone, Debug)]
pub(crate) struct Resampler {
    ratios: [Ratio; 3],
    data_type: DataType,
    /// From the data to the window. Only some majorities have more than one.
    rules: Vec<StageRule>,
}

/// How one window is resampled.
#[derive(Clone, Debug)]
pub(crate) struct WindowResampler {
    data_type: DataType,
    /// From the data. Each of the others starts from the result of the one before.
    first: Stage,
    others: Vec<Stage>,
}

impl Resampler {
    /// Resamples voxels of `data_resolution` to voxels of `resolution`, both of type `data_type`.
    ///
    /// # Errors
    /// What was found and expected, for means of 64-bit integers, which are labels, and for resolutions that differ by more
    /// than [`Ratio::MAX`].
    pub fn new(
        resolution: Resolution,
        data_resolution: Resolution,
        interpolation: Interpolation,
        data_type: DataType,
    ) -> Result<Self, String> {
        let is_mean = matches!(
            interpolation,
            Interpolation::Area(_) | Interpolation::Linear(_)
        );
        if is_mean && !data_type.is_float() && data_type.size_bytes() == 8 {
            return Err(format!(
                "means of {data_type} values are not exact and make no sense for labels: expected `nearest` or `majority`, or a layer of another type"
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
        let rule = |kernel, cover| {
            vec![StageRule {
                kernel,
                ratios,
                cover,
            }]
        };
        let rules = match interpolation {
            Interpolation::Nearest => rule(Kernel::Nearest, Cover::Nearest),
            Interpolation::Area(rounding) => rule(Kernel::Mean(rounding), Cover::Overlap),
            Interpolation::Linear(rounding) => rule(Kernel::Mean(rounding), Cover::Linear),
            Interpolation::Any => rule(Kernel::Any, Cover::Overlap),
            Interpolation::Majority => majority::steps(ratios),
        };
        Ok(Self {
            ratios,
            data_type,
            rules,
        })
    }

    /// Whether windows are equal to the voxels of the data.
    pub fn is_identity(&self) -> bool {
        self.ratios.iter().all(Ratio::is_one) && !self.uses(Kernel::Any)
    }

    /// The value of a voxel whose covered voxels all have this value.
    pub fn of_value(&self, value: Scalar) -> Scalar {
        if self.uses(Kernel::Any) {
            any::of_value(value, self.data_type)
        } else {
            value
        }
    }

    fn uses(&self, kernel: Kernel) -> bool {
        self.rules.iter().any(|rule| rule.kernel == kernel)
    }

    /// Most voxels that a window of this size is resampled from.
    pub fn source_voxels(&self, window: &WindowSize) -> u64 {
        let along = |d: usize| {
            let (ratio, n) = (self.ratios[d], i128::from(window.voxels()[d]));
            // One more at each end, and one for the neighbours of centres.
            (n * ratio.voxels / ratio.per) as u64 + 3
        };
        (0..3).map(along).fold(1, u64::saturating_mul)
    }

    /// Most bytes that resampling a window of this size takes, beside the window and the voxels that it is resampled from.
    pub fn working_bytes(&self, window: &WindowSize, channels: u32) -> u64 {
        let value_bytes = self.data_type.size_bytes() as u64;
        // The result of a step has at most a quarter of the voxels of its input; the results of two steps are held at once.
        let of_steps =
            || (self.source_voxels(window) / 2).saturating_mul(u64::from(channels) * value_bytes);
        // The value of each voxel, its weight, and its position among the others.
        let of_tally = || {
            let along = self.ratios.iter().map(|r| (r.voxels / r.per) as u64 + 2);
            along.fold(80, u64::saturating_mul)
        };
        match self.rules.as_slice() {
            [rule] if rule.kernel == Kernel::Majority(Vote::Volume) => of_tally(),
            [_] => 0,
            _ => of_steps(),
        }
    }

    /// How to resample `window`, a box at the window's resolution. `bounds` are those of the volume at the data's resolution.
    /// `None` where no voxel of the window has support.
    pub fn window(&self, window: &VoxelBox, bounds: &VoxelBox) -> Option<WindowResampler> {
        let made = self.rules.iter().scan(*bounds, |made, rule| {
            *made = rule.covered_box(made);
            Some(*made)
        });
        // The result of the last one is the window.
        let made = made.take(self.rules.len() - 1);
        let bounds_of_rules: Vec<_> = std::iter::once(*bounds).chain(made).collect();
        // The voxels that the last stage needs are those that the stage before it computes.
        let mut stages = Vec::with_capacity(self.rules.len());
        let mut wanted = *window;
        for (rule, bounds) in self.rules.iter().zip(&bounds_of_rules).rev() {
            let stage = rule.stage(&wanted, bounds)?;
            wanted = stage.source_box();
            stages.push(stage);
        }
        let first = stages.pop()?;
        stages.reverse();
        Some(WindowResampler {
            data_type: self.data_type,
            first,
            others: stages,
        })
    }
}

impl WindowResampler {
    /// The voxels that are needed, at the data's resolution; all of them are inside of the volume.
    pub fn source_box(&self) -> VoxelBox {
        self.first.source_box()
    }

    /// The voxels with support, counted from the window's start.
    pub fn support(&self) -> VoxelBox {
        self.last().support()
    }

    /// Whether every voxel of the window has support.
    pub fn is_supported(&self) -> bool {
        let Stage { shape, axes, .. } = self.last();
        (0..3).all(|d| axes[d].support == (0..shape[d]))
    }

    /// Resamples the window. `source` and `out` are little-endian values in C order `[channel, z, y, x]` over
    /// [`WindowResampler::source_box`] and over the window; voxels outside of [`WindowResampler::support`] do
    /// not change.
    pub fn apply(&self, channels: usize, source: &[u8], out: &mut [u8]) {
        let mut before: Option<Vec<u8>> = None;
        let mut stage = &self.first;
        for next in &self.others {
            let values = stage.shape.iter().product::<usize>() * channels;
            let mut made = vec![0; values * self.data_type.size_bytes()];
            let from = before.as_deref().unwrap_or(source);
            run_stage(stage, self.data_type, channels, from, &mut made);
            (before, stage) = (Some(made), next);
        }
        let from = before.as_deref().unwrap_or(source);
        run_stage(stage, self.data_type, channels, from, out);
    }

    fn last(&self) -> &Stage {
        self.others.last().unwrap_or(&self.first)
    }
}

/// Computes the voxels of a stage.
fn run_stage(stage: &Stage, data_type: DataType, channels: usize, source: &[u8], out: &mut [u8]) {
    match (stage.kernel, data_type.size_bytes()) {
        (Kernel::Mean(rounding), _) => mean::run(stage, rounding, data_type, channels, source, out),
        (Kernel::Any, _) => any::run(stage, data_type, channels, source, out),
        (Kernel::Nearest, 1) => nearest::run::<1>(stage, channels, source, out),
        (Kernel::Nearest, 2) => nearest::run::<2>(stage, channels, source, out),
        (Kernel::Nearest, 4) => nearest::run::<4>(stage, channels, source, out),
        (Kernel::Nearest, _) => nearest::run::<8>(stage, channels, source, out),
        (Kernel::Majority(vote), 1) => majority::run::<1>(stage, vote, channels, source, out),
        (Kernel::Majority(vote), 2) => majority::run::<2>(stage, vote, channels, source, out),
        (Kernel::Majority(vote), 4) => majority::run::<4>(stage, vote, channels, source, out),
        (Kernel::Majority(vote), _) => majority::run::<8>(stage, vote, channels, source, out),
    }
}

/// Whether the centre of a voxel of `nm` is in the voxels of `data_nm` in `data`, along one axis.
pub(crate) fn centres_inside(nm: f64, data_nm: f64, data: Range<i64>) -> impl Fn(i64) -> bool {
    let ratio = Ratio::new(nm, data_nm);
    move |voxel| match ratio {
        Some(ratio) => ratio.centre_is_in(voxel, &data),
        // The resolutions differ too much for a ratio.
        None => {
            let centre = (voxel as f64 + 0.5) * nm / data_nm;
            data.start as f64 <= centre && centre < data.end as f64
        }
    }
}
