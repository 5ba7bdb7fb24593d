//! One window, cut by its definition: voxel by voxel, without a cache.

use super::number::Number;
use super::resample::{resampled, voxels_of};
use super::voxels::{Voxel, Voxels};
use crate::config::{ArrayConfig, Interpolation, Transform};
use crate::data_type::DataType;
use crate::geometry::Resolution;
use crate::plan::{Plan, Sample};
use crate::volume::{Volume, VolumeError};
use crate::voxels::Ratio;

/// Relative difference that a mean of floating-point numbers, or of very many integers, may have: it depends on the order of the sums.
const MEAN_TOLERANCE: f64 = 1e-6;

/// What an array is cut from.
pub(super) struct ArraySource<'p> {
    pub plan: &'p Plan,
    /// Position of the array in the plan.
    pub array: usize,
    /// Type of its values.
    pub data_type: DataType,
}

/// The values that a sample must have, `[channel, z, y, x]`.
pub(super) struct Expected {
    pub values: Vec<Number>,
    /// Relative difference that values may have.
    pub tolerance: f64,
}

impl ArraySource<'_> {
    /// The sample's values, from its `volume`. `objects` are those that the array shows, if it shows some.
    pub fn cut(
        &self,
        sample: &Sample,
        objects: &[u64],
        volume: &dyn Volume,
    ) -> Result<Expected, VolumeError> {
        let config = self.config();
        let fill = self.fill(volume);
        let window = self.plan.window_of(self.array, sample);
        let source = &self.plan.sources[self.plan.source_of(self.array, sample)];
        let [nm, data_nm] = [self.plan.resolution_of(sample), &source.resolution];
        let channels = volume.meta().channels;
        let mut voxels = Voxels::of(volume);
        let count = channels as usize * window.shape().iter().product::<u64>() as usize;
        let mut values = Vec::with_capacity(count);
        if config.transform == Transform::Inside {
            for at in (0..channels).flat_map(|_| voxels_of(&window)) {
                let is_inside = self.is_inside(at, nm, data_nm, &voxels);
                values.push(if is_inside { self.one() } else { fill });
            }
        } else if let Some(how) = self.interpolation() {
            let ratios = ratios(nm, data_nm);
            let grid = match ratios {
                Some(ratios) => resampled(&mut voxels, channels, &window, ratios, how)?,
                None => None,
            };
            match grid {
                Some(grid) => {
                    let transformed = |v: &Option<Number>| {
                        v.map_or(fill, |v| {
                            // A mean is a value of the layer's type before it is transformed.
                            self.transformed(v.cast(volume.meta().data_type), objects)
                        })
                    };
                    values.extend(grid.values.iter().map(transformed));
                }
                None => values.extend((0..channels).flat_map(|_| voxels_of(&window)).map(|_| fill)),
            }
        } else {
            for channel in 0..channels {
                for at in voxels_of(&window) {
                    values.push(match voxels.voxel(channel, at)? {
                        Voxel::Stored(value) => self.transformed(value, objects),
                        Voxel::Outside | Voxel::Missing => fill,
                    });
                }
            }
        }
        let is_wide =
            volume.meta().data_type.is_float() || volume.meta().data_type.size_bytes() > 2;
        let is_mean = matches!(
            self.interpolation(),
            Some(Interpolation::Area(_) | Interpolation::Linear(_))
        );
        Ok(Expected {
            values,
            tolerance: if is_mean && is_wide {
                MEAN_TOLERANCE
            } else {
                0.0
            },
        })
    }

    fn config(&self) -> &ArrayConfig {
        &self.plan.config.arrays[self.array]
    }

    /// How voxels are resampled; `None` if all layer groups have the resolution of the data.
    fn interpolation(&self) -> Option<Interpolation> {
        let config = self.config();
        let (data, how) = (config.data_resolution?, config.interpolation?);
        let is_one = |group: &crate::plan::PlannedGroup| {
            ratios(&group.resolution, &data).is_some_and(|r| r.iter().all(Ratio::is_one))
        };
        let is_identity = self.plan.groups.iter().all(is_one) && how != Interpolation::Any;
        (!is_identity).then_some(how)
    }

    fn one(&self) -> Number {
        Number::Int(1).cast(self.data_type)
    }

    /// The value of voxels outside of the volume and of missing chunks.
    fn fill(&self, volume: &dyn Volume) -> Number {
        let config = self.config();
        if let Some(fill) = config.fill {
            return Number::Float(fill).cast(self.data_type);
        }
        if config.transform == Transform::Inside {
            return Number::Int(0).cast(self.data_type);
        }
        let of_layer = Voxels::of(volume).fill_value();
        let is_any = self.interpolation() == Some(Interpolation::Any);
        let of_layer = match of_layer {
            value if !is_any => value,
            Number::Int(v) => Number::Int((v > 0).into()),
            Number::Float(v) => Number::Float((v > 0.0).into()),
        };
        // Voxels that are not stored belong to no object.
        self.transformed(of_layer, &[])
    }

    /// The value after the transform, in the array's type.
    fn transformed(&self, value: Number, objects: &[u64]) -> Number {
        let is_one_of = |wanted: &[u64]| match value {
            Number::Int(v) => wanted.iter().any(|w| i128::from(*w) == v),
            Number::Float(_) => false,
        };
        let is_set = match &self.config().transform {
            Transform::None => return value.cast(self.data_type),
            Transform::Scale(scale) => {
                let scaled = value.as_f64() * scale.multiply + scale.add;
                return Number::Float(scaled).cast(self.data_type);
            }
            Transform::Nonzero => value.is_nonzero(),
            Transform::Equals(wanted) => is_one_of(&[*wanted]),
            Transform::In(wanted) => is_one_of(wanted),
            Transform::Threshold(least) => match value {
                Number::Int(v) => v >= least.ceil() as i128,
                Number::Float(v) => v >= *least,
            },
            Transform::ObjectAt(_) => match value {
                // Ids of signed layers are sign-extended.
                Number::Int(v) => v != 0 && objects.contains(&(v as u64)),
                Number::Float(_) => false,
            },
            Transform::Inside => true,
        };
        Number::Int(is_set.into()).cast(self.data_type)
    }

    /// Whether the centre of the voxel is inside of the volume.
    fn is_inside(
        &self,
        at: [i64; 3],
        nm: &Resolution,
        data_nm: &Resolution,
        voxels: &Voxels<'_>,
    ) -> bool {
        let bounds = voxels.bounds();
        let along = |d: usize| {
            let bounds = bounds.start[d]..bounds.end[d];
            if nm.matches(data_nm) && self.config().data_resolution.is_none() {
                return bounds.contains(&at[d]);
            }
            let ratio = Ratio::new(nm.nm()[d], data_nm.nm()[d]);
            ratio.is_some_and(|ratio| ratio.centre_is_in(at[d], &bounds))
        };
        (0..3).all(along)
    }
}

fn ratios(nm: &Resolution, data_nm: &Resolution) -> Option<[Ratio; 3]> {
    let along = |d: usize| Ratio::new(nm.nm()[d], data_nm.nm()[d]);
    Some([along(0)?, along(1)?, along(2)?])
}
