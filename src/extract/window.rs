//! Cutting one window: what its blocks have of it, converted, resampled, filled where nothing is.

use super::error::ExtractError;
use super::sources::Sources;
use super::window_assembler::{BoxContents, WindowAssembler};
use super::{padding, schedule};
use crate::blocks::{Block, BlockCache, BlockKey, Lookup};
use crate::config::Missing;
use crate::data_type::Scalar;
use crate::geometry::VoxelBox;
use crate::plan::{Plan, Sample};
use crate::volume::{EncodedBlock, VolumeError};
use crate::voxels::{Conversion, Region, ValueDoesNotFit, fill, fill_around};

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
    /// Voxels at another resolution that it is made of, and what was made of them.
    voxels: [Vec<u8>; 2],
    stored: EncodedBlock,
    waiting: Vec<BlockKey>,
    unwritten: Vec<VoxelBox>,
}

/// Which window to cut.
#[derive(Clone, Copy)]
pub(crate) struct WindowRequest<'s> {
    pub array: usize,
    pub sample: &'s Sample,
    /// The sample's object, where the array shows one.
    pub object: u64,
}

impl WindowCutter<'_> {
    /// Cuts a window into `scratch.window`, whose size it sets. `false` where all of it is the array's fill value
    /// for the sample's layer group because its blocks have nothing else: then nothing is written to the window.
    /// `missing` is told each block that is not stored.
    pub(crate) fn cut(
        &self,
        wanted: WindowRequest<'_>,
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<bool, ExtractError> {
        let WindowRequest { array, sample, .. } = wanted;
        let source = self.plan.source_of(array, sample);
        let cut = self.sources.array(array);
        let window = self.plan.window_of(array, sample);
        let channels = self.sources.volumes[source].meta().channels as usize;
        let out = Region {
            covers: &window,
            channels,
            value_bytes: cut.data_type().size_bytes(),
        };
        let fill_value = cut.fill_value(self.plan.group_of(sample));
        let mut buffer = std::mem::take(&mut scratch.window);
        buffer.resize(out.bytes(), 0);
        let any = match (cut.inside, cut.is_resampled()) {
            (true, _) => Ok(self.mark_inside(wanted, &out, &mut buffer)),
            (false, false) => self.gather(wanted, &out, fill_value, &mut buffer, scratch, missing),
            (false, true) => self.resample(wanted, &out, fill_value, &mut buffer, scratch, missing),
        };
        scratch.window = buffer;
        any
    }

    /// As [`WindowCutter::cut`], but the window is written in any case.
    pub(crate) fn cut_whole<'s>(
        &self,
        wanted: WindowRequest<'_>,
        scratch: &'s mut CutScratch,
    ) -> Result<&'s [u8], ExtractError> {
        if !self.cut(wanted, scratch, &mut |_| {})? {
            let cut = self.sources.array(wanted.array);
            cut.fill_value(self.plan.group_of(wanted.sample))
                .fill(cut.data_type().size_bytes(), &mut scratch.window);
        }
        Ok(&scratch.window)
    }

    /// Copies what the blocks of the sample's source have of `out.covers`, each value converted; the rest is
    /// `fill_value`. `false` where all would be `fill_value`: then nothing is written.
    fn gather(
        &self,
        wanted: WindowRequest<'_>,
        out: &Region<'_>,
        fill_value: Scalar,
        buffer: &mut [u8],
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<bool, ExtractError> {
        let source = self.plan.source_of(wanted.array, wanted.sample);
        let convert = self.sources.convert(wanted.array, source);
        let convert = convert.map(|c| (c, wanted.object));
        self.read_box(source, out, fill_value, convert, buffer, scratch, missing)
            .map(|found| found.other_values)
            .map_err(|e| self.failed(e, wanted, source))
    }

    /// Copies what the blocks of `source` have of `out.covers`, each value converted as `convert` says (for the object
    /// beside it); the rest is `fill_value`. Where all would be `fill_value`, nothing is written.
    #[allow(clippy::too_many_arguments, reason = "buffers are lent one by one")]
    pub(crate) fn read_box(
        &self,
        source: usize,
        out: &Region<'_>,
        fill_value: Scalar,
        convert: Option<(&Conversion, u64)>,
        buffer: &mut [u8],
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<BoxContents, CutError> {
        let CutScratch {
            stored,
            waiting,
            unwritten,
            ..
        } = scratch;
        unwritten.clear();
        waiting.clear();
        let mut read = WindowAssembler {
            meta: self.sources.volumes[source].meta(),
            out,
            fill_value,
            convert,
            buffer,
            unwritten,
            found: BoxContents::default(),
        };
        let mut take = |block: &Block, key: BlockKey| match block {
            Block::Missing if self.plan.config.missing == Missing::Error => {
                Err(CutError::Missing(key))
            }
            Block::Missing => {
                missing(key);
                read.missing(key);
                Ok(())
            }
            Block::Uniform(value) => Ok(read.uniform(*value, key)?),
            Block::Stored(values) => Ok(read.stored(values, key)?),
        };
        for key in schedule::blocks_of(&self.sources.volumes, source, out.covers) {
            let block = match self.cache.lookup(key) {
                Lookup::Ready(block) => block,
                Lookup::Claimed(claim) => claim.load(stored)?,
                Lookup::Busy => {
                    // Another thread is on it: there may be other blocks to copy or load meanwhile.
                    waiting.push(key);
                    continue;
                }
            };
            take(&block, key)?;
        }
        while let Some(key) = waiting.pop() {
            let block = match self.cache.wait(key) {
                Lookup::Ready(block) => block,
                Lookup::Claimed(claim) => claim.load(stored)?,
                Lookup::Busy => unreachable!("wait returns when nobody is loading the block"),
            };
            take(&block, key)?;
        }
        Ok(read.finish())
    }

    /// Makes the window of voxels at another resolution.
    fn resample(
        &self,
        wanted: WindowRequest<'_>,
        out: &Region<'_>,
        fill_value: Scalar,
        buffer: &mut [u8],
        scratch: &mut CutScratch,
        missing: &mut dyn FnMut(BlockKey),
    ) -> Result<bool, ExtractError> {
        let source = self.plan.source_of(wanted.array, wanted.sample);
        let meta = self.sources.volumes[source].meta();
        let resampled = self
            .sources
            .resampled(self.plan, wanted.array, wanted.sample);
        let Some(resampled) = resampled else {
            return Ok(false);
        };
        let source_box = resampled.source_box();
        let from = Region {
            covers: &source_box,
            channels: out.channels,
            value_bytes: meta.data_type.size_bytes(),
        };
        let [mut voxels, mut made] = std::mem::take(&mut scratch.voxels);
        voxels.resize(from.bytes(), 0);
        made.resize(out.bytes() / out.value_bytes * from.value_bytes, 0);
        let result = self
            .read_box(
                source,
                &from,
                meta.fill_value,
                None,
                &mut voxels,
                scratch,
                missing,
            )
            .and_then(|found| {
                if !found.stored {
                    // Not what the layer's own fill value becomes: the config may say another.
                    return Ok(false);
                }
                if !found.other_values {
                    meta.fill_value.fill(from.value_bytes, &mut voxels);
                }
                resampled.apply(out.channels, &voxels, &mut made);
                let support = resampled.support();
                let origin = out.covers.start;
                let support = VoxelBox {
                    start: std::array::from_fn(|d| origin[d] + support.start[d]),
                    end: std::array::from_fn(|d| origin[d] + support.end[d]),
                };
                if !resampled.is_supported() {
                    // What is not made becomes the fill value below. Until then it is a value that was made: what
                    // an earlier window left there, or the layer's own fill value, may not fit the array's type.
                    let unconverted = Region {
                        value_bytes: from.value_bytes,
                        ..*out
                    };
                    let some = unconverted.value(&made, support.start).unwrap_or_default();
                    fill_around(some, &support, &mut made, &unconverted);
                }
                match self.sources.convert(wanted.array, source) {
                    None => buffer.copy_from_slice(&made),
                    Some(convert) => convert
                        .row(&made, buffer, wanted.object)
                        .map_err(CutError::Value)?,
                }
                fill_around(fill_value, &support, buffer, out);
                Ok(true)
            });
        scratch.voxels = [voxels, made];
        result.map_err(|e| self.failed(e, wanted, source))
    }

    /// Writes 1 where the centre of the window's voxel lies inside of the volume, the fill value elsewhere. Whether
    /// any does.
    fn mark_inside(&self, wanted: WindowRequest<'_>, out: &Region<'_>, buffer: &mut [u8]) -> bool {
        let WindowRequest { array, sample, .. } = wanted;
        let cut = self.sources.array(array);
        cut.fill_value(self.plan.group_of(sample))
            .fill(out.value_bytes, buffer);
        let inside = padding::inside(self.plan, self.sources, array, sample);
        if let Some(inside) = &inside {
            fill(cut.one(), inside, buffer, out);
        }
        inside.is_some()
    }

    /// Why a block could not be fetched ahead, where that was told nobody.
    pub(crate) fn prefetch_failure(&self) -> Option<ExtractError> {
        let (source, e) = self.cache.take_prefetch_failure()?;
        let layer = self.plan.layer_of_source(source).to_owned();
        Some(ExtractError::Layer { layer, source: e })
    }

    /// The whole error.
    pub(crate) fn failed(
        &self,
        error: CutError,
        wanted: WindowRequest<'_>,
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
                array: self.plan.arrays[wanted.array].name.clone(),
                annotation_id: wanted.sample.annotation_id,
                layer,
                problem: source.to_string(),
            },
        }
    }
}

/// Why a window could not be cut; which window is not known yet.
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
