//! How the windows of an array come out of its volumes: conversion, resampling, fill values, codec.

use std::sync::Arc;

use super::error::ExtractError;
use crate::config::{ArrayConfig, Transform};
use crate::data_type::{DataType, Scalar};
use crate::dataset::{ArrayLayout, Codec, CodecChoice};
use crate::plan::{Plan, PlannedArray};
use crate::volume::Volume;
use crate::voxels::{Conversion, Resampler, unreachable_value};

/// How the windows of an array come out of its volumes.
#[derive(Clone, Debug)]
pub(crate) struct ArrayRecipe {
    conversion: Conversion,
    channels: u32,
    /// For each layer group how its voxels are resampled; empty where the windows have the resolution of the data.
    resampler_of_group: Vec<Resampler>,
    /// Whether nothing is read, and the voxels inside of the volume are marked.
    pub marks_inside: bool,
    /// For each layer group the value, in the array's type, of voxels that are missing or outside of the volume.
    fill_of_group: Vec<Scalar>,
    /// How samples are compressed.
    codec: CodecChoice,
}

impl ArrayRecipe {
    /// The recipe of the array `planned`. `volumes` are those of the plan, with their own values.
    pub(super) fn new(
        plan: &Plan,
        planned: &PlannedArray,
        config: &ArrayConfig,
        volumes: &[Arc<dyn Volume>],
    ) -> Result<Self, ExtractError> {
        let mut of_groups = planned.source_of_group.iter().map(|s| &volumes[*s]);
        let Some(first) = of_groups.next() else {
            unreachable!("a plan has at least one layer group")
        };
        if let Some(other) = of_groups.find(|other| !are_alike(first.as_ref(), other.as_ref())) {
            return Err(ExtractError::MixedTypes {
                array: planned.name.clone(),
                first: describe_kind(first.as_ref()),
                second: describe_kind(other.as_ref()),
            });
        }
        let meta = first.meta();
        let build = || -> Result<Self, String> {
            let conversion = Conversion::new(&config.transform, meta.data_type, config.dtype)?;
            if let Some(problem) = unreachable_value(&config.transform, meta.data_type) {
                return Err(problem);
            }
            let resampler_of_group = resamplers(plan, config, meta.data_type)?;
            let fill_of_group =
                fill_values(planned, config, volumes, &conversion, &resampler_of_group)?;
            let is_identity = resampler_of_group.iter().all(Resampler::is_identity);
            Ok(Self {
                conversion,
                channels: meta.channels,
                resampler_of_group: if is_identity {
                    Vec::new()
                } else {
                    resampler_of_group
                },
                marks_inside: config.transform == Transform::Inside,
                fill_of_group,
                codec: CodecChoice::stated(&config.codec)
                    .unwrap_or_else(|| Codec::default().into()),
            })
        };
        build().map_err(|problem| ExtractError::Transform {
            array: planned.name.clone(),
            volume: describe_kind(first.as_ref()),
            problem,
        })
    }

    /// Whether windows are made from voxels at another resolution.
    pub(crate) fn is_resampled(&self) -> bool {
        !self.resampler_of_group.is_empty()
    }

    /// For each layer group how its voxels are resampled; empty where the windows have the resolution of the data.
    pub(super) fn resamplers(&self) -> &[Resampler] {
        &self.resampler_of_group
    }

    /// How values are converted.
    pub(super) fn conversion(&self) -> &Conversion {
        &self.conversion
    }

    /// Type of the array's values.
    pub(crate) fn data_type(&self) -> DataType {
        self.conversion.to()
    }

    /// 1 in the array's type.
    pub(crate) fn one(&self) -> Scalar {
        exact_value(1.0, self.data_type()).unwrap_or_default()
    }

    /// The value of voxels that are missing or outside of the volume, in samples of the layer group.
    pub(crate) fn fill_value(&self, group: usize) -> Scalar {
        self.fill_of_group[group]
    }

    /// Compresses samples with `codec`.
    pub(super) fn choose_codec(&mut self, codec: CodecChoice) {
        self.codec = codec;
    }

    /// The layout of the array.
    pub(super) fn layout(&self, planned: &PlannedArray) -> ArrayLayout {
        ArrayLayout {
            name: planned.name.clone(),
            data_type: self.data_type(),
            channels: self.channels,
            window: planned.window,
            fill_value: self.fill_of_group.first().copied().unwrap_or_default(),
            codec: self.codec,
        }
    }

    /// Whether each voxel of a block can be converted on its own, before windows are cut: values do not depend on the
    /// sample, change at all, and all fit.
    pub(super) fn converts_blocks(&self) -> bool {
        let is_per_voxel =
            !self.conversion.needs_objects() && !self.marks_inside && !self.is_resampled();
        // Where a value may not fit, only the values of windows count, not all of a block's.
        is_per_voxel && !self.conversion.is_identity() && self.conversion.fits_all()
    }
}

/// Whether the volumes hold values of one type, with as many channels.
fn are_alike(a: &dyn Volume, b: &dyn Volume) -> bool {
    let (a, b) = (a.meta(), b.meta());
    (a.data_type, a.channels) == (b.data_type, b.channels)
}

/// For each layer group how its voxels are resampled; none without a resolution of the data in the config.
fn resamplers(
    plan: &Plan,
    config: &ArrayConfig,
    data_type: DataType,
) -> Result<Vec<Resampler>, String> {
    let resampler = |group: usize| {
        let data_resolution = config.data_resolution?;
        Some(Resampler::new(
            plan.groups[group].resolution,
            data_resolution,
            config.interpolation?,
            data_type,
        ))
    };
    (0..plan.groups.len()).filter_map(resampler).collect()
}

/// For each layer group the value of voxels that are missing or outside of the volume.
fn fill_values(
    planned: &PlannedArray,
    config: &ArrayConfig,
    volumes: &[Arc<dyn Volume>],
    conversion: &Conversion,
    resampler_of_group: &[Resampler],
) -> Result<Vec<Scalar>, String> {
    let of_group = |(group, source): (usize, &usize)| {
        let meta = volumes[*source].meta();
        match (config.fill, config.transform == Transform::Inside) {
            (Some(fill), _) => exact_value(fill, conversion.to()),
            (None, true) => Ok(Scalar::ZERO),
            (None, false) => {
                let of_layer = resampler_of_group
                    .get(group)
                    .map_or(meta.fill_value, |r| r.of_value(meta.fill_value));
                converted_fill(conversion, meta.data_type, of_layer)
            }
        }
    };
    let sources = planned.source_of_group.iter().enumerate();
    sources.map(of_group).collect()
}

/// The layer's fill value after the conversion.
fn converted_fill(conversion: &Conversion, from: DataType, fill: Scalar) -> Result<Scalar, String> {
    let mut out = [0; 8];
    let out = &mut out[..conversion.to().size_bytes()];
    // Voxels that are not stored belong to no object.
    conversion
        .convert(fill.bytes(from.size_bytes()), out)
        .map_err(|e| format!("the layer's fill value: {e}: set another value with `fill`"))?;
    Ok(Scalar::from_le_bytes(out).unwrap_or_default())
}

/// `fill` in the type `to`, which must hold it exactly (to the nearest, for floating point).
fn exact_value(fill: f64, to: DataType) -> Result<Scalar, String> {
    let conversion = Conversion::new(&Transform::None, DataType::Float64, Some(to))?;
    let mut out = [0; 8];
    let out = &mut out[..to.size_bytes()];
    let is_exact = to.name().starts_with("float") || fill.fract() == 0.0;
    match conversion.convert(&fill.to_le_bytes(), out) {
        Ok(()) if is_exact => Ok(Scalar::from_le_bytes(out).unwrap_or_default()),
        _ => Err(format!("`fill` is {fill}, expected a value of {to}")),
    }
}

/// The volume for messages: where it is stored, its type and channels.
fn describe_kind(volume: &dyn Volume) -> String {
    let meta = volume.meta();
    let (data_type, channels) = (meta.data_type, meta.channels);
    format!("{} ({data_type}, {channels} channel(s))", volume.describe())
}
