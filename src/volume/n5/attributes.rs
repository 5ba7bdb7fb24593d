//! `attributes.json` of an N5 dataset or group: what is stored, and where it lies in the world.
//!
//! Who writes N5 says the resolution in one of several ways, and the first of these counts: the config;
//! a dataset's `transform` (Janelia: scale, translate of the centre, units, axes); `pixelResolution` or
//! `resolution` with `units`, of the dataset, or of the group times the dataset's `downsamplingFactors`
//! (Neuroglancer, Paintera, BigDataViewer).

use serde::Deserialize;
use serde_json::Value;

use crate::config::LayerConfig;
use crate::data_type::DataType;
use crate::geometry::{AXES, Resolution, length_nm};
use crate::storage::Compression as Stream;
use crate::storage::{MAX_DOCUMENT_BYTES, Store, parse_document};
use crate::volume::placement::first_voxel;
use crate::volume::zarr::unit_symbol;
use crate::volume::{MAX_BLOCK_BYTES, VolumeError};

const EXPECTED: &str = "the attributes of an N5 dataset";

/// Most levels of a group that are looked at.
const MAX_LEVELS: usize = 64;

/// A dataset. Dimensions are in N5's order: the fastest first.
#[derive(Debug)]
pub(super) struct Dataset {
    /// Path or URL of its attributes.
    pub object: String,
    /// Its folder: a key relative to the group.
    pub path: String,
    pub dimensions: Vec<u64>,
    pub block_size: Vec<u64>,
    pub data_type: DataType,
    pub compression: Compression,
    pub axes: Vec<String>,
    pub resolution: Resolution,
    pub first_voxel: [i64; 3],
    pub digest: blake3::Hash,
}

/// How a block's values are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Raw,
    Stream(Stream),
    Blosc,
}

/// What is read of `attributes.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    dimensions: Vec<u64>,
    block_size: Vec<u64>,
    data_type: String,
    /// Of N5 1.0 and later: an object with a type. Before: `compressionType`.
    compression: Option<Value>,
    compression_type: Option<String>,
    axes: Option<Vec<String>>,
    downsampling_factors: Option<Vec<f64>>,
    transform: Option<Transform>,
    #[serde(flatten)]
    scale: Scale,
}

/// What a dataset or a group says of the size of a voxel, in N5's order of dimensions.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scale {
    pixel_resolution: Option<PixelResolution>,
    resolution: Option<Vec<f64>>,
    units: Option<Vec<String>>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum PixelResolution {
    WithUnit { dimensions: Vec<f64>, unit: String },
    Numbers(Vec<f64>),
}

/// Janelia's: in C order, the axes named.
#[derive(Deserialize)]
struct Transform {
    axes: Vec<String>,
    scale: Vec<f64>,
    translate: Vec<f64>,
    units: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    axes: Option<Vec<String>>,
    /// Factors of every level, by either name.
    #[serde(alias = "scales")]
    downsampling_factors: Option<Vec<Vec<f64>>>,
    #[serde(flatten)]
    scale: Scale,
}

impl Dataset {
    /// An error about what its attributes say at `path`.
    pub(super) fn bad(&self, path: &str, problem: String) -> VolumeError {
        bad(&self.object, path, problem)
    }

    /// Bytes of a whole decoded block.
    pub(super) fn block_bytes(&self) -> usize {
        let values: u64 = self.block_size.iter().product();
        values as usize * self.data_type.size_bytes()
    }
}

fn bad(object: &str, path: &str, problem: String) -> VolumeError {
    VolumeError::BadInfo {
        object: object.to_owned(),
        path: path.to_owned(),
        problem,
    }
}

/// The dataset in the root of `store`, or the level `s0`, `s1`, ... of the group there that matches `wanted`.
pub(super) fn read(
    store: &dyn Store,
    wanted: &Resolution,
    layer: &LayerConfig,
) -> Result<Dataset, VolumeError> {
    let root = document(store, "")?;
    let is_dataset = |d: &Document| d.value.get("dimensions").is_some();
    let mut available = Vec::new();
    if let Some(root) = root.as_ref().filter(|d| is_dataset(d)) {
        let dataset = dataset(root, "", None, 0, layer)?;
        if dataset.resolution.matches(wanted) {
            return Ok(dataset);
        }
        available.push(dataset.resolution);
        return Err(no_scale(root.object.clone(), wanted, available));
    }
    let object = store.describe("attributes.json");
    if layer.resolution.is_some() {
        let problem = "this is a group of levels, and the config's `layers` says a `resolution`: name the dataset of one level";
        return Err(bad(&object, ".", problem.into()));
    }
    let group: Option<Group> = match &root {
        Some(root) => Some(parse(&root.object, &root.value)?),
        None => None,
    };
    for level in 0..MAX_LEVELS {
        let path = format!("s{level}");
        let Some(found) = document(store, &path)?.filter(is_dataset) else {
            break;
        };
        let mut dataset = dataset(&found, &path, group.as_ref(), level, layer)?;
        if dataset.resolution.matches(wanted) {
            if let Some(root) = root {
                let mut hasher = blake3::Hasher::new();
                hasher.update(root.digest.as_bytes());
                hasher.update(dataset.digest.as_bytes());
                dataset.digest = hasher.finalize();
            }
            return Ok(dataset);
        }
        available.push(dataset.resolution);
    }
    match (available.is_empty(), root.is_some()) {
        (true, true) => Err(bad(
            &object,
            ".",
            "this N5 group has no levels s0, s1, ...: name the dataset inside".into(),
        )),
        (true, false) => Err(VolumeError::NoVolume {
            location: store.describe(""),
        }),
        (false, _) => Err(no_scale(object, wanted, available)),
    }
}

fn no_scale(object: String, wanted: &Resolution, available: Vec<Resolution>) -> VolumeError {
    VolumeError::NoScale {
        object,
        wanted: *wanted,
        available,
    }
}

/// One `attributes.json`.
struct Document {
    object: String,
    value: Value,
    digest: blake3::Hash,
}

fn document(store: &dyn Store, path: &str) -> Result<Option<Document>, VolumeError> {
    let key = match path {
        "" => "attributes.json".to_owned(),
        path => format!("{path}/attributes.json"),
    };
    let mut bytes = Vec::new();
    if !store.read(&key, MAX_DOCUMENT_BYTES, &mut bytes)? {
        return Ok(None);
    }
    let object = store.describe(&key);
    Ok(Some(Document {
        value: parse_document(&bytes, &object, EXPECTED)?,
        digest: blake3::hash(&bytes),
        object,
    }))
}

fn parse<T: serde::de::DeserializeOwned>(object: &str, value: &Value) -> Result<T, VolumeError> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let problem = format!("{}: this is not {EXPECTED}", e.inner());
        bad(object, &e.path().to_string(), problem)
    })
}

fn dataset(
    document: &Document,
    path: &str,
    group: Option<&Group>,
    level: usize,
    layer: &LayerConfig,
) -> Result<Dataset, VolumeError> {
    let object = &document.object;
    let attributes: Attributes = parse(object, &document.value)?;
    let rank = attributes.dimensions.len();
    let bad = |path: &str, problem| bad(object, path, problem);
    let data_type = DataType::from_name(&attributes.data_type).ok_or_else(|| {
        let names: Vec<_> = DataType::ALL.iter().map(|t| t.name()).collect();
        let problem = format!(
            "found {:?}, expected one of {}",
            attributes.data_type,
            names.join(", ")
        );
        bad("dataType", problem)
    })?;
    let block_bytes = attributes
        .block_size
        .iter()
        .try_fold(data_type.size_bytes() as u64, |n, d| n.checked_mul(*d));
    if attributes.block_size.len() != rank
        || block_bytes.is_none_or(|n| n == 0 || n > MAX_BLOCK_BYTES)
    {
        let problem = format!(
            "found {:?}, expected {rank} numbers from 1 whose block has at most {MAX_BLOCK_BYTES} bytes",
            attributes.block_size
        );
        return Err(bad("blockSize", problem));
    }
    let axes = axes(&attributes, group, layer).ok_or_else(|| VolumeError::Lacks {
        object: object.clone(),
        lacks: format!("has {rank} dimensions and does not name them"),
        example: "{ \"axes\": \"czyx\" }",
    })?;
    let (resolution, center_nm) = match (layer.resolution, &attributes.transform) {
        (Some(resolution), _) => (resolution, [0.0; 3]),
        (None, Some(transform)) => transform_nm(transform).map_err(|e| bad("transform", e))?,
        (None, None) => {
            let found = scale_nm(&attributes, group, level, &axes);
            let found = found.map_err(|e| bad("resolution", e))?;
            let resolution = found.ok_or_else(|| VolumeError::Lacks {
                object: object.clone(),
                lacks: "does not say how large its voxels are and where it lies".into(),
                example: "{ \"resolution\": [4, 4, 40], \"voxel_offset\": [0, 0, 0] }",
            })?;
            (resolution, [0.0; 3])
        }
    };
    let first_voxel = first_voxel(center_nm, &resolution).ok_or_else(|| {
        bad(
            "transform",
            format!("the first voxel is at {center_nm:?} nm, out of range"),
        )
    })?;
    Ok(Dataset {
        object: object.clone(),
        path: path.to_owned(),
        compression: compression(&attributes).map_err(|e| bad("compression", e))?,
        dimensions: attributes.dimensions,
        block_size: attributes.block_size,
        data_type,
        axes,
        resolution,
        first_voxel,
        digest: document.digest,
    })
}

/// Names of the dimensions in N5's order. Three without names are x, y, z, as everybody writes them.
fn axes(
    attributes: &Attributes,
    group: Option<&Group>,
    layer: &LayerConfig,
) -> Option<Vec<String>> {
    if let Some(axes) = &layer.axes {
        // The config counts as numpy does: the slowest first.
        return Some(axes.chars().rev().map(String::from).collect());
    }
    let named = attributes
        .axes
        .as_ref()
        .or(group.and_then(|g| g.axes.as_ref()));
    match (named, attributes.dimensions.len()) {
        (Some(names), _) => Some(names.clone()),
        (None, 3) => Some(AXES.map(String::from).to_vec()),
        (None, _) => None,
    }
}

fn transform_nm(transform: &Transform) -> Result<(Resolution, [f64; 3]), String> {
    let rank = transform.axes.len();
    if [
        transform.scale.len(),
        transform.translate.len(),
        transform.units.len(),
    ] != [rank; 3]
    {
        return Err(format!(
            "found lists of different lengths, expected {rank} values in each"
        ));
    }
    let (mut scale, mut center) = ([0.0; 3], [0.0; 3]);
    for (d, name) in AXES.into_iter().enumerate() {
        let axis = transform
            .axes
            .iter()
            .position(|a| a.eq_ignore_ascii_case(name));
        let axis = axis.ok_or_else(|| format!("found no axis {name}, expected x, y and z"))?;
        scale[d] = nm(transform.scale[axis], &transform.units[axis])?;
        center[d] = nm(transform.translate[axis], &transform.units[axis])?;
    }
    Ok((positive(scale)?, center))
}

/// The resolution that the dataset says, or the group for its level; `None` where neither says one.
fn scale_nm(
    attributes: &Attributes,
    group: Option<&Group>,
    level: usize,
    axes: &[String],
) -> Result<Option<Resolution>, String> {
    let of_group = || Some((group?.scale.values()?, true));
    let own = attributes.scale.values().map(|v| (v, false));
    let Some(((values, units), scaled)) = own.or_else(of_group) else {
        return Ok(None);
    };
    let of_level = group.and_then(|g| g.downsampling_factors.as_ref()?.get(level));
    let factors = attributes.downsampling_factors.as_ref().or(of_level);
    let factors = match (scaled, factors, level) {
        // A dataset's own resolution is its own; its factors only say how it came about.
        (false, ..) => None,
        (true, None, 1..) => {
            return Err(format!(
                "the group says a resolution, but not the downsamplingFactors of its level s{level}"
            ));
        }
        (true, factors, _) => factors,
    };
    let mut resolution = [0.0; 3];
    for (d, name) in AXES.into_iter().enumerate() {
        let axis = axes.iter().position(|a| a.eq_ignore_ascii_case(name));
        let value = |of: &[f64]| axis.and_then(|a| of.get(a).copied());
        let missing = || {
            format!("found {values:?} for the dimensions {axes:?}, expected one number for each")
        };
        let factor = match factors {
            None => 1.0,
            Some(factors) => value(factors).ok_or_else(missing)?,
        };
        let unit = axis.and_then(|a| units.get(a)).ok_or_else(missing)?;
        resolution[d] = nm(value(&values).ok_or_else(missing)? * factor, unit)?;
    }
    positive(resolution).map(Some)
}

impl Scale {
    /// Numbers and units, one per dimension.
    fn values(&self) -> Option<(Vec<f64>, Vec<String>)> {
        let same = |unit: &str, n: usize| vec![unit.to_owned(); n];
        match &self.pixel_resolution {
            Some(PixelResolution::WithUnit { dimensions, unit }) => {
                return Some((dimensions.clone(), same(unit, dimensions.len())));
            }
            Some(PixelResolution::Numbers(numbers)) => {
                let units = self.units.clone().unwrap_or_default();
                return Some((numbers.clone(), units));
            }
            None => {}
        }
        let numbers = self.resolution.clone()?;
        Some((numbers, self.units.clone().unwrap_or_default()))
    }
}

fn nm(value: f64, unit: &str) -> Result<f64, String> {
    length_nm(value, unit_symbol(unit))
        .ok_or_else(|| format!("found the unit {unit:?}, expected one of length, such as \"nm\""))
}

fn positive(nm: [f64; 3]) -> Result<Resolution, String> {
    Resolution::new(nm).ok_or_else(|| format!("found {nm:?} nm, expected numbers greater than 0"))
}

fn compression(attributes: &Attributes) -> Result<Compression, String> {
    let object = attributes.compression.as_ref();
    let name = object
        .and_then(|c| c.get("type").or(Some(c)))
        .and_then(Value::as_str)
        .or(attributes.compression_type.as_deref());
    let zlib = object
        .and_then(|c| c.get("useZlib"))
        .and_then(Value::as_bool);
    match name {
        Some("raw") => Ok(Compression::Raw),
        Some("gzip") if zlib == Some(true) => Ok(Compression::Stream(Stream::Zlib)),
        Some("gzip") => Ok(Compression::Stream(Stream::Gzip)),
        Some("bzip2") => Ok(Compression::Stream(Stream::Bzip2)),
        Some("zstd" | "zstandard") => Ok(Compression::Stream(Stream::Zstd)),
        Some("blosc") => Ok(Compression::Blosc),
        found => Err(format!(
            "found {}, expected raw, gzip, bzip2, zstd or blosc: others are not read",
            found.map_or("no compression".into(), |name| format!("{name:?}"))
        )),
    }
}
