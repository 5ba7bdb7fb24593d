//! `attributes.json` of an N5 dataset or group: how values are stored, and where the dataset is in the world.
//!
//! The position is computed by [`spatial_attributes`](super::super::spatial_attributes) from the attributes of the
//! dataset and of the group that contains it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::config::LayerConfig;
use crate::data_type::DataType;
use crate::geometry::{AXES, Resolution};
use crate::storage::Compression as Stream;
use crate::storage::{Location, MAX_METADATA_BYTES, Storage, Store};
use crate::volume::axes::ArrayAxes;
use crate::volume::json_with_nan;
use crate::volume::spatial_attributes::{
    ArrayPosition, AttributesDocument, DimensionOrder, ParentGroup, SpatialArray,
};
use crate::volume::{MAX_BLOCK_BYTES, VolumeError};

const EXPECTED: &str = "the attributes of an N5 dataset";

/// Largest number of levels of a group.
const MAX_LEVELS: usize = 64;

/// Attributes of a group that define the position of its datasets.
const GROUP_KEYS: [&str; 9] = [
    "axes",
    "downsamplingFactors",
    "isLabelMultiset",
    "multiscales",
    "offset",
    "pixelResolution",
    "resolution",
    "scales",
    "units",
];

/// A dataset. Dimensions have N5's order, the fastest first.
#[derive(Debug)]
pub(super) struct N5Dataset {
    /// Path or URL of its attributes.
    pub object: String,
    /// Its folder, as a key relative to the group.
    pub path: String,
    pub dimensions: Vec<u64>,
    pub block_size: Vec<u64>,
    pub data_type: DataType,
    pub compression: N5Compression,
    pub axes: ArrayAxes,
    pub resolution: Resolution,
    pub first_voxel: [i64; 3],
    pub digest: blake3::Hash,
}

/// How the values of a block are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum N5Compression {
    Raw,
    Stream(Stream),
    Blosc,
}

/// The attributes that define how a dataset is stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageAttributes {
    #[serde(deserialize_with = "whole_numbers")]
    dimensions: Vec<u64>,
    #[serde(deserialize_with = "whole_numbers")]
    block_size: Vec<u64>,
    data_type: String,
    /// From N5 1.0: an object with a type. Earlier: `compressionType`.
    compression: Option<Value>,
    compression_type: Option<String>,
}

/// Deserializes a list of whole numbers. Accepts `40.0`.
fn whole_numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let list = Vec::<f64>::deserialize(deserializer)?;
    let whole = |n: &f64| n.fract() == 0.0 && (0.0..=9e15).contains(n);
    if list.iter().all(whole) {
        Ok(list.iter().map(|n| *n as u64).collect())
    } else {
        Err(serde::de::Error::custom(format!(
            "found {list:?}, expected whole numbers from 0"
        )))
    }
}

impl N5Dataset {
    /// An error about the attribute at `path`.
    pub(super) fn invalid(&self, path: &str, problem: String) -> VolumeError {
        invalid(&self.object, path, problem)
    }

    /// Bytes of a whole decoded block.
    pub(super) fn block_bytes(&self) -> usize {
        let values: u64 = self.block_size.iter().product();
        values as usize * self.data_type.size_bytes()
    }
}

fn invalid(object: &str, path: &str, problem: String) -> VolumeError {
    VolumeError::InvalidMetadata {
        object: object.to_owned(),
        path: path.to_owned(),
        problem,
    }
}

/// Reads the dataset at `location`, or the level `s0`, `s1`, ... with the resolution `wanted` of the group there.
pub(super) fn read(
    location: &Location,
    store: &dyn Store,
    wanted: &Resolution,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<N5Dataset, VolumeError> {
    let root = document(store, "")?;
    if let Some(root) = root.as_ref().filter(|d| d.is_dataset()) {
        let group = read_group(location, root, storage)?;
        let parent = group
            .as_ref()
            .map(|(group, name)| group.as_parent_of(name, None));
        let dataset = dataset(root, "", parent, layer)?;
        return if dataset.resolution.matches(wanted) {
            Ok(dataset)
        } else {
            Err(VolumeError::NoScale {
                object: root.object.clone(),
                wanted: *wanted,
                available: vec![dataset.resolution],
                config_may_set: true,
            })
        };
    }
    let object = store.describe("attributes.json");
    if layer.resolution.is_some() {
        let problem = "this is a group of levels, but the config's `layers` sets a `resolution`: use the dataset of one level as the source";
        return Err(invalid(&object, ".", problem.into()));
    }
    let mut available = Vec::new();
    let mut base = None;
    for level in 0..MAX_LEVELS {
        let path = format!("s{level}");
        let Some(found) = document(store, &path)?.filter(N5Document::is_dataset) else {
            break;
        };
        let parent = root
            .as_ref()
            .map(|root| root.as_parent_of(&path, base.as_ref()));
        let mut dataset = dataset(&found, &path, parent, layer)?;
        if dataset.resolution.matches(wanted) {
            if let Some(root) = root {
                dataset.digest = combined_digest(&root.digest, &found.digest);
            }
            return Ok(dataset);
        }
        available.push(dataset.resolution);
        base.get_or_insert(found);
    }
    match (available.is_empty(), root.is_some()) {
        (true, true) => Err(invalid(
            &object,
            ".",
            "this N5 group has no levels s0, s1, ...: use a dataset inside the group as the source"
                .into(),
        )),
        (true, false) => Err(VolumeError::NoVolume {
            hint: String::new(),
            location: store.describe(""),
        }),
        (false, _) => Err(VolumeError::NoScale {
            object,
            wanted: *wanted,
            available,
            config_may_set: false,
        }),
    }
}

/// Reads the attributes of the group that contains the dataset at `location`, if the dataset's own may be incomplete.
/// Also returns the dataset's name in the group.
fn read_group(
    location: &Location,
    dataset: &N5Document,
    storage: &Storage,
) -> Result<Option<(N5Document, String)>, VolumeError> {
    let Some((folder, name)) = location.split_file() else {
        return Ok(None);
    };
    let says = |key: &str| dataset.attributes.contains_key(key);
    let is_level = name
        .strip_prefix('s')
        .is_some_and(|n| n.parse::<u32>().is_ok());
    let says_size = says("transform") || says("resolution") || says("pixelResolution");
    let complete = says("transform") || says("offset") || !is_level;
    if says_size && complete {
        return Ok(None);
    }
    let group = match document(storage.open(&folder).as_ref(), "") {
        // The group may be unreadable although the dataset is readable.
        Err(e) if e.is_access_denied() => None,
        found => found?,
    };
    let places = |group: &N5Document| {
        GROUP_KEYS
            .iter()
            .any(|key| group.attributes.contains_key(*key))
    };
    let group = group.filter(|g| !g.is_dataset() && places(g));
    Ok(group.map(|group| (group, name)))
}

fn combined_digest(group: &blake3::Hash, dataset: &blake3::Hash) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(group.as_bytes());
    hasher.update(dataset.as_bytes());
    hasher.finalize()
}

/// One `attributes.json`.
struct N5Document {
    object: String,
    attributes: Map<String, Value>,
    digest: blake3::Hash,
}

impl N5Document {
    fn is_dataset(&self) -> bool {
        self.attributes.contains_key("dimensions")
    }

    fn spatial(&self) -> AttributesDocument<'_> {
        AttributesDocument {
            object: &self.object,
            attributes: &self.attributes,
        }
    }

    /// This group as the parent of the dataset `name`. `base` is the group's level s0, if `name` is another level.
    fn as_parent_of<'a>(&'a self, name: &'a str, base: Option<&'a N5Document>) -> ParentGroup<'a> {
        ParentGroup {
            document: self.spatial(),
            name,
            base: base.map(N5Document::spatial),
        }
    }
}

fn document(store: &dyn Store, path: &str) -> Result<Option<N5Document>, VolumeError> {
    let key = match path {
        "" => "attributes.json".to_owned(),
        path => format!("{path}/attributes.json"),
    };
    let mut bytes = Vec::new();
    if !store.read(&key, MAX_METADATA_BYTES, &mut bytes)? {
        return Ok(None);
    }
    let object = store.describe(&key);
    Ok(Some(N5Document {
        attributes: json_with_nan::parse(&bytes, &object, EXPECTED)?,
        digest: blake3::hash(&bytes),
        object,
    }))
}

fn parse<T: serde::de::DeserializeOwned>(document: &N5Document) -> Result<T, VolumeError> {
    let value = Value::Object(document.attributes.clone());
    serde_path_to_error::deserialize(&value).map_err(|e| {
        let problem = format!("{}: this is not {EXPECTED}", e.inner());
        invalid(&document.object, &e.path().to_string(), problem)
    })
}

fn dataset(
    document: &N5Document,
    path: &str,
    parent: Option<ParentGroup<'_>>,
    layer: &LayerConfig,
) -> Result<N5Dataset, VolumeError> {
    let attributes: StorageAttributes = parse(document)?;
    let invalid = |path: &str, problem| invalid(&document.object, path, problem);
    let data_type = attributes.data_type().map_err(|e| invalid("dataType", e))?;
    let block_size = attributes.check_block_size(data_type);
    block_size.map_err(|e| invalid("blockSize", e))?;
    let position = position(document, parent, &attributes.dimensions, layer)?;
    let resolution = position.resolution.ok_or_else(|| VolumeError::Incomplete {
        object: document.object.clone(),
        missing: "has no voxel size and no offset in its attributes".into(),
        example: "{ \"resolution\": [4, 4, 40], \"voxel_offset\": [0, 0, 0] }".into(),
    })?;
    Ok(N5Dataset {
        object: document.object.clone(),
        path: path.to_owned(),
        compression: compression(&attributes).map_err(|e| invalid("compression", e))?,
        axes: position.axes,
        resolution,
        first_voxel: position.first_voxel,
        digest: match parent.filter(|_| path.is_empty()) {
            Some(parent) => {
                let group = Value::Object(parent.document.attributes.clone()).to_string();
                combined_digest(&blake3::hash(group.as_bytes()), &document.digest)
            }
            None => document.digest,
        },
        dimensions: attributes.dimensions,
        block_size: attributes.block_size,
        data_type,
    })
}

/// The position of the dataset in `document`, from its attributes and those of its group.
fn position(
    document: &N5Document,
    parent: Option<ParentGroup<'_>>,
    dimensions: &[u64],
    layer: &LayerConfig,
) -> Result<ArrayPosition, VolumeError> {
    let array = SpatialArray {
        own: document.spatial(),
        parent,
        order: DimensionOrder::F,
        shape: dimensions,
    };
    // Three dimensions without names are x, y, z by convention.
    let assumed = (dimensions.len() == 3).then(|| AXES.map(String::from).to_vec());
    array.position(layer, Vec::new(), assumed)
}

impl StorageAttributes {
    fn data_type(&self) -> Result<DataType, String> {
        DataType::from_name(&self.data_type.to_lowercase()).ok_or_else(|| {
            let names = DataType::ALL.map(|t| t.name()).join(", ");
            format!("found {:?}, expected one of {names}", self.data_type)
        })
    }

    /// Checks that a block has a valid number of dimensions and is not too large.
    fn check_block_size(&self, data_type: DataType) -> Result<(), String> {
        let (rank, block_size) = (self.dimensions.len(), &self.block_size);
        let block_bytes = block_size
            .iter()
            .try_fold(data_type.size_bytes() as u64, |n, d| n.checked_mul(*d));
        if block_size.len() != rank || block_bytes.is_none_or(|n| n == 0 || n > MAX_BLOCK_BYTES) {
            return Err(format!(
                "found {block_size:?}, expected {rank} numbers from 1 and a block of at most {MAX_BLOCK_BYTES} bytes"
            ));
        }
        Ok(())
    }
}

fn compression(attributes: &StorageAttributes) -> Result<N5Compression, String> {
    let object = attributes.compression.as_ref();
    let name = object
        .and_then(|c| c.get("type").or(Some(c)))
        .and_then(Value::as_str)
        .or(attributes.compression_type.as_deref());
    let zlib = object
        .and_then(|c| c.get("useZlib"))
        .and_then(Value::as_bool);
    match name.map(str::to_lowercase).as_deref() {
        Some("raw") => Ok(N5Compression::Raw),
        Some("gzip") if zlib == Some(true) => Ok(N5Compression::Stream(Stream::Zlib)),
        Some("gzip") => Ok(N5Compression::Stream(Stream::Gzip)),
        Some("bzip2") => Ok(N5Compression::Stream(Stream::Bzip2)),
        Some("zstd" | "zstandard") => Ok(N5Compression::Stream(Stream::Zstd)),
        Some("blosc") => Ok(N5Compression::Blosc),
        found => Err(format!(
            "found {}, expected raw, gzip, bzip2, zstd or blosc",
            found.map_or("no compression".into(), |name| format!("{name:?}"))
        )),
    }
}
