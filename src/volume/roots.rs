//! The roots of supervoxels, and volumes whose voxels are roots.
//!
//! Roots are looked up when a block is decoded, so that everything that reads the volume sees roots only. Supervoxels without a root are
//! an error, or are counted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

use super::{BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::MissingRoot;
use crate::data_type::{DataType, Scalar};

/// A supervoxel and its root.
pub(crate) type SupervoxelRoot = [u64; 2];

/// Most supervoxels whose roots are remembered while a block is decoded. The roots of others are looked up for each run of voxels.
const MOST_KNOWN: usize = 1 << 16;

/// Memory of the remembered roots: a map that grows has up to three places for each.
const KNOWN_BYTES: u64 = (3 * MOST_KNOWN * (size_of::<SupervoxelRoot>() + 1)) as u64;

/// Most supervoxels without a root that are counted.
const MOST_COUNTED: usize = 1 << 16;

/// Memory of those, as of [`KNOWN_BYTES`].
const COUNTED_BYTES: u64 = (3 * MOST_COUNTED * (size_of::<u64>() + 1)) as u64;

/// The roots of supervoxels.
#[derive(Debug)]
pub struct RootMap {
    /// Sorted, each supervoxel once.
    pairs: Vec<SupervoxelRoot>,
    /// The table, for messages.
    table: String,
    digest: blake3::Hash,
    /// The supervoxels without a root that were kept, and those that became 0.
    kept: Mutex<CountedIds>,
    zeroed: Mutex<CountedIds>,
}

/// Different ids, counted up to a limit.
#[derive(Debug, Default)]
struct CountedIds {
    ids: HashSet<u64, RandomState>,
    are_more: bool,
}

impl CountedIds {
    fn add(&mut self, id: u64) {
        if self.ids.len() < MOST_COUNTED {
            self.ids.insert(id);
        } else if !self.ids.contains(&id) {
            self.are_more = true;
        }
    }

    /// The number of ids, and the lowest one; `None` if there are none.
    fn describe(&self) -> Option<(String, u64)> {
        let lowest = self.ids.iter().min()?;
        let more = if self.are_more { "more than " } else { "" };
        Some((format!("{more}{}", self.ids.len()), *lowest))
    }
}

impl RootMap {
    /// The roots in `pairs`, which are sorted and have each supervoxel once; `table` is their table, for messages.
    pub(crate) fn new(pairs: Vec<SupervoxelRoot>, table: String) -> Self {
        let digest = blake3::hash(bytemuck::cast_slice(&pairs));
        Self {
            pairs,
            table,
            digest,
            kept: Mutex::default(),
            zeroed: Mutex::default(),
        }
    }

    /// Digest of the supervoxels and their roots.
    pub(crate) fn digest(&self) -> blake3::Hash {
        self.digest
    }

    /// Bytes that it takes at most.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.pairs.capacity() * size_of::<SupervoxelRoot>()) as u64 + 2 * COUNTED_BYTES
    }

    /// Warnings about supervoxels without a root in the blocks that were decoded.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let found = [
            (&self.kept, "stays itself", "keep"),
            (&self.zeroed, "is 0", "zero"),
        ];
        let warning = |(ids, becomes, missing): (&Mutex<CountedIds>, _, _)| {
            let ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, example) = ids.describe()?;
            Some(format!(
                "{count} supervoxel(s) in the chunks that were read have no row in {}, for example {example}: each {becomes}, because \
                 `layers.NAME.roots.missing` is \"{missing}\"",
                self.table
            ))
        };
        found.into_iter().filter_map(warning).collect()
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
                if known.len() < MOST_KNOWN {
                    known.insert(value, found);
                }
                (supervoxel, root) = (value, found);
            }
            *voxel = root.to_le_bytes();
        }
        Ok(())
    }

    /// The root of a supervoxel, or what it becomes without one; `None` if that is an error.
    fn root_of(&self, supervoxel: u64) -> Option<u64> {
        let missing = || {
            let (counted, root) = match self.missing {
                MissingRoot::Error => return None,
                MissingRoot::Keep => (&self.roots.kept, supervoxel),
                MissingRoot::Zero => (&self.roots.zeroed, 0),
            };
            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.add(supervoxel);
            Some(root)
        };
        self.roots.root_of(supervoxel).or_else(missing)
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

    fn is_image(&self) -> bool {
        self.inner.is_image()
    }

    fn roots(&self) -> Option<&RootMap> {
        Some(&self.roots)
    }

    fn decoding_bytes(&self) -> u64 {
        self.inner.decoding_bytes() + KNOWN_BYTES
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Resolution;
    use crate::storage::{Location, SourceUrl, Storage};

    /// A precomputed layer with one chunk of 64 x 64 x 64 supervoxels, with these roots.
    fn volume(pairs: Vec<SupervoxelRoot>, missing: MissingRoot) -> (Arc<dyn Volume>, Arc<RootMap>) {
        let folder = tempfile::tempdir().unwrap();
        let info = serde_json::json!({"type": "segmentation", "data_type": "uint64", "num_channels": 1, "scales": [{
            "key": "s", "size": [64, 64, 64], "resolution": [4, 4, 40], "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}]});
        std::fs::write(folder.path().join("info"), info.to_string()).unwrap();
        let url = format!("precomputed://file://{}", folder.path().display());
        let source = SourceUrl::parse(&url, &Location::Local(Default::default())).unwrap();
        let resolution = Resolution::new([4.0, 4.0, 40.0]).unwrap();
        let inner = crate::volume::open(&source, &resolution, &Storage::default()).unwrap();
        let roots = Arc::new(RootMap::new(pairs, "roots.csv".to_owned()));
        (with_roots(inner, roots.clone(), missing).unwrap(), roots)
    }

    /// Decodes a chunk of these supervoxels.
    fn decode(volume: &dyn Volume, supervoxels: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut encoded = EncodedBlock::default();
        encoded.bytes.extend(supervoxels.flat_map(u64::to_le_bytes));
        let mut values = Vec::new();
        volume.decode([0; 3], &mut encoded, &mut values).unwrap();
        let (values, _) = values.as_chunks();
        values
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .collect()
    }

    const VOXELS: u64 = 64 * 64 * 64;

    #[test]
    fn a_block_may_have_more_supervoxels_than_are_remembered() {
        let pairs = (1..=VOXELS).map(|id| [id, id + 7]).collect();
        let (volume, roots) = volume(pairs, MissingRoot::Error);
        // Each occurs twice.
        let supervoxels = (0..VOXELS).map(|i| i % (VOXELS / 2) + 1);
        let found = decode(volume.as_ref(), supervoxels.clone());
        assert!(found.into_iter().eq(supervoxels.map(|id| id + 7)));
        assert!(volume.decoding_bytes() >= KNOWN_BYTES && roots.warnings().is_empty());
    }

    #[test]
    fn supervoxels_without_a_root_are_counted_once_each() {
        for (missing, word) in [(MissingRoot::Zero, "is 0"), (MissingRoot::Keep, "itself")] {
            let (volume, roots) = volume(vec![[5, 50]], missing);
            for _ in 0..2 {
                decode(volume.as_ref(), (0..VOXELS).map(|i| 4 + i % 4));
            }
            let [warning] = &roots.warnings()[..] else {
                panic!()
            };
            assert!(
                warning.starts_with("3 supervoxel(s)")
                    && warning.contains("roots.csv, for example 4")
                    && warning.contains(word),
                "{warning}"
            );
            decode(volume.as_ref(), 10..10 + VOXELS);
            let warning = &roots.warnings()[0];
            assert!(
                warning.starts_with("more than 65536 supervoxel(s)"),
                "{warning}"
            );
        }
    }
}
