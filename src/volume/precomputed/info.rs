//! The info file of a precomputed volume. One scale is chosen by its resolution; errors in other scales are ignored.

use serde::Deserialize;
use serde_json::Value;

use super::encoding::Encoding;
use super::scale::ScaleInfo;
use crate::data_type::{DataType, Scalar};
use crate::geometry::Resolution;
use crate::neuroglancer::{
    InfoDocument, InfoError, JsonInteger, MortonGrid, ShardingSpec, VOLUME, info_kind, read_info,
};
use crate::storage::{Location, Storage};
use crate::volume::{MAX_BLOCK_BYTES, VolumeError, VolumeMeta};

const EXPECTED: &str = "the info file of a Neuroglancer precomputed volume";

/// Largest number of channels that is accepted. Protects against sizes in damaged files.
const MAX_CHANNELS: u32 = 1 << 16;

/// The chosen scale.
pub(super) struct Scale {
    pub location: Location,
    pub meta: VolumeMeta,
    pub encoding: Encoding,
    /// The sharding specification and the ids of chunks, if the scale is sharded.
    pub sharding: Option<(ShardingSpec, MortonGrid)>,
    pub digest: blake3::Hash,
    /// Where the info redirects to, if it redirects. The scale is stored there.
    pub redirected_to: Option<Location>,
    /// Whether the info says that the volume is an image, not a segmentation.
    pub is_image: bool,
}

/// The members that apply to all scales.
#[derive(Deserialize)]
struct Info {
    data_type: String,
    num_channels: JsonInteger,
    scales: Vec<Value>,
}

/// Reads the info file in `location` and chooses the scale with the resolution `wanted`.
pub(super) fn read(
    location: &Location,
    wanted: &Resolution,
    storage: &Storage,
) -> Result<Scale, VolumeError> {
    let found = document(location, storage)?;
    let (value, object) = (&found.value, &found.object);
    let invalid = |path: String, problem: String| VolumeError::InvalidMetadata {
        object: object.clone(),
        path,
        problem,
    };
    check_kind(value).map_err(|(path, problem)| VolumeError::NotAVolume {
        object: object.clone(),
        path,
        problem,
    })?;
    let info: Info = serde_path_to_error::deserialize(value).map_err(|e| {
        let problem = format!("{}: this is not {EXPECTED}", e.inner());
        invalid(e.path().to_string(), problem)
    })?;
    let data_type = info
        .data_type()
        .map_err(|e| invalid("data_type".into(), e))?;
    let channels = info
        .channels()
        .map_err(|e| invalid("num_channels".into(), e))?;
    let chosen = info.scales.iter().enumerate().find_map(|(i, scale)| {
        let resolution = resolution(scale)?;
        resolution.matches(wanted).then_some((i, scale, resolution))
    });
    let Some((i, scale, resolution)) = chosen else {
        return Err(no_scale(object, &info.scales, wanted));
    };
    let invalid = |field: &str, problem| invalid(format!("scales[{i}]{field}"), problem);
    let scale = ScaleInfo::parse(scale, invalid)?;
    let invalid = |field: &str, problem| invalid(&format!(".{field}"), problem);
    let meta = VolumeMeta {
        data_type,
        channels,
        resolution,
        grid: scale.grid(invalid)?,
        fill_value: Scalar::ZERO,
    };
    check_block(&meta, invalid)?;
    Ok(Scale {
        location: scale.location(&found.location, invalid)?,
        encoding: scale.encoding(data_type, channels, invalid)?,
        sharding: scale.sharding(&meta.grid, invalid)?,
        digest: digest(value, i, found.is_redirected.then_some(&found.location)),
        is_image: value.get("type").and_then(Value::as_str) == Some("image"),
        redirected_to: found.is_redirected.then_some(found.location),
        meta,
    })
}

impl Info {
    fn data_type(&self) -> Result<DataType, String> {
        DataType::from_name(&self.data_type).ok_or_else(|| {
            let names = DataType::ALL.map(|t| t.name()).join(", ");
            format!("found {:?}, expected one of {names}", self.data_type)
        })
    }

    fn channels(&self) -> Result<u32, String> {
        let found = self.num_channels.0;
        u32::try_from(found)
            .ok()
            .filter(|n| (1..=MAX_CHANNELS).contains(n))
            .ok_or_else(|| format!("found {found}, expected 1 to {MAX_CHANNELS}"))
    }
}

/// The resolution of the first scale and the number of channels. A viewer measures all scales relative to the first.
pub(super) fn first_scale(
    location: &Location,
    storage: &Storage,
) -> Result<(Resolution, i64), VolumeError> {
    let found = document(location, storage)?;
    let invalid = |path: &str, problem: String| VolumeError::InvalidMetadata {
        object: found.object.clone(),
        path: path.into(),
        problem,
    };
    check_kind(&found.value).map_err(|(path, problem)| invalid(path, problem))?;
    let first = found.value.get("scales").and_then(|scales| scales.get(0));
    let resolution = first.and_then(resolution).ok_or_else(|| {
        let problem = "found none, expected three numbers greater than 0, in nm: the viewer state scales the layer by them";
        invalid("scales[0].resolution", problem.into())
    })?;
    let channels = found
        .value
        .get("num_channels")
        .and_then(JsonInteger::from_value);
    Ok((resolution, channels.unwrap_or(1)))
}

fn document(location: &Location, storage: &Storage) -> Result<InfoDocument, VolumeError> {
    read_info(location, EXPECTED, storage).map_err(|problem| match problem {
        InfoError::Document(e) => VolumeError::Info(e),
        InfoError::Redirect { object, problem } => VolumeError::InvalidMetadata {
            object,
            path: "redirect".into(),
            problem,
        },
    })
}

/// Checks that the info describes a volume. The error is the field and what is wrong with it.
fn check_kind(info: &Value) -> Result<(), (&'static str, String)> {
    let (path, found) = match info.get("@type") {
        None | Some(Value::Null) => ("type", None),
        Some(found) => ("@type", Some(found)),
    };
    let advice =
        "`arrays.NAME.layer` names a volume (image or labels), `points.layer` an annotation layer";
    match (info_kind(info), found) {
        (Some(VOLUME), _) | (None, None) => Ok(()),
        (Some(kind), Some(found)) => Err((
            path,
            format!("found {found}: this is the info of {kind}, expected a volume: {advice}"),
        )),
        (Some(kind), None) => Err((
            path,
            format!("this is the info of {kind}, expected a volume: {advice}"),
        )),
        (None, Some(found)) => Err((
            path,
            format!("found {found}, expected \"neuroglancer_multiscale_volume\""),
        )),
    }
}

/// The resolution of a scale, even if the rest of the scale is invalid.
fn resolution(scale: &Value) -> Option<Resolution> {
    let nm = <[f64; 3]>::deserialize(scale.get("resolution")?).ok()?;
    Resolution::new(nm)
}

fn no_scale(object: &str, scales: &[Value], wanted: &Resolution) -> VolumeError {
    let available: Vec<_> = scales.iter().filter_map(resolution).collect();
    match (available.is_empty(), scales.first()) {
        (true, Some(first)) => VolumeError::InvalidMetadata {
            object: object.to_owned(),
            path: "scales[0].resolution".into(),
            problem: format!(
                "found {}, expected three numbers greater than 0, in nm",
                first.get("resolution").unwrap_or(&Value::Null)
            ),
        },
        _ => VolumeError::NoScale {
            object: object.to_owned(),
            wanted: *wanted,
            available,
            config_may_set: false,
        },
    }
}

/// Checks that a block is not too large.
fn check_block(
    meta: &VolumeMeta,
    invalid: impl Fn(&str, String) -> VolumeError,
) -> Result<(), VolumeError> {
    // A chunk may be larger than the volume, but its stored part never is.
    let block: [u64; 3] = std::array::from_fn(|d| {
        u64::from(meta.grid.block_shape()[d]).min(meta.grid.bounds().shape()[d])
    });
    let value_bytes = meta.data_type.size_bytes() as u64;
    let block_bytes = block
        .into_iter()
        .chain([u64::from(meta.channels), value_bytes])
        .try_fold(1u64, u64::checked_mul);
    if block_bytes.is_none_or(|n| n > MAX_BLOCK_BYTES) {
        return Err(invalid(
            "chunk_sizes",
            format!(
                "found a chunk of {block:?} voxels, which is larger than the limit of {MAX_BLOCK_BYTES} bytes"
            ),
        ));
    }
    Ok(())
}

/// Digest of everything that determines the values of a chunk, and of the target of a redirect.
fn digest(info: &Value, scale: usize, redirected_to: Option<&Location>) -> blake3::Hash {
    let parts = serde_json::json!([
        info["data_type"],
        info["num_channels"],
        info["scales"][scale]
    ]);
    match redirected_to {
        None => blake3::hash(parts.to_string().as_bytes()),
        Some(place) => blake3::hash(
            serde_json::json!([parts, place.to_string()])
                .to_string()
                .as_bytes(),
        ),
    }
}

#[cfg(test)]
mod tests;
