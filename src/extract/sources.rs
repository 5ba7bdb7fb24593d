//! The volumes of a plan, opened, and how each array's windows come out of them.

use std::sync::Arc;

use rayon::prelude::*;

use super::converted::ConvertedVolume;
use super::error::ExtractError;
use super::no_scale;
use crate::config::{ArrayConfig, Transform};
use crate::data_type::{DataType, Scalar};
use crate::dataset::{ArrayLayout, Codec, CodecChoice, Layout};
use crate::geometry::VoxelBox;
use crate::plan::{Plan, PlannedArray, Sample, VolumeSource};
use crate::storage::Parts;
use crate::volume::{self, Volume, VolumeError, VolumeMeta};
use crate::voxels::{Conversion, Resampler, WindowResampler, unreachable_value};

/// The volumes of a plan, opened, and how each array's windows come out of them.
#[derive(Clone, Debug)]
pub struct Sources {
    /// One volume per [`Plan::sources`]. Where all arrays that are cut out of one want its values converted alike, its
    /// blocks hold converted values.
    pub volumes: Vec<Arc<dyn Volume>>,
    /// For each volume whether it is such a one.
    converted: Vec<bool>,
    /// Bytes of the largest block before its values are converted.
    unconverted_block_bytes: u64,
    arrays: Vec<ArrayRecipe>,
}

/// How an array's windows come out of its volumes.
#[derive(Clone, Debug)]
pub(crate) struct ArrayRecipe {
    convert: Conversion,
    channels: u32,
    /// For each layer group how windows are made of voxels at another resolution; empty where they are cut as they are.
    resample_of_group: Vec<Resampler>,
    /// Whether nothing is read, but what lies inside of the volume is told.
    pub inside: bool,
    /// For each layer group the value, in the array's type, of voxels that are not stored or lie outside.
    fill_of_group: Vec<Scalar>,
    /// How samples are compressed.
    codec: CodecChoice,
}

impl Sources {
    /// Opens every volume of the plan at its resolution.
    pub fn open(plan: &Plan) -> Result<Self, ExtractError> {
        let open = |(i, source): (usize, &VolumeSource)| {
            volume::open_layer(&source.url, &source.resolution, &source.layer)
                .map_err(|e| opening_error(plan, i, e))
        };
        let parts = Parts::new();
        let opened = plan
            .sources
            .par_iter()
            .enumerate()
            .map(|source| parts.run(|| open(source)))
            .collect::<Result<Vec<_>, _>>();
        let mut volumes = parts.finish(opened)?;
        let configs = plan.config.arrays.values();
        let arrays = plan.arrays.iter().zip(configs);
        let arrays = arrays
            .map(|(planned, config)| ArrayRecipe::new(plan, planned, config, &volumes))
            .collect::<Result<Vec<_>, _>>()?;
        let unconverted_block_bytes = largest_block_bytes(&volumes);
        let mut converted = vec![false; volumes.len()];
        for (source, volume) in volumes.iter_mut().enumerate() {
            if let Some((convert, fill_value)) = shared_conversion(plan, &arrays, source) {
                *volume = Arc::new(ConvertedVolume::new(
                    Arc::clone(volume),
                    convert,
                    fill_value,
                ));
                converted[source] = true;
            }
        }
        Ok(Self {
            volumes,
            converted,
            unconverted_block_bytes,
            arrays,
        })
    }

    /// The layout of what is cut out of the volumes.
    pub fn layout(&self, plan: &Plan) -> Layout {
        let arrays = plan.arrays.iter().zip(&self.arrays);
        let arrays = arrays.map(|(planned, cut)| ArrayLayout {
            name: planned.name.clone(),
            data_type: cut.convert.to(),
            channels: cut.channels,
            window: planned.window,
            fill_value: cut.fill_of_group.first().copied().unwrap_or_default(),
            codec: cut.codec,
        });
        let splits = plan.splits.iter();
        let splits = splits.map(|s| (s.name.clone(), s.samples.len() as u64));
        Layout::new(
            plan.config.axis_order,
            splits.collect(),
            arrays.collect(),
            plan.config.shard_samples,
        )
    }

    /// Digest of the plan, of what its sources say about themselves, and of the codecs. The codecs that `auto` chose
    /// follow from voxels, of which the digest knows nothing else: a shard of one codec never stands beside one of
    /// another.
    pub fn digest(&self, plan: &Plan) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(plan.digest().as_bytes());
        for volume in &self.volumes {
            hasher.update(volume.digest().as_bytes());
        }
        for array in &self.arrays {
            hasher.update(serde_json::json!(array.codec).to_string().as_bytes());
        }
        hasher.finalize()
    }

    /// Compresses the samples of `array` as `codec` says.
    pub(crate) fn choose_codec(&mut self, array: usize, codec: CodecChoice) {
        self.arrays[array].codec = codec;
    }

    pub(crate) fn array(&self, array: usize) -> &ArrayRecipe {
        &self.arrays[array]
    }

    /// The voxels, at the resolution of its source, that a sample's window of `array` is made of; `None` where
    /// nothing is read.
    pub(crate) fn read_box(&self, plan: &Plan, array: usize, sample: &Sample) -> Option<VoxelBox> {
        let cut = &self.arrays[array];
        match (cut.inside, cut.is_resampled()) {
            (true, _) => None,
            (false, false) => Some(plan.window_of(array, sample)),
            (false, true) => Some(self.resampled(plan, array, sample)?.source_box()),
        }
    }

    /// How a sample's window of `array` is made of voxels at another resolution; `None` where none of it lies in the
    /// volume.
    pub(crate) fn resampled(
        &self,
        plan: &Plan,
        array: usize,
        sample: &Sample,
    ) -> Option<WindowResampler> {
        let resample = self.arrays[array]
            .resample_of_group
            .get(plan.group_of(sample))?;
        let bounds = self.volumes[plan.source_of(array, sample)]
            .meta()
            .grid
            .bounds();
        resample.window(&plan.window_of(array, sample), bounds)
    }

    /// Bytes of the largest block.
    pub(crate) fn block_bytes(&self) -> u64 {
        largest_block_bytes(&self.volumes)
    }

    /// Most bytes that a thread needs for a block that it loads: as stored, inflated and, where its values become
    /// others then, decoded.
    pub(crate) fn loading_bytes(&self) -> u64 {
        let copies = [
            self.converted.contains(&true),
            self.volumes.iter().any(|volume| volume.decode_needs_copy()),
        ];
        let forms = 2 + copies.into_iter().filter(|is_made| *is_made).count() as u64;
        forms * self.unconverted_block_bytes
    }

    /// Most bytes that a thread needs for a window, with the voxels that it is made of, or for the voxels around a
    /// point in which an object is searched.
    pub(crate) fn window_bytes(&self, plan: &Plan) -> u64 {
        let layout = self.layout(plan);
        let configs: Vec<_> = plan.config.arrays.values().collect();
        let of_array = |(array, cut): (usize, &ArrayRecipe)| {
            let of_group = |(group, resample): (usize, &Resampler)| {
                let meta = self.volumes[plan.arrays[array].source_of_group[group]].meta();
                let window = layout.arrays[array].window;
                // The voxels that the window is made of, and what is made of them, before it is converted.
                let voxels = window
                    .volume_voxels()
                    .saturating_add(resample.source_voxels(&window));
                let bytes = u64::from(meta.channels) * meta.data_type.size_bytes() as u64;
                voxels
                    .saturating_mul(bytes)
                    .saturating_add(resample.working_bytes(&window, meta.channels))
            };
            let of_groups = cut.resample_of_group.iter().enumerate().map(of_group);
            let window = layout
                .sample_bytes(array)
                .saturating_add(of_groups.max().unwrap_or(0));
            let Transform::ObjectAt(at) = &configs[array].transform else {
                return window;
            };
            let sources = plan.arrays[array].source_of_group.iter();
            let around = sources.map(|s| bytes_around(at.radius_nm, self.volumes[*s].meta()));
            around.max().unwrap_or(0).max(window)
        };
        self.arrays
            .iter()
            .enumerate()
            .map(of_array)
            .max()
            .unwrap_or(0)
    }

    /// The object that a voxel of this value in a source of `array` belongs to; 0 for none.
    pub(crate) fn object_of(&self, array: usize, value: &[u8]) -> u64 {
        self.arrays[array].convert.object_of(value)
    }

    /// What is still to be done to values out of blocks of `source` for `array`; `None` where nothing is.
    pub(crate) fn convert(&self, array: usize, source: usize) -> Option<&Conversion> {
        let convert = &self.arrays[array].convert;
        (!self.converted[source] && !convert.is_identity()).then_some(convert)
    }
}

impl ArrayRecipe {
    fn new(
        plan: &Plan,
        planned: &PlannedArray,
        config: &ArrayConfig,
        volumes: &[Arc<dyn Volume>],
    ) -> Result<Self, ExtractError> {
        let mut of_groups = planned.source_of_group.iter().map(|s| &volumes[*s]);
        let Some(first) = of_groups.next() else {
            unreachable!("a plan has at least one layer group")
        };
        for other in of_groups {
            let (a, b) = (first.meta(), other.meta());
            if (a.data_type, a.channels) != (b.data_type, b.channels) {
                return Err(ExtractError::MixedTypes {
                    array: planned.name.clone(),
                    first: kind_of(first.as_ref()),
                    second: kind_of(other.as_ref()),
                });
            }
        }
        let bad = |problem| ExtractError::Transform {
            array: planned.name.clone(),
            volume: kind_of(first.as_ref()),
            problem,
        };
        let meta = first.meta();
        let convert =
            Conversion::new(&config.transform, meta.data_type, config.dtype).map_err(bad)?;
        if let Some(problem) = unreachable_value(&config.transform, meta.data_type) {
            return Err(bad(problem));
        }
        let inside = config.transform == Transform::Inside;
        let resample = |group: usize| {
            let data_resolution = config.data_resolution?;
            Some(Resampler::new(
                plan.groups[group].resolution,
                data_resolution,
                config.interpolation?,
                meta.data_type,
            ))
        };
        let resample_of_group = (0..plan.groups.len())
            .filter_map(resample)
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad)?;
        let fill_of_group = planned
            .source_of_group
            .iter()
            .enumerate()
            .map(|(group, s)| {
                let meta = volumes[*s].meta();
                let of_layer = meta.fill_value;
                let of_layer = resample_of_group
                    .get(group)
                    .map_or(of_layer, |r| r.of_value(of_layer));
                match (config.fill, inside) {
                    (Some(fill), _) => fill_value(fill, convert.to()),
                    (None, true) => Ok(Scalar::ZERO),
                    (None, false) => converted_fill(&convert, meta.data_type, of_layer),
                }
            });
        let fill_of_group = fill_of_group.collect::<Result<_, _>>().map_err(bad)?;
        let as_is = resample_of_group.iter().all(Resampler::is_identity);
        Ok(Self {
            convert,
            channels: meta.channels,
            resample_of_group: if as_is { Vec::new() } else { resample_of_group },
            inside,
            fill_of_group,
            codec: Codec::stated(&config.codec).unwrap_or_default().into(),
        })
    }

    /// Whether windows are made of voxels at another resolution.
    pub(crate) fn is_resampled(&self) -> bool {
        !self.resample_of_group.is_empty()
    }

    /// Type of the array's values.
    pub(crate) fn data_type(&self) -> DataType {
        self.convert.to()
    }

    /// 1 in the array's type.
    pub(crate) fn one(&self) -> Scalar {
        fill_value(1.0, self.convert.to()).unwrap_or_default()
    }

    /// What voxels of samples of the layer group hold that are not stored or lie outside.
    pub(crate) fn fill_value(&self, group: usize) -> Scalar {
        self.fill_of_group[group]
    }
}

/// The whole error, where the volume at position `number` of the plan cannot be opened.
fn opening_error(plan: &Plan, number: usize, source: VolumeError) -> ExtractError {
    let layer = plan.layer_of_source(number).to_owned();
    match source.missing_scale() {
        Some((wanted, available)) => ExtractError::NoScale {
            path: plan.resolution_key_of_source(number),
            layer,
            wanted,
            remedy: no_scale::remedy(plan, number, &wanted, available),
            source,
        },
        None => ExtractError::Layer {
            source: source.of_layer(&layer),
            layer,
        },
    }
}

/// Bytes of the largest block of all volumes.
fn largest_block_bytes(volumes: &[Arc<dyn Volume>]) -> u64 {
    let first =
        |v: &Arc<dyn Volume>| v.meta().block_bytes(&v.meta().grid.block_box([0, 0, 0])) as u64;
    volumes.iter().map(first).max().unwrap_or(0)
}

/// Most bytes of the voxels within `radius_nm` of a point: more than any memory has for a radius that is large.
fn bytes_around(radius_nm: f64, meta: &VolumeMeta) -> u64 {
    // The voxel that holds the point, those on either side, and one for rounding.
    let along = |nm: f64| (2.0 * radius_nm / nm) as u64 + 2;
    let value = u64::from(meta.channels) * meta.data_type.size_bytes() as u64;
    let voxels = meta.resolution.nm().into_iter().map(along);
    voxels.fold(value, u64::saturating_mul)
}

/// The conversion that every array makes that is cut out of `source`, if it is the same for all, the same for all
/// samples, worth its name, and one for every value; and what becomes of the fill value.
fn shared_conversion(
    plan: &Plan,
    arrays: &[ArrayRecipe],
    source: usize,
) -> Option<(Conversion, Scalar)> {
    let mut shared: Option<(&ArrayConfig, &ArrayRecipe, Scalar)> = None;
    let configs = plan.config.arrays.values();
    for ((planned, config), cut) in plan.arrays.iter().zip(configs).zip(arrays) {
        let Some(group) = planned.source_of_group.iter().position(|s| *s == source) else {
            continue;
        };
        let per_voxel = !cut.convert.needs_object() && !cut.inside && !cut.is_resampled();
        // Where a value may not fit, only those of windows count, not all of a block's.
        if !per_voxel || cut.convert.is_identity() || !cut.convert.fits_all() {
            return None;
        }
        let fill_value = cut.fill_of_group[group];
        match shared {
            None => shared = Some((config, cut, fill_value)),
            Some((first, _, of_first)) => {
                let alike = first.transform == config.transform
                    && first.dtype == config.dtype
                    && of_first == fill_value;
                if !alike {
                    return None;
                }
            }
        }
    }
    shared.map(|(_, cut, fill_value)| (cut.convert.clone(), fill_value))
}

/// What the layer's fill value becomes.
fn converted_fill(convert: &Conversion, from: DataType, fill: Scalar) -> Result<Scalar, String> {
    let mut out = [0; 8];
    let out = &mut out[..convert.to().size_bytes()];
    // No object is 0, which is also what lies where nothing is stored.
    convert
        .row(fill.bytes(from.size_bytes()), out, 0)
        .map_err(|e| format!("the layer's fill value: {e}: say what else to `fill` with"))?;
    Ok(Scalar::from_le_bytes(out).unwrap_or_default())
}

/// `fill` in the type `to`, which must hold it exactly (to the nearest, for floating point).
fn fill_value(fill: f64, to: DataType) -> Result<Scalar, String> {
    let transform = Transform::None;
    let convert = Conversion::new(&transform, DataType::Float64, Some(to))?;
    let mut out = [0; 8];
    let out = &mut out[..to.size_bytes()];
    let whole = to.name().starts_with("float") || fill.fract() == 0.0;
    match convert.row(&fill.to_le_bytes(), out, 0) {
        Ok(()) if whole => Ok(Scalar::from_le_bytes(out).unwrap_or_default()),
        _ => Err(format!("`fill` is {fill}, expected a value of {to}")),
    }
}

/// The volume for messages: where it lies and what it holds.
fn kind_of(volume: &dyn Volume) -> String {
    let meta = volume.meta();
    let (data_type, channels) = (meta.data_type, meta.channels);
    format!("{} ({data_type}, {channels} channel(s))", volume.describe())
}
