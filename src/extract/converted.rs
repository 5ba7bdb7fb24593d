//! A volume whose blocks hold converted values: each value is converted once, when its block is decoded, not once per
//! window.

use std::sync::Arc;

use crate::data_type::Scalar;
use crate::volume::{
    BlockIndex, ChunkGroups, EncodedBlock, RootMap, Volume, VolumeError, VolumeMeta,
};
use crate::voxels::Conversion;

/// A volume with converted values.
#[derive(Debug)]
pub(super) struct ConvertedVolume {
    inner: Arc<dyn Volume>,
    conversion: Conversion,
    meta: VolumeMeta,
}

impl ConvertedVolume {
    /// `inner` with its values converted; `fill_value` is in the type after the conversion.
    pub(super) fn new(inner: Arc<dyn Volume>, conversion: Conversion, fill_value: Scalar) -> Self {
        let meta = VolumeMeta {
            data_type: conversion.to(),
            fill_value,
            ..inner.meta().clone()
        };
        Self {
            inner,
            conversion,
            meta,
        }
    }
}

impl Volume for ConvertedVolume {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.inner.describe_block(block)
    }

    fn redirected_to(&self) -> Option<String> {
        self.inner.redirected_to()
    }

    fn is_image(&self) -> bool {
        self.inner.is_image()
    }

    fn roots(&self) -> Option<&RootMap> {
        self.inner.roots()
    }

    fn decoding_bytes(&self) -> u64 {
        self.inner.decoding_bytes()
    }

    fn round_trips(&self) -> usize {
        self.inner.round_trips()
    }

    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        self.inner.chunk_groups()
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.inner.digest()
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        self.inner.fetch(block, encoded)
    }

    fn prefetch(&self, block: BlockIndex) {
        self.inner.prefetch(block);
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let mut decoded = std::mem::take(&mut encoded.decoded);
        let result = self.inner.decode(block, encoded, &mut decoded);
        encoded.decoded = decoded;
        result?;
        let region = self.meta.grid.block_box(block);
        values.resize(self.meta.block_bytes(&region), 0);
        self.conversion
            .convert(&encoded.decoded, values)
            .map_err(|e| VolumeError::Chunk {
                object: self.inner.describe_block(block),
                problem: e.to_string(),
            })
    }
}
