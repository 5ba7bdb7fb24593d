//! Cutting one window: blocks are copied, converted or resampled into it, and the rest is filled.

use super::error::ExtractError;
use super::sources::Sources;
use super::window_assembler::{BoxContents, BoxRequest, WindowAssembler};
use super::{padding, schedule};
use crate::blocks::{Block, BlockCache, BlockKey, Lookup};
use crate::config::Missing;
use crate::data_type::Scalar;
use crate::geometry::VoxelBox;
use crate::plan::{Plan, Sample};
use crate::volume::{EncodedBlock, VolumeError};
use crate::voxels::{Conversion, Region, ValueDoesNotFit, WindowResampler, fill, fill_around};

/// Cuts windows out of volumes, through a block cache.
pub(crate) struct WindowCutter<'a> {
    pub plan: &'a Plan,
    pub sources: &'a Sources,
    pub cache: BlockCache<'a>,
}

/// A thread's buffers, reused from window to window.
#[derive(Default)]
pub(crate) struct CutScratch {
    /// The window that was cut last, `[channel, z, y, x]`.
    pub window: Vec<u8>,
    /// Voxels at the data's resolution, and the same at the window's.
    voxels: [Vec<u8>; 2],
    encoded: EncodedBlock,
    busy: Vec<BlockKey>,
    unwritten: Vec<VoxelBox>,
}

/// How the values of a window come out of those of its source.
#[derive(Clone, Copy)]
struct WindowValues<'c> {
    /// `None` where they are the same.
    conversion: Option<&'c Conversion>,
    /// Bytes of a value of the window.
    bytes: usize,
    /// The value of voxels that are missing or outside of the volume.
    fill: Scalar,
}

/// Which window to cut.
#[derive(Clone, Copy)]
pub(crate) struct WindowRequest<'s> {
    pub array: usize,
    pub sample: &'s Sample,
    /// The sample's objects, where the array shows some.
    pub objects: &'s [u64],
}

impl WindowCutter<'_> {
    /// Cuts a window into `scratch.window`, whose size it sets. `false` where all of it is the array's fill value for the
    /// sample's layer group: then nothing is written to the window. Calls `missing` with each missing chunk.
    pub(crate) fn cut(
        &self,
        request: WindowRequest<'_>,
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<bool, ExtractError> {
        let source = self.plan.source_of(request.array, request.sample);
        let recipe = self.sources.recipe(request.array);
        let conversion = self.sources.conversion(request.array, source);
        let of_objects = conversion.filter(|conversion| conversion.needs_objects());
        let of_objects = of_objects.map(|conversion| conversion.of_objects(request.objects));
        let values = WindowValues {
            conversion: of_objects.as_ref().or(conversion),
            bytes: recipe.data_type().size_bytes(),
            fill: recipe.fill_value(self.plan.group_of(request.sample)),
        };
        self.cut_values(request, values, scratch, missing)
    }

    /// Cuts the window of an array that shows objects, as [`WindowCutter::cut`] does, but with the values of the layer: ids
    /// instead of a mask. Voxels that are missing or outside of the volume are 0.
    pub(crate) fn cut_labels(
        &self,
        request: WindowRequest<'_>,
        scratch: &mut CutScratch,
    ) -> Result<bool, ExtractError> {
        let source = self.plan.source_of(request.array, request.sample);
        let values = WindowValues {
            conversion: None,
            bytes: self.sources.volumes[source].meta().data_type.size_bytes(),
            fill: Scalar::ZERO,
        };
        self.cut_values(request, values, scratch, &mut |_| {})
    }

    fn cut_values(
        &self,
        request: WindowRequest<'_>,
        values: WindowValues<'_>,
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<bool, ExtractError> {
        let WindowRequest { array, sample, .. } = request;
        let source = self.plan.source_of(array, sample);
        let recipe = self.sources.recipe(array);
        let window = self.plan.window_of(array, sample);
        let out = Region {
            covers: &window,
            channels: self.sources.volumes[source].meta().channels as usize,
            value_bytes: values.bytes,
        };
        let mut buffer = std::mem::take(&mut scratch.window);
        buffer.resize(out.bytes(), 0);
        let is_written = if recipe.marks_inside {
            Ok(self.mark_inside(request, &out, &mut buffer))
        } else if recipe.is_resampled() {
            self.resample(request, &out, values, &mut buffer, scratch, missing)
        } else {
            let request_box = BoxRequest {
                source,
                out: &out,
                fill_value: values.fill,
                conversion: values.conversion,
            };
            self.read_box(&request_box, &mut buffer, scratch, missing)
                .map(|contents| contents.other_values)
                .map_err(|e| self.failed(e, request, source))
        };
        scratch.window = buffer;
        is_written
    }

    /// Reads a box of voxels of a source into `buffer`. Where all of it would be the fill value, nothing is written. Calls
    /// `missing` with each missing chunk.
    pub(crate) fn read_box(
        &self,
        request: &BoxRequest<'_>,
        buffer: &mut [u8],
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<BoxContents, CutError> {
        let CutScratch {
            encoded,
            busy,
            unwritten,
            ..
        } = scratch;
        busy.clear();
        let meta = self.sources.volumes[request.source].meta();
        let mut assembler = WindowAssembler::new(meta, request, buffer, unwritten);
        let mut add = |block: &Block, key: BlockKey| {
            if matches!(block, Block::Missing) {
                if self.plan.config.missing == Missing::Error {
                    return Err(CutError::Missing(key));
                }
                missing(key);
            }
            Ok(assembler.add(block, key)?)
        };
        let volumes = &self.sources.volumes;
        for key in schedule::blocks_of(volumes, request.source, request.out.covers) {
            match self.cache.lookup(key) {
                Lookup::Ready(block) => add(&block, key)?,
                Lookup::Claimed(claim) => add(&*claim.load(encoded)?, key)?,
                // Another thread is loading it. Meanwhile there may be other blocks to copy or load.
                Lookup::Busy => busy.push(key),
            }
        }
        while let Some(key) = busy.pop() {
            match self.cache.wait(key) {
                Lookup::Ready(block) => add(&block, key)?,
                Lookup::Claimed(claim) => add(&*claim.load(encoded)?, key)?,
                Lookup::Busy => unreachable!("wait returns when no thread is loading the block"),
            }
        }
        Ok(assembler.finish())
    }

    /// Cuts the window out of voxels at another resolution.
    fn resample(
        &self,
        request: WindowRequest<'_>,
        out: &Region<'_>,
        values: WindowValues<'_>,
        buffer: &mut [u8],
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<bool, ExtractError> {
        let WindowRequest { array, sample, .. } = request;
        let Some(resampler) = self.sources.window_resampler(self.plan, array, sample) else {
            return Ok(false);
        };
        let source = self.plan.source_of(array, sample);
        let meta = self.sources.volumes[source].meta();
        let source_box = resampler.source_box();
        let from = Region {
            covers: &source_box,
            channels: out.channels,
            value_bytes: meta.data_type.size_bytes(),
        };
        let [mut voxels, mut resampled] = std::mem::take(&mut scratch.voxels);
        voxels.resize(from.bytes(), 0);
        resampled.resize(out.bytes() / out.value_bytes * from.value_bytes, 0);
        let request_box = BoxRequest {
            source,
            out: &from,
            fill_value: meta.fill_value,
            conversion: None,
        };
        let contents = self.read_box(&request_box, &mut voxels, scratch, missing);
        let is_written = contents.and_then(|contents| {
            if !contents.stored {
                // Not the resampled fill value of the layer: the config may have another one.
                return Ok(false);
            }
            if !contents.other_values {
                meta.fill_value.fill(from.value_bytes, &mut voxels);
            }
            let support = apply(&resampler, out, from.value_bytes, &voxels, &mut resampled);
            match values.conversion {
                None => buffer.copy_from_slice(&resampled),
                Some(conversion) => conversion.convert(&resampled, buffer)?,
            }
            fill_around(values.fill, &support, buffer, out);
            Ok(true)
        });
        scratch.voxels = [voxels, resampled];
        is_written.map_err(|e| self.failed(e, request, source))
    }

    /// Writes 1 to each voxel of the window whose centre is inside of the volume, the fill value to the others. Whether any
    /// is inside.
    fn mark_inside(&self, request: WindowRequest<'_>, out: &Region<'_>, buffer: &mut [u8]) -> bool {
        let WindowRequest { array, sample, .. } = request;
        let recipe = self.sources.recipe(array);
        recipe
            .fill_value(self.plan.group_of(sample))
            .fill(out.value_bytes, buffer);
        let inside = padding::inside(self.plan, self.sources, array, sample);
        if let Some(inside) = &inside {
            fill(recipe.one(), inside, buffer, out);
        }
        inside.is_some()
    }

    /// The error of a prefetch that no thread got.
    pub(crate) fn prefetch_failure(&self) -> Option<ExtractError> {
        let (source, e) = self.cache.take_prefetch_failure()?;
        let layer = self.plan.layer_of_source(source).to_owned();
        Some(ExtractError::Layer { layer, source: e })
    }

    /// The error with its window and layer.
    pub(crate) fn failed(
        &self,
        error: CutError,
        request: WindowRequest<'_>,
        source: usize,
    ) -> ExtractError {
        let layer = self.plan.layer_of_source(source).to_owned();
        match error {
            CutError::Volume(source) => ExtractError::Layer { layer, source },
            CutError::Missing(key) => {
                let volume = &self.sources.volumes[source];
                let block = volume.meta().grid.block_from_linear(key.block);
                let chunk = volume.describe_block(block);
                ExtractError::MissingChunk { layer, chunk }
            }
            CutError::Value(source) => ExtractError::Value {
                array: self.plan.arrays[request.array].name.clone(),
                annotation_id: request.sample.annotation_id,
                layer,
                problem: source.to_string(),
            },
        }
    }
}

/// Resamples `voxels`, whose values have `value_bytes`, to the box of `out`. Returns the part of the box that has support in
/// the volume.
fn apply(
    resampler: &WindowResampler,
    out: &Region<'_>,
    value_bytes: usize,
    voxels: &[u8],
    resampled: &mut [u8],
) -> VoxelBox {
    resampler.apply(out.channels, voxels, resampled);
    let (support, origin) = (resampler.support(), out.covers.start);
    let support = VoxelBox {
        start: std::array::from_fn(|d| origin[d] + support.start[d]),
        end: std::array::from_fn(|d| origin[d] + support.end[d]),
    };
    if !resampler.is_supported() {
        // Voxels without support become the fill value after the conversion. Until then they get a value that was
        // resampled: what an earlier window left there, or the layer's own fill value, may not fit the array's type.
        let unconverted = Region {
            value_bytes,
            ..*out
        };
        let some = unconverted.value(resampled, support.start);
        fill_around(some.unwrap_or_default(), &support, resampled, &unconverted);
    }
    support
}

/// Why a window could not be cut, without the window.
pub(crate) enum CutError {
    Volume(VolumeError),
    Missing(BlockKey),
    Value(ValueDoesNotFit),
}

impl From<ValueDoesNotFit> for CutError {
    fn from(error: ValueDoesNotFit) -> Self {
        Self::Value(error)
    }
}

impl From<VolumeError> for CutError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}
