//! One scale of an info: its members checked against limits. Only the scale that is read comes here.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::encoding::Encoding;
use super::picture::PictureFormat;
use crate::data_type::DataType;
use crate::geometry::{MAX_VOXEL, VoxelBox};
use crate::neuroglancer::{JsonInteger, MortonGrid, ShardingSpec};
use crate::storage::Location;
use crate::volume::{BlockGrid, VolumeError};

/// The members of a scale as written.
#[derive(Deserialize)]
pub(super) struct ScaleInfo {
    key: String,
    size: [JsonInteger; 3],
    voxel_offset: Option<[JsonInteger; 3]>,
    chunk_sizes: Option<ChunkSizes>,
    /// What some writers call the one shape of chunks; annotations have a member of this name.
    chunk_size: Option<Value>,
    encoding: String,
    /// What is wrong with it matters only where chunks are encoded so.
    compressed_segmentation_block_size: Option<Value>,
    sharding: Option<Value>,
}

/// The shapes of chunks, of which the first counts; one alone may stand without a list around it.
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

/// The three whole numbers that `value` is, or what is wrong with it.
fn three_whole(value: &Value) -> Result<[i64; 3], String> {
    <[JsonInteger; 3]>::deserialize(value)
        .map(|numbers| numbers.map(|n| n.0))
        .map_err(|_| format!("found {value}, expected three whole numbers"))
}

impl ScaleInfo {
    /// Understands `scale`. `bad` takes the path in the scale, which begins with `.` or is empty.
    pub(super) fn parse(
        scale: &Value,
        bad: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Self, VolumeError> {
        serde_path_to_error::deserialize(scale).map_err(|e| {
            let path = match e.path().to_string().as_str() {
                "." => String::new(),
                path => format!(".{path}"),
            };
            bad(&path, e.into_inner().to_string())
        })
    }

    /// The grid of its chunks.
    pub(super) fn grid(
        &self,
        bad: impl Fn(&str, String) -> VolumeError,
    ) -> Result<BlockGrid, VolumeError> {
        let size = self.size.map(|n| n.0);
        let offset = self.voxel_offset.unwrap_or_default().map(|v| v.0);
        if !size.iter().all(|n| (1..=MAX_VOXEL).contains(n)) {
            return Err(bad(
                "size",
                format!("found {size:?}, expected whole numbers from 1"),
            ));
        }
        if !offset.iter().all(|v| (-MAX_VOXEL..=MAX_VOXEL).contains(v)) {
            return Err(bad(
                "voxel_offset",
                format!("found {offset:?}, out of range"),
            ));
        }
        let chunk = self.chunk_shape(&bad)?;
        if !chunk.iter().all(|n| (1..=i64::from(u32::MAX)).contains(n)) {
            return Err(bad(
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
                "found {size:?}, in chunks of {chunk:?} more chunks than can be numbered, 2^64: the file is damaged"
            );
            bad("size", problem)
        })
    }

    /// The shape of its chunks.
    fn chunk_shape(
        &self,
        bad: impl Fn(&str, String) -> VolumeError,
    ) -> Result<[i64; 3], VolumeError> {
        match (&self.chunk_sizes, &self.chunk_size) {
            (Some(ChunkSizes(Some(shape))), _) => Ok(shape.map(|n| n.0)),
            (None, Some(shape)) => three_whole(shape).map_err(|e| bad("chunk_size", e)),
            (Some(ChunkSizes(None)), _) | (None, None) => Err(bad(
                "chunk_sizes",
                "found no chunk size, expected one, such as [[64, 64, 64]]".into(),
            )),
        }
    }

    /// How its chunks are encoded.
    pub(super) fn encoding(
        &self,
        data_type: DataType,
        channels: u32,
        bad: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Encoding, VolumeError> {
        match self.encoding.to_ascii_lowercase().as_str() {
            "raw" => Ok(Encoding::Raw),
            "compressed_segmentation" => {
                if !matches!(data_type, DataType::UInt32 | DataType::UInt64) {
                    return Err(bad(
                        "encoding",
                        format!(
                            "found compressed_segmentation of {data_type}, expected uint32 or uint64"
                        ),
                    ));
                }
                let field = "compressed_segmentation_block_size";
                let block = match &self.compressed_segmentation_block_size {
                    Some(block) => three_whole(block).map_err(|e| bad(field, e))?,
                    None => {
                        let problem = "it is missing, expected three whole numbers";
                        return Err(bad(field, problem.into()));
                    }
                };
                if !block.iter().all(|n| (1..=1024).contains(n)) {
                    return Err(bad(
                        field,
                        format!("found {block:?}, expected whole numbers from 1 to 1024"),
                    ));
                }
                Ok(Encoding::CompressedSegmentation {
                    block: block.map(|n| n as u32),
                })
            }
            other => {
                let format = PictureFormat::from_name(other).ok_or_else(|| {
                    let problem = format!(
                        "found {other:?}, which is not read; expected raw, compressed_segmentation, jpeg, png or jxl: \
                         write the layer again in one of them, as CloudVolume can"
                    );
                    bad("encoding", problem)
                })?;
                match format.cannot_hold(data_type, channels) {
                    None => Ok(Encoding::Picture(format)),
                    Some(expected) => Err(bad(
                        "encoding",
                        format!(
                            "found {other} of {data_type} with {channels} channel(s), expected {expected}"
                        ),
                    )),
                }
            }
        }
    }

    /// How its chunks are found in shards, and their ids; `None` where each chunk is a file.
    pub(super) fn sharding(
        &self,
        grid: &BlockGrid,
        bad: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Option<(ShardingSpec, MortonGrid)>, VolumeError> {
        let Some(value) = self.sharding.as_ref().filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        let spec = ShardingSpec::parse(value).map_err(|wrong| {
            bad(
                &format!("sharding.{}", wrong.field),
                format!("found {}, expected {}", wrong.found, wrong.expected),
            )
        })?;
        let ids = MortonGrid::new(&grid.shape())
            .map_err(|e| bad("chunk_sizes", format!("they make {e}")))?;
        Ok(Some((spec, ids)))
    }

    /// Where it lies. By the format `key` is a path relative to the volume and may climb with `..`.
    pub(super) fn location(
        &self,
        volume: &Location,
        bad: impl Fn(&str, String) -> VolumeError,
    ) -> Result<Location, VolumeError> {
        let key = &self.key;
        match key.is_empty() || key.contains("://") || Path::new(key).is_absolute() {
            true => Err(bad(
                "key",
                format!("found {key:?}, expected a relative path"),
            )),
            false => Ok(volume.join(key)),
        }
    }
}
