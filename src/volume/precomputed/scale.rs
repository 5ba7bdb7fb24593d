//! One scale of an info file, with its members checked. Only the scale in use is parsed.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::encoding::Encoding;
use super::picture::PictureFormat;
use super::segmentation::SegmentationFormat;
use crate::data_type::DataType;
use crate::geometry::{MAX_VOXEL, VoxelBox};
use crate::neuroglancer::{JsonInteger, MortonGrid, ShardingSpec};
use crate::storage::Location;
use crate::volume::{BlockGrid, VolumeError};

/// The members of a scale in the info file.
#[derive(Deserialize)]
pub(super) struct ScaleInfo {
    key: String,
    size: [JsonInteger; 3],
    voxel_offset: Option<[JsonInteger; 3]>,
    chunk_sizes: Option<ChunkSizes>,
    /// Another name for a single chunk shape that some tools write. Info files of annotations have it too.
    chunk_size: Option<Value>,
    encoding: String,
    /// Parsed only if the encoding needs it.
    compressed_segmentation_block_size: Option<Value>,
    sharding: Option<Value>,
}

/// The first chunk shape. A single shape may be written without a list around it.
struct ChunkSizes(Option<[JsonInteger; 3]>);

impl<'de> Deserialize<'de> for ChunkSizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let sizes = Vec::<Value>::deserialize(deserializer)?;
        let shape = match &sizes[..] {
            [] => return Ok(Self(None)),
            [first @ Value::Array(_), ..] => first.clone(),
            _ => Value::Array(sizes),
        };
        let shape = three_whole(&shape).map_err(D::Error::custom)?;
        Ok(Self(Some(shape.map(JsonInteger))))
    }
}

/// Parses three whole numbers. The error is a description for the user.
fn three_whole(value: &Value) -> Result<[i64; 3], String> {
    <[JsonInteger; 3]>::deserialize(value)
        .map(|numbers| numbers.map(|n| n.0))
        .map_err(|_| format!("found {value}, expected three whole numbers"))
}

impl ScaleInfo {
    /// Parses `scale`. `bad` gets the path inside the scale, which is empty or starts with `.`.
    pub(super) fn parse(
        scale: &Value,
        invalid: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Self, VolumeError> {
        serde_path_to_error::deserialize(scale).map_err(|e| {
            let path = match e.path().to_string().as_str() {
                "." => String::new(),
                path => format!(".{path}"),
            };
            invalid(&path, e.into_inner().to_string())
        })
    }

    /// The grid of chunks.
    pub(super) fn grid(
        &self,
        invalid: impl Fn(&str, String) -> VolumeError,
    ) -> Result<BlockGrid, VolumeError> {
        let size = self.size.map(|n| n.0);
        let offset = self.voxel_offset.unwrap_or_default().map(|v| v.0);
        if !size.iter().all(|n| (1..=MAX_VOXEL).contains(n)) {
            return Err(invalid(
                "size",
                format!("found {size:?}, expected whole numbers from 1"),
            ));
        }
        if !offset.iter().all(|v| (-MAX_VOXEL..=MAX_VOXEL).contains(v)) {
            return Err(invalid(
                "voxel_offset",
                format!("found {offset:?}, which is out of range"),
            ));
        }
        let chunk = self.chunk_shape(&invalid)?;
        if !chunk.iter().all(|n| (1..=i64::from(u32::MAX)).contains(n)) {
            return Err(invalid(
                "chunk_sizes",
                format!("found {chunk:?}, expected whole numbers from 1"),
            ));
        }
        let bounds = VoxelBox {
            start: offset,
            end: std::array::from_fn(|d| offset[d] + size[d]),
        };
        BlockGrid::new(bounds, chunk.map(|n| n as u32)).ok_or_else(|| {
            let problem = format!(
                "found {size:?} in chunks of {chunk:?}, which is more than 2^64 chunks: the file is damaged"
            );
            invalid("size", problem)
        })
    }

    /// The shape of chunks.
    fn chunk_shape(
        &self,
        invalid: impl Fn(&str, String) -> VolumeError,
    ) -> Result<[i64; 3], VolumeError> {
        match (&self.chunk_sizes, &self.chunk_size) {
            (Some(ChunkSizes(Some(shape))), _) => Ok(shape.map(|n| n.0)),
            (None, Some(shape)) => three_whole(shape).map_err(|e| invalid("chunk_size", e)),
            (Some(ChunkSizes(None)), _) | (None, None) => Err(invalid(
                "chunk_sizes",
                "found no chunk size, expected one, such as [[64, 64, 64]]".into(),
            )),
        }
    }

    /// The encoding of chunks.
    pub(super) fn encoding(
        &self,
        data_type: DataType,
        channels: u32,
        invalid: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Encoding, VolumeError> {
        match self.encoding.to_ascii_lowercase().as_str() {
            "raw" => Ok(Encoding::Raw),
            "compressed_segmentation" => {
                if !matches!(data_type, DataType::UInt32 | DataType::UInt64) {
                    return Err(invalid(
                        "encoding",
                        format!(
                            "found compressed_segmentation of {data_type}, expected uint32 or uint64"
                        ),
                    ));
                }
                let field = "compressed_segmentation_block_size";
                let block = match &self.compressed_segmentation_block_size {
                    Some(block) => three_whole(block).map_err(|e| invalid(field, e))?,
                    None => {
                        let problem = "it is missing, expected three whole numbers";
                        return Err(invalid(field, problem.into()));
                    }
                };
                if !block.iter().all(|n| (1..=1024).contains(n)) {
                    return Err(invalid(
                        field,
                        format!("found {block:?}, expected whole numbers from 1 to 1024"),
                    ));
                }
                Ok(Encoding::CompressedSegmentation {
                    block: block.map(|n| n as u32),
                })
            }
            other => {
                let picture = PictureFormat::from_name(other);
                let segmentation = SegmentationFormat::from_name(other);
                let (encoding, unsupported) = match (picture, segmentation) {
                    (Some(format), _) => (
                        Encoding::Picture(format),
                        format.unsupported(data_type, channels),
                    ),
                    (None, Some(format)) => (
                        Encoding::Segmentation(format),
                        format.unsupported(data_type, channels),
                    ),
                    (None, None) => {
                        let problem = format!(
                            "found {other:?}, which is not supported; expected raw, compressed_segmentation, compresso, \
                             crackle, jpeg, png or jxl: convert the layer to one of them, for example with CloudVolume"
                        );
                        return Err(invalid("encoding", problem));
                    }
                };
                match unsupported {
                    None => Ok(encoding),
                    Some(expected) => Err(invalid(
                        "encoding",
                        format!(
                            "found {other} of {data_type} with {channels} channel(s), expected {expected}"
                        ),
                    )),
                }
            }
        }
    }

    /// The sharding specification and the ids of chunks. `None` if each chunk is a file.
    pub(super) fn sharding(
        &self,
        grid: &BlockGrid,
        invalid: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Option<(ShardingSpec, MortonGrid)>, VolumeError> {
        let Some(value) = self.sharding.as_ref().filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        let spec = ShardingSpec::parse(value).map_err(|wrong| {
            invalid(
                &format!("sharding.{}", wrong.field),
                format!("found {}, expected {}", wrong.found, wrong.expected),
            )
        })?;
        let ids = MortonGrid::new(&grid.shape())
            .map_err(|e| invalid("chunk_sizes", format!("the chunks form {e}")))?;
        Ok(Some((spec, ids)))
    }

    /// The folder of the scale. The format defines `key` as a path relative to the volume, which may contain `..`.
    pub(super) fn location(
        &self,
        volume: &Location,
        invalid: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Location, VolumeError> {
        let key = &self.key;
        if key.is_empty() || key.contains("://") || Path::new(key).is_absolute() {
            return Err(invalid(
                "key",
                format!("found {key:?}, expected a relative path"),
            ));
        }
        Ok(volume.join(key))
    }
}
