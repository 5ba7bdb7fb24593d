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
//! - any: 1 where any voxel that is covered, even in part, is greater than 0.
//! - majority: the value of most of what the voxel covers, see [`majority`].
//!
//! Means of whole numbers are rounded half to even, or their fractions are cut off.

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
use ratio::Ratio;
use stage::{Kernel, Stage, StageRule, Vote};

/// How the windows of an array are made of a layer at another resolution.
#[derive(Clone, Debug)]
pub(crate) struct Resampler {
    ratios: [Ratio; 3],
    data_type: DataType,
    /// From the data to the window; one for all but some majorities.
    rules: Vec<StageRule>,
}

/// One window, and the voxels that it is made of.
#[derive(Clone, Debug)]
pub(crate) struct WindowResampler {
    data_type: DataType,
    /// Out of the data, and out of what the one before has made.
    first: Stage,
    others: Vec<Stage>,
}

impl Resampler {
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
        let of_means = matches!(
            interpolation,
            Interpolation::Area(_) | Interpolation::Linear(_)
        );
        if of_means && !data_type.is_float() && data_type.size_bytes() == 8 {
            return Err(format!(
                "means of {data_type} values are not exact, and mean nothing for labels: expected `nearest` or `majority`, or a layer of another type"
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

    /// Whether windows are made of the voxels as they are.
    pub fn is_identity(&self) -> bool {
        self.ratios.iter().all(Ratio::is_one) && !self.makes(Kernel::Any)
    }

    /// What a voxel becomes that is made of nothing but voxels of this value.
    pub fn of_value(&self, value: Scalar) -> Scalar {
        if self.makes(Kernel::Any) {
            any::of_value(value, self.data_type)
        } else {
            value
        }
    }

    fn makes(&self, kernel: Kernel) -> bool {
        self.rules.iter().any(|rule| rule.kernel == kernel)
    }

    /// Most voxels that a window of this size is made of.
    pub fn source_voxels(&self, window: &WindowSize) -> u64 {
        let along = |d: usize| {
            let (ratio, n) = (self.ratios[d], i128::from(window.voxels()[d]));
            // One more at either end, and for the neighbours of centres.
            (n * ratio.voxels / ratio.per) as u64 + 3
        };
        (0..3).map(along).fold(1, u64::saturating_mul)
    }

    /// Most bytes that making a window of this size takes, beside the voxels that it is made of and itself.
    pub fn working_bytes(&self, window: &WindowSize, channels: u32) -> u64 {
        let value_bytes = self.data_type.size_bytes() as u64;
        // What a step makes has a quarter of the voxels that it is made of, or fewer; two steps' are held at once.
        let of_steps =
            || (self.source_voxels(window) / 2).saturating_mul(u64::from(channels) * value_bytes);
        // Each voxel's value, its share, and its place among the others.
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

    /// How to make `window`, a box at the window's resolution, of those of the data's voxels that lie within
    /// `bounds`, the volume's at the data's resolution. `None` where no voxel of the window has any.
    pub fn window(&self, window: &VoxelBox, bounds: &VoxelBox) -> Option<WindowResampler> {
        let made = self.rules.iter().scan(*bounds, |made, rule| {
            *made = rule.made_of(made);
            Some(*made)
        });
        // The last one makes the window.
        let made = made.take(self.rules.len() - 1);
        let bounds_of_rules: Vec<_> = std::iter::once(*bounds).chain(made).collect();
        // What the last one needs is what the one before makes.
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
    /// The voxels that are needed, at the data's resolution; all of them lie within the volume.
    pub fn source_box(&self) -> VoxelBox {
        self.first.source_box()
    }

    /// The voxels that are made, counted from the window's start; others have no voxel within the volume.
    pub fn support(&self) -> VoxelBox {
        self.last().support()
    }

    /// Whether every voxel of the window is made.
    pub fn is_supported(&self) -> bool {
        let Stage { shape, axes, .. } = self.last();
        (0..3).all(|d| axes[d].support == (0..shape[d]))
    }

    /// Makes the window. `source` and `out` are little-endian values in C order `[channel, z, y, x]` over
    /// [`WindowResampler::source_box`] and over the window; voxels out of [`WindowResampler::support`] are left as
    /// they are.
    pub fn apply(&self, channels: usize, source: &[u8], out: &mut [u8]) {
        let mut before: Option<Vec<u8>> = None;
        let mut stage = &self.first;
        for next in &self.others {
            let values = stage.shape.iter().product::<usize>() * channels;
            let mut made = vec![0; values * self.data_type.size_bytes()];
            let from = before.as_deref().unwrap_or(source);
            make(stage, self.data_type, channels, from, &mut made);
            (before, stage) = (Some(made), next);
        }
        let from = before.as_deref().unwrap_or(source);
        make(stage, self.data_type, channels, from, out);
    }

    fn last(&self) -> &Stage {
        self.others.last().unwrap_or(&self.first)
    }
}

/// Makes the voxels of a stage.
fn make(stage: &Stage, data_type: DataType, channels: usize, source: &[u8], out: &mut [u8]) {
    match (stage.kernel, data_type.size_bytes()) {
        (Kernel::Mean(rounding), _) => {
            mean::make(stage, rounding, data_type, channels, source, out)
        }
        (Kernel::Any, _) => any::make(stage, data_type, channels, source, out),
        (Kernel::Nearest, 1) => nearest::make::<1>(stage, channels, source, out),
        (Kernel::Nearest, 2) => nearest::make::<2>(stage, channels, source, out),
        (Kernel::Nearest, 4) => nearest::make::<4>(stage, channels, source, out),
        (Kernel::Nearest, _) => nearest::make::<8>(stage, channels, source, out),
        (Kernel::Majority(vote), 1) => majority::make::<1>(stage, vote, channels, source, out),
        (Kernel::Majority(vote), 2) => majority::make::<2>(stage, vote, channels, source, out),
        (Kernel::Majority(vote), 4) => majority::make::<4>(stage, vote, channels, source, out),
        (Kernel::Majority(vote), _) => majority::make::<8>(stage, vote, channels, source, out),
    }
}

/// Says of voxels of `nm` whether their centres lie in those of `data_nm` in `data`, along one axis.
pub(crate) fn centres_inside(nm: f64, data_nm: f64, data: Range<i64>) -> impl Fn(i64) -> bool {
    let ratio = Ratio::new(nm, data_nm);
    move |voxel| match ratio {
        Some(ratio) => ratio.centre_is_in(voxel, &data),
        // Worlds apart.
        None => {
            let centre = (voxel as f64 + 0.5) * nm / data_nm;
            data.start as f64 <= centre && centre < data.end as f64
        }
    }
}
