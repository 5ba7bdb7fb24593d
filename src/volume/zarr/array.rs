//! A Zarr array: interprets its metadata, and reads and decodes its chunks.

use std::borrow::Cow;
use std::sync::Arc;

use zarrs::array::{Array, ArrayMetadata, CodecChain, DataType as ZarrDataType};
use zarrs::metadata::v3::MetadataV3;
use zarrs::plugin::ExtensionName;
use zarrs::storage::store::MemoryStore;

use super::codecs::{Codecs, decoded_bytes};
use super::node::{Node, NodeKind};
use super::shard::{ShardIndexes, ShardingMetadata};
use crate::catch_panic::catch_library_panic;
use crate::data_type::DataType;
use crate::data_type::Scalar;
use crate::storage::{Extent, Store, read_run};
use crate::volume::VolumeError;

/// Largest number of dimensions.
const MAX_RANK: usize = 16;

/// An array and how its blocks are stored.
#[derive(Debug)]
pub(super) struct ZarrArray {
    path: String,
    /// Used for the keys of chunks only. Its store is empty, because bytes are read from our storage.
    keys: Array<MemoryStore>,
    block_shape: Vec<u64>,
    codecs: Codecs,
    shards: Option<ShardIndexes>,
    pub data_type: DataType,
    pub fill_value: Scalar,
}

impl ZarrArray {
    /// Interprets the metadata in `node` of the array in the folder `path`.
    pub(super) fn new(path: &str, node: &Node) -> Result<Self, VolumeError> {
        let panicked = |problem| node.invalid(".".into(), problem);
        catch_library_panic("zarrs", || Self::build(path, node), panicked)
    }

    fn build(path: &str, node: &Node) -> Result<Self, VolumeError> {
        let NodeKind::Array(metadata) = &node.kind else {
            return Err(node.invalid(".".into(), "found a group, expected an array".into()));
        };
        let invalid = |path: &str, problem: String| node.invalid(path.into(), problem);
        let shape = check_shape(metadata).map_err(|e| invalid("shape", e))?;
        let storage = Arc::new(MemoryStore::new());
        let array = Array::new_with_metadata(storage, "/", metadata.as_ref().clone())
            .map_err(|e| invalid(".", e.to_string()))?;
        let value_type = array.data_type().clone();
        let data_type = data_type(&value_type).map_err(|e| invalid("data_type", e))?;
        let chunk_shape = array
            .chunk_grid()
            .chunk_shape(&vec![0; shape.len()])
            .map_err(|e| invalid("chunk_grid", e.to_string()))?
            .ok_or_else(|| invalid("chunk_grid", "found no chunk shape".into()))?;
        let fill_value =
            Scalar::from_le_bytes(array.fill_value().as_ne_bytes()).ok_or_else(|| {
                invalid(
                    "fill_value",
                    "found more bytes than a voxel's value has".into(),
                )
            })?;
        let (codecs, block_shape, shards) = match sharding(metadata) {
            Some(sharding) => {
                let sharding = sharding.map_err(|e| invalid("codecs[0]", e))?;
                let shards = ShardIndexes::new(&sharding, &chunk_shape)
                    .map_err(|e| invalid("codecs[0]", e))?;
                let chain = CodecChain::from_metadata(&sharding.codecs)
                    .map_err(|e| invalid("codecs[0].configuration.codecs", e.to_string()))?;
                (Arc::new(chain), sharding.chunk_shape, Some(shards))
            }
            None => (array.codecs(), chunk_shape, None),
        };
        decoded_bytes(&block_shape, data_type.size_bytes())
            .map_err(|e| invalid("chunk_grid", e))?;
        let codecs = Codecs::new(
            &codecs,
            block_shape.clone(),
            value_type,
            array.fill_value().clone(),
        )
        .map_err(|e| invalid("codecs", e))?;
        Ok(Self {
            path: path.to_owned(),
            keys: array,
            block_shape: block_shape.iter().map(|n| n.get()).collect(),
            codecs,
            shards,
            data_type,
            fill_value,
        })
    }

    /// The array's folder.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Length of each dimension.
    pub(super) fn shape(&self) -> &[u64] {
        self.keys.shape()
    }

    /// Length of each dimension of a block: an inner chunk of a sharded array, otherwise a chunk.
    pub(super) fn block_shape(&self) -> &[u64] {
        &self.block_shape
    }

    /// Reads the stored bytes of a block into `into`. Returns `false` if it is missing.
    pub(super) fn read(
        &self,
        store: &dyn Store,
        block: &[u64],
        into: &mut Vec<u8>,
    ) -> Result<bool, VolumeError> {
        if self.shards.is_none() {
            let limit_bytes = self.codecs.encoded_limit_bytes();
            return Ok(store.read(&self.key(block), limit_bytes, into)?);
        }
        into.clear();
        match self.extent(store, block)? {
            None => Ok(false),
            Some(extent) => self.read_run(store, block, &[extent], &mut [into]),
        }
    }

    /// Prefetches a block. For a block in a shard, reads the shard's index; errors are left to the read of the block.
    pub(super) fn prefetch(&self, store: &dyn Store, block: &[u64]) {
        if self.shards.is_none() {
            store.prefetch(&self.key(block), None);
        } else if let Ok(Some(extent)) = self.extent(store, block) {
            store.prefetch(&extent.key, Some(extent.bytes));
        }
    }

    /// Whether several blocks share an object.
    pub(super) fn is_sharded(&self) -> bool {
        self.shards.is_some()
    }

    /// A number that all blocks of a shard share.
    pub(super) fn group_key(&self, block: &[u64]) -> u64 {
        let shard = self.shards.as_ref().map(|shards| shards.locate(block).0);
        // A collision between two shards is unlikely and harmless.
        let mix = |h: u64, i: u64| (h ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        shard.into_iter().flatten().fold(0, mix)
    }

    /// Where a block is in its shard. `None` if it is missing or the array is not sharded.
    pub(super) fn extent(
        &self,
        store: &dyn Store,
        block: &[u64],
    ) -> Result<Option<Extent>, VolumeError> {
        let Some(shards) = &self.shards else {
            return Ok(None);
        };
        let (shard, number) = shards.locate(block);
        let key = self.key(&shard);
        let Some(bytes) = shards.range(store, &key, number)? else {
            return Ok(None);
        };
        let (size, limit_bytes) = (bytes.end - bytes.start, self.codecs.encoded_limit_bytes());
        if size > limit_bytes {
            return Err(VolumeError::Chunk {
                object: self.describe(store, block),
                problem: format!(
                    "found {size} bytes according to the shard index, expected at most {limit_bytes}"
                ),
            });
        }
        Ok(Some(Extent { key, bytes }))
    }

    /// Reads several blocks of one shard with one request. `first` is the first block, for messages.
    pub(super) fn read_run(
        &self,
        store: &dyn Store,
        first: &[u64],
        extents: &[Extent],
        into: &mut [&mut Vec<u8>],
    ) -> Result<bool, VolumeError> {
        if !read_run(store, extents, into)? {
            return Err(VolumeError::Chunk {
                object: self.describe(store, first),
                problem: "its shard was deleted after its index was read".into(),
            });
        }
        Ok(true)
    }

    /// Decodes a whole block, to C order and little-endian. The error is a description for the user.
    pub(super) fn decode<'b>(&self, encoded: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        self.codecs.decode(encoded)
    }

    /// The block's file, with the number of the inner chunk in a shard, for messages.
    pub(super) fn describe(&self, store: &dyn Store, block: &[u64]) -> String {
        match &self.shards {
            None => store.describe(&self.key(block)),
            Some(shards) => {
                let (shard, number) = shards.locate(block);
                format!(
                    "{} (inner chunk {number})",
                    store.describe(&self.key(&shard))
                )
            }
        }
    }

    /// Indices of the stored chunk or shard that contains a block.
    pub(super) fn chunk_of(&self, block: &[u64]) -> Vec<u64> {
        let shards = self.shards.as_ref();
        shards.map_or_else(|| block.to_vec(), |shards| shards.locate(block).0)
    }

    /// The key of a chunk or shard.
    pub(super) fn key(&self, chunk: &[u64]) -> String {
        self.in_folder(self.keys.chunk_key(chunk).as_str())
    }

    /// The key of the file `name` in the array's folder.
    pub(super) fn in_folder(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        }
    }
}

/// Checks the array's shape, which zarrs does not.
fn check_shape(metadata: &ArrayMetadata) -> Result<Vec<u64>, String> {
    let shape = match metadata {
        ArrayMetadata::V2(metadata) => &metadata.shape,
        ArrayMetadata::V3(metadata) => &metadata.shape,
    };
    if !(3..=MAX_RANK).contains(&shape.len()) {
        return Err(format!(
            "found {} dimension(s), expected 3 to {MAX_RANK}",
            shape.len()
        ));
    }
    if !shape.iter().all(|n| (1..=1 << 62).contains(n)) {
        return Err(format!("found {shape:?}, expected whole numbers from 1"));
    }
    Ok(shape.clone())
}

/// The sharding configuration if `sharding_indexed` is the array's only codec. With other codecs around it, whole shards
/// are the blocks.
fn sharding(metadata: &ArrayMetadata) -> Option<Result<ShardingMetadata, String>> {
    let ArrayMetadata::V3(metadata) = metadata else {
        return None;
    };
    let [codec] = metadata.codecs.as_slice() else {
        return None;
    };
    let configuration = |codec: &MetadataV3| {
        codec
            .to_typed_configuration::<ShardingMetadata>()
            .map_err(|e| e.to_string())
    };
    (codec.name() == "sharding_indexed").then(|| configuration(codec))
}

fn data_type(found: &ZarrDataType) -> Result<DataType, String> {
    let name = found.name_v3().unwrap_or_default();
    match name.as_ref() {
        "bool" => Ok(DataType::UInt8),
        name => DataType::from_name(name).ok_or_else(|| {
            let names: Vec<_> = DataType::ALL.iter().map(|t| t.name()).collect();
            format!(
                "found {name:?}, expected bool or one of {}",
                names.join(", ")
            )
        }),
    }
}
