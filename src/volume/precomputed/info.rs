//! The info file of a precomputed volume: parsed, checked against limits, and one scale chosen.

use std::path::Path;

use serde::Deserialize;

use super::encoding::Encoding;
use super::picture::Format;
use crate::data_type::{DataType, FillValue};
use crate::geometry::{MAX_VOXEL, Resolution, VoxelBox};
use crate::neuroglancer::{MortonGrid, ShardingSpec};
use crate::storage::{Location, read_document};
use crate::volume::{BlockGrid, MAX_BLOCK_BYTES, VolumeError, VolumeMeta};

const EXPECTED: &str = "the info file of a Neuroglancer precomputed volume";

/// Most channels that are accepted: a guard against sizes that a damaged file claims.
const MAX_CHANNELS: u32 = 1 << 16;

/// The scale that was asked for.
pub(super) struct Scale {
    pub location: Location,
    pub meta: VolumeMeta,
    pub encoding: Encoding,
    /// How chunks are found in shards, and their ids.
    pub sharding: Option<(ShardingSpec, MortonGrid)>,
    pub digest: blake3::Hash,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "@type")]
    kind: Option<String>,
    data_type: String,
    num_channels: u32,
    scales: Vec<ScaleInfo>,
}

#[derive(Deserialize)]
struct ScaleInfo {
    key: String,
    resolution: [f64; 3],
    size: [i64; 3],
    #[serde(default)]
    voxel_offset: [i64; 3],
    chunk_sizes: Vec<[i64; 3]>,
    encoding: String,
    compressed_segmentation_block_size: Option<[i64; 3]>,
    sharding: Option<serde_json::Value>,
}

/// Reads the info file in `location` and picks the scale that matches `wanted`.
pub(super) fn read(location: &Location, wanted: &Resolution) -> Result<Scale, VolumeError> {
    let store = location.open();
    let value: serde_json::Value = read_document(store.as_ref(), "info", EXPECTED)?;
    let object = store.describe("info");
    let bad = |path: String, problem: String| VolumeError::BadInfo {
        object: object.clone(),
        path,
        problem,
    };
    if let Some(kind @ "neuroglancer_annotations_v1") = value["@type"].as_str() {
        return Err(bad(
            "@type".into(),
            format!("found {kind:?}, an annotation layer, expected a volume"),
        ));
    }
    let info: Info = serde_path_to_error::deserialize(&value).map_err(|e| {
        bad(
            e.path().to_string(),
            format!("{}: this is not {EXPECTED}", e.inner()),
        )
    })?;
    if let Some(kind) = info.kind.filter(|k| k != "neuroglancer_multiscale_volume") {
        return Err(bad(
            "@type".into(),
            format!("found {kind:?}, expected \"neuroglancer_multiscale_volume\""),
        ));
    }
    let data_type = DataType::from_name(&info.data_type).ok_or_else(|| {
        let names: Vec<_> = DataType::ALL.iter().map(|t| t.name()).collect();
        bad(
            "data_type".into(),
            format!(
                "found {:?}, expected one of {}",
                info.data_type,
                names.join(", ")
            ),
        )
    })?;
    if !(1..=MAX_CHANNELS).contains(&info.num_channels) {
        let found = info.num_channels;
        return Err(bad(
            "num_channels".into(),
            format!("found {found}, expected 1 to {MAX_CHANNELS}"),
        ));
    }
    let chosen = info.scales.iter().enumerate().find_map(|(i, scale)| {
        let resolution = Resolution::new(scale.resolution)?;
        resolution.matches(wanted).then_some((i, scale, resolution))
    });
    let Some((i, scale, resolution)) = chosen else {
        let resolutions = info.scales.iter().map(|s| s.resolution);
        return Err(VolumeError::NoScale {
            object,
            wanted: *wanted,
            available: resolutions.filter_map(Resolution::new).collect(),
        });
    };
    let bad = |field: &str, problem| bad(format!("scales[{i}].{field}"), problem);
    let meta = VolumeMeta {
        data_type,
        channels: info.num_channels,
        resolution,
        grid: grid(scale, bad)?,
        fill_value: FillValue::ZERO,
    };
    // A chunk may be declared larger than the volume; what is stored of it never is.
    let block: [u64; 3] = std::array::from_fn(|d| {
        u64::from(meta.grid.block_shape()[d]).min(meta.grid.bounds().shape()[d])
    });
    let block_bytes = block
        .into_iter()
        .chain([u64::from(meta.channels), data_type.size_bytes() as u64])
        .try_fold(1u64, u64::checked_mul);
    if block_bytes.is_none_or(|n| n > MAX_BLOCK_BYTES) {
        return Err(bad(
            "chunk_sizes",
            format!(
                "a chunk of {block:?} voxels is larger than {MAX_BLOCK_BYTES} bytes, the most that is read"
            ),
        ));
    }
    Ok(Scale {
        location: scale_location(location, &scale.key).ok_or_else(|| {
            bad(
                "key",
                format!("found {:?}, expected a relative path", scale.key),
            )
        })?,
        encoding: encoding(scale, data_type, info.num_channels, bad)?,
        sharding: sharding(scale, &meta.grid, bad)?,
        digest: digest(&value, i),
        meta,
    })
}

fn grid(
    scale: &ScaleInfo,
    bad: impl Fn(&str, String) -> VolumeError,
) -> Result<BlockGrid, VolumeError> {
    let in_range = |v: i64| (-MAX_VOXEL..=MAX_VOXEL).contains(&v);
    if !scale.size.iter().all(|n| (1..=MAX_VOXEL).contains(n)) {
        return Err(bad(
            "size",
            format!("found {:?}, expected whole numbers from 1", scale.size),
        ));
    }
    if !scale.voxel_offset.iter().all(|v| in_range(*v)) {
        return Err(bad(
            "voxel_offset",
            format!("found {:?}, out of range", scale.voxel_offset),
        ));
    }
    let chunk = scale
        .chunk_sizes
        .first()
        .ok_or_else(|| bad("chunk_sizes", "found no chunk size, expected one".into()))?;
    if !chunk.iter().all(|n| (1..=i64::from(u32::MAX)).contains(n)) {
        return Err(bad(
            "chunk_sizes",
            format!("found {chunk:?}, expected whole numbers from 1"),
        ));
    }
    let bounds = VoxelBox {
        start: scale.voxel_offset,
        end: std::array::from_fn(|d| scale.voxel_offset[d] + scale.size[d]),
    };
    BlockGrid::new(bounds, chunk.map(|n| n as u32)).ok_or_else(|| {
        let size = scale.size;
        let problem = format!(
            "found {size:?}, in chunks of {chunk:?} more chunks than can be numbered, 2^64: the file is damaged"
        );
        bad("size", problem)
    })
}

fn encoding(
    scale: &ScaleInfo,
    data_type: DataType,
    channels: u32,
    bad: impl Fn(&str, String) -> VolumeError,
) -> Result<Encoding, VolumeError> {
    match scale.encoding.to_ascii_lowercase().as_str() {
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
            let block = scale
                .compressed_segmentation_block_size
                .ok_or_else(|| bad(field, "it is missing, expected three whole numbers".into()))?;
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
            let format = Format::from_name(other).ok_or_else(|| {
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

fn sharding(
    scale: &ScaleInfo,
    grid: &BlockGrid,
    bad: impl Fn(&str, String) -> VolumeError,
) -> Result<Option<(ShardingSpec, MortonGrid)>, VolumeError> {
    let Some(value) = scale.sharding.as_ref().filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    let spec = ShardingSpec::parse(value).map_err(|wrong| {
        bad(
            &format!("sharding.{}", wrong.field),
            format!("found {}, expected {}", wrong.found, wrong.expected),
        )
    })?;
    let ids =
        MortonGrid::new(&grid.shape()).map_err(|e| bad("chunk_sizes", format!("they make {e}")))?;
    Ok(Some((spec, ids)))
}

/// Where a scale lies. By the format `key` is a path relative to the volume and may climb with `..`.
fn scale_location(volume: &Location, key: &str) -> Option<Location> {
    let relative = !key.is_empty() && !key.contains("://") && !Path::new(key).is_absolute();
    relative.then(|| volume.join(key))
}

/// Digest of all that decides which values a chunk file means.
fn digest(info: &serde_json::Value, scale: usize) -> blake3::Hash {
    let parts = serde_json::json!([
        info["data_type"],
        info["num_channels"],
        info["scales"][scale]
    ]);
    blake3::hash(parts.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn example() -> Value {
        json!({
            "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "UINT8", "num_channels": 1,
            "scales": [
                {"key": "8", "resolution": [9.2, 9.2, 45], "size": [1048576, 1048576, 20], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"},
                {"key": "4", "resolution": [4.599999904632568, 4.6, 45], "size": [1000000, 1000000, 1000000],
                 "voxel_offset": [-5, 0, 3], "chunk_sizes": [[64, 32, 16]], "encoding": "RAW"},
            ],
        })
    }

    fn read_value(value: &Value) -> Result<Scale, VolumeError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("info"), value.to_string()).unwrap();
        read(
            &Location::Local(dir.path().into()),
            &Resolution::new([4.6, 4.6, 45.0]).unwrap(),
        )
    }

    fn error_of(change: impl FnOnce(&mut Value)) -> String {
        let mut value = example();
        change(&mut value);
        match read_value(&value) {
            Ok(_) => panic!("accepted {value}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_scale_is_chosen_by_resolution_not_by_position() {
        let scale = read_value(&example()).unwrap();
        assert!(scale.location.to_string().ends_with("/4"));
        assert_eq!(scale.meta.grid.bounds().start, [-5, 0, 3]);
        assert_eq!(
            scale.meta.grid.bounds().end,
            [999_995, 1_000_000, 1_000_003]
        );
        assert_eq!(scale.meta.data_type, DataType::UInt8);
    }

    #[test]
    fn a_key_may_climb_but_not_be_absolute() {
        let mut value = example();
        value["scales"][1]["key"] = json!("../other/4");
        assert!(
            read_value(&value)
                .unwrap()
                .location
                .to_string()
                .ends_with("/other/4")
        );
        let e = error_of(|v| v["scales"][1]["key"] = json!("/etc"));
        assert!(e.contains("scales[1].key") && e.contains("/etc"), "{e}");
        error_of(|v| v["scales"][1]["key"] = json!("gs://x"));
    }

    #[test]
    fn a_resolution_that_no_scale_has_lists_those_that_there_are() {
        let e = error_of(|v| v["scales"][1]["resolution"] = json!([5, 5, 45]));
        assert!(
            e.contains("4.6 x 4.6 x 45 nm") && e.contains("[9.2, 9.2, 45.0], [5.0, 5.0, 45.0]"),
            "{e}"
        );
    }

    #[test]
    fn encodings_that_are_not_read_are_named() {
        for name in ["compresso", "crackle", "fpzip", "kempressed", "zfpc"] {
            let e = error_of(|v| v["scales"][1]["encoding"] = json!(name));
            assert!(e.contains("encoding") && e.contains(name), "{e}");
        }
        let e = error_of(|v| {
            v["data_type"] = json!("uint16");
            v["scales"][1]["encoding"] = json!("jpeg");
        });
        assert!(e.contains("jpeg of uint16") && e.contains("uint8"), "{e}");
    }

    #[test]
    fn sizes_are_checked_before_anything_is_allocated() {
        for (field, value) in [
            ("chunk_sizes", json!([[64, 0, 16]])),
            ("chunk_sizes", json!([])),
            ("chunk_sizes", json!([[1048576, 1048576, 1048576]])),
            (
                "chunk_sizes",
                json!([[4294967295u64, 4294967295u64, 4294967295u64]]),
            ),
            ("size", json!([0, 1, 1])),
            ("size", json!([i64::MAX, 1, 1])),
            ("size", json!([MAX_VOXEL, MAX_VOXEL, 1])),
            ("voxel_offset", json!([i64::MIN, 0, 0])),
            ("resolution", json!([0, 0, 0])),
            ("encoding", json!("jpeg2000")),
            ("encoding", json!("compressed_segmentation")),
            (
                "sharding",
                json!({"@type": "neuroglancer_uint64_sharded_v1"}),
            ),
            ("sharding", json!(true)),
        ] {
            let e = error_of(|v| v["scales"][1][field] = value.clone());
            assert!(
                e.contains("info") && (e.contains(field) || field == "resolution"),
                "{field} {value}: {e}"
            );
        }
        let e = error_of(|v| v["num_channels"] = json!(0));
        assert!(e.contains("num_channels"), "{e}");
        let e = error_of(|v| v["data_type"] = json!("uint24"));
        assert!(e.contains("uint24") && e.contains("float32"), "{e}");
        let e = error_of(|v| v["@type"] = json!("neuroglancer_annotations_v1"));
        assert!(e.contains("annotation layer"), "{e}");
        let e = error_of(|v| {
            v["scales"][1].as_object_mut().unwrap().remove("size");
        });
        assert!(e.contains("scales[1]") && e.contains("size"), "{e}");
    }
}
