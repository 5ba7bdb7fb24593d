//! The roots of supervoxels, and volumes whose voxels are roots.
//!
//! Roots are looked up when a block is decoded, so that everything that reads the volume sees roots only.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::MissingRoot;
use crate::data_type::{DataType, Scalar};

/// A supervoxel and its root.
pub(crate) type SupervoxelRoot = [u64; 2];

/// The roots of supervoxels.
#[derive(Debug)]
pub struct RootMap {
    /// Sorted, each supervoxel once.
    pairs: Vec<SupervoxelRoot>,
    /// The table, for messages.
    table: String,
    digest: blake3::Hash,
}

impl RootMap {
    /// The roots in `pairs`, which are sorted and have each supervoxel once; `table` is their table, for messages.
    pub(crate) fn new(pairs: Vec<SupervoxelRoot>, table: String) -> Self {
        let digest = blake3::hash(bytemuck::cast_slice(&pairs));
        Self {
            pairs,
            table,
            digest,
        }
    }

    /// Digest of the supervoxels and their roots.
    pub(crate) fn digest(&self) -> blake3::Hash {
        self.digest
    }

    /// Bytes that it takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.pairs.capacity() * size_of::<SupervoxelRoot>()) as u64
    }

    /// The root of a supervoxel; `None` if it is not in the table.
    fn root_of(&self, supervoxel: u64) -> Option<u64> {
        if supervoxel == 0 {
            return Some(0);
        }
        let found = self.pairs.binary_search_by_key(&supervoxel, |pair| pair[0]);
        found.ok().map(|place| self.pairs[place][1])
    }
}

/// A volume of supervoxels, whose voxels are replaced by the roots of their supervoxels.
#[derive(Debug)]
struct RootsVolume {
    inner: Arc<dyn Volume>,
    roots: Arc<RootMap>,
    missing: MissingRoot,
    meta: VolumeMeta,
    digest: blake3::Hash,
}

/// `inner` with each supervoxel replaced by its root. `missing` says what one without a root becomes.
///
/// # Errors
/// The values are not of type `uint64`, or the fill value has no root.
pub fn with_roots(
    inner: Arc<dyn Volume>,
    roots: Arc<RootMap>,
    missing: MissingRoot,
) -> Result<Arc<dyn Volume>, VolumeError> {
    let data_type = inner.meta().data_type;
    if data_type != DataType::UInt64 {
        return Err(VolumeError::RootsOfType {
            location: inner.describe(),
            data_type,
        });
    }
    let digests = [inner.digest(), roots.digest()].map(|digest| *digest.as_bytes());
    let mut volume = RootsVolume {
        meta: inner.meta().clone(),
        digest: blake3::hash(digests.as_flattened()),
        inner,
        roots,
        missing,
    };
    let mut fill = *volume
        .meta
        .fill_value
        .bytes(8)
        .first_chunk()
        .unwrap_or(&[0; 8]);
    volume.replace(std::slice::from_mut(&mut fill), || {
        format!("the fill value of {}", volume.inner.describe())
    })?;
    volume.meta.fill_value = Scalar::from_array(fill);
    Ok(Arc::new(volume))
}

impl RootsVolume {
    /// Replaces each supervoxel by its root. `place` says where they are, for messages.
    fn replace(
        &self,
        voxels: &mut [[u8; 8]],
        place: impl FnOnce() -> String,
    ) -> Result<(), VolumeError> {
        let mut known: HashMap<u64, u64, RandomState> = HashMap::default();
        let (mut supervoxel, mut root) = (0, 0);
        for voxel in voxels {
            let value = u64::from_le_bytes(*voxel);
            if value != supervoxel {
                let found = known.get(&value).copied();
                let Some(found) = found.or_else(|| self.root_of(value)) else {
                    return Err(VolumeError::NoRoot {
                        supervoxel: value,
                        place: place(),
                        table: self.roots.table.clone(),
                    });
                };
                known.insert(value, found);
                (supervoxel, root) = (value, found);
            }
            *voxel = root.to_le_bytes();
        }
        Ok(())
    }

    fn root_of(&self, supervoxel: u64) -> Option<u64> {
        let missing = match self.missing {
            MissingRoot::Error => None,
            MissingRoot::Keep => Some(supervoxel),
            MissingRoot::Zero => Some(0),
        };
        self.roots.root_of(supervoxel).or(missing)
    }
}

impl Volume for RootsVolume {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        self.inner.describe_block(block)
    }

    fn redirected_to(&self) -> Option<String> {
        self.inner.redirected_to()
    }

    fn roots(&self) -> Option<&RootMap> {
        Some(&self.roots)
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
        self.digest
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
        self.inner.decode(block, encoded, values)?;
        let (voxels, _) = values.as_chunks_mut();
        self.replace(voxels, || self.inner.describe_block(block))
    }
}
