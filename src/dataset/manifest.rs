//! The manifest: the contents of a complete dataset. Nothing in it depends on when, where or by how many threads the dataset
//! was written.

mod problems;

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CodecChoice;
use crate::data_type::DataType;
use crate::storage::UniqueKeys;

/// The manifest's name in the output folder.
pub const MANIFEST: &str = "manifest.json";

/// Largest sample that is read, in bytes.
pub(super) const MAX_SAMPLE_BYTES: u64 = 1 << 32;

/// Version of the output: of its files, their names and this manifest. Older versions are read as well: manifests before
/// version 3 have no [`Manifest::groups`], and those of version 1 no [`ArrayEntry::codec`].
pub const SCHEMA_VERSION: u32 = 3;

/// The first version with [`Manifest::groups`] and checksums in the plan and the receipts.
pub(crate) const GROUPS_VERSION: u32 = 3;

/// The contents of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the manifest format: 3.
    pub schema_version: u32,
    /// Digest of the plan. Equal digests mean equal samples from equal sources.
    pub plan_digest: String,
    /// Digest of the plan of an earlier dataset, whose order of samples this one kept. Otherwise samples are ordered by box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_of_plan: Option<String>,
    /// The config with all defaults filled in.
    pub config: Value,
    /// The collection that was read.
    pub collection: String,
    /// Voxels, x y z, of the windows that begin at the column `start_voxel`.
    pub window_voxels: [u32; 3],
    /// The volumes that windows were cut out of.
    pub sources: Vec<SourceEntry>,
    /// Every box of the collection, in its order; the column `box` holds positions in this list.
    pub boxes: Vec<BoxEntry>,
    /// The layer groups of the boxes that belong to a split. Empty before version 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupEntry>,
    /// Split name, then the split.
    pub splits: IndexMap<String, SplitEntry>,
    /// Array name, then the array.
    pub arrays: IndexMap<String, ArrayEntry>,
    /// Every shard file.
    pub shards: Vec<ShardEntry>,
    /// Every other file of the groups: metadata and index columns.
    pub files: Vec<FileEntry>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// blake3, hexadecimal, of this manifest as compact JSON with an empty digest.
    pub digest: String,
}

impl Manifest {
    /// The digest that the manifest must have.
    pub fn expected_digest(&self) -> String {
        let bare = Self {
            digest: String::new(),
            ..self.clone()
        };
        bare.digest_of_all()
    }

    /// Digest of the manifest, including its own `digest` as it is now.
    fn digest_of_all(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        match serde_json::to_writer(&mut hasher, self) {
            Ok(()) => hasher.finalize().to_string(),
            Err(_) => blake3::hash(b"").to_string(),
        }
    }

    /// Names of the members of the split's group: arrays and columns.
    pub(crate) fn members(&self, split: &SplitEntry) -> BTreeSet<&str> {
        let files = self.files.iter();
        let names = files.filter_map(|file| {
            let path = file.path.strip_prefix(&split.path)?.strip_prefix('/')?;
            let name = path.strip_suffix("/zarr.json")?;
            (!name.contains('/')).then_some(name)
        });
        names.collect()
    }

    /// Names of the index columns of the split.
    pub fn columns(&self, split: &SplitEntry) -> BTreeSet<&str> {
        let mut members = self.members(split);
        members.retain(|name| !self.arrays.contains_key(*name));
        members
    }

    /// The manifest in `json`; `None` if it is damaged.
    pub(crate) fn parse_whole(json: &[u8]) -> Option<Self> {
        let (manifest, expected) = Self::parse(json).ok()?;
        (manifest.digest == expected).then_some(manifest)
    }

    /// The manifest in `json`, and the digest that it must have. No key may occur twice.
    pub(super) fn parse(json: &[u8]) -> Result<(Self, String), serde_json::Error> {
        serde_json::from_slice::<UniqueKeys>(json)?;
        let mut manifest: Self = serde_json::from_slice(json)?;
        let stated = std::mem::take(&mut manifest.digest);
        let expected = manifest.digest_of_all();
        manifest.digest = stated;
        Ok((manifest, expected))
    }
}

/// A volume that windows were cut out of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Name of the layer in the config.
    pub layer: String,
    /// Format in its URL, if any.
    pub format: Option<String>,
    /// Where it is stored, by its URL.
    pub location: String,
    /// Where the info at `location` redirects to, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirected_to: Option<String>,
    /// The table of the roots of its supervoxels, if the voxels are roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
    /// Digest of its metadata, and of the roots.
    pub info_digest: String,
    /// nm per voxel, x y z, by its metadata.
    pub resolution_nm: [f64; 3],
    /// Chunks that windows touch, counted per shard.
    pub chunks_touched: u64,
    /// Missing chunks among them. They read as the fill value.
    pub chunks_missing: u64,
}

/// A box of the collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxEntry {
    /// Its id.
    pub id: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its split; null where its tags match none.
    pub split: Option<String>,
    /// Position of its layer group in [`Manifest::groups`], if it belongs to a split. `None` before version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Lower corner, nm, included.
    pub min_nm: [f64; 3],
    /// Upper corner, nm, not included.
    pub max_nm: [f64; 3],
    /// Annotations whose anchor is inside; 0 where the box has no split, because none was read.
    pub annotations: u64,
    /// Annotations that are samples.
    pub samples: u64,
    /// Annotations that are not samples, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// A layer group: the volumes that the windows in its boxes were cut out of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// nm per voxel of the windows, x y z.
    pub resolution_nm: [f64; 3],
    /// Array name, then the position of its volume in [`Manifest::sources`].
    pub sources: IndexMap<String, usize>,
}

/// A split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitEntry {
    /// Its Zarr group, relative to the manifest.
    pub path: String,
    /// Number of samples.
    pub samples: u64,
    /// Samples per shard.
    pub shard_samples: u64,
}

/// An array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrayEntry {
    /// The layer that its windows are cut out of.
    pub layer: String,
    /// Type of a voxel's value.
    pub data_type: DataType,
    /// Its role: `image`, `target`, `mask`.
    pub role: Option<String>,
    /// How the layer's values were converted.
    pub transform: Value,
    /// Names of its dimensions.
    pub dimensions: Vec<String>,
    /// Shape of a sample, in the order of `dimensions` after the first.
    pub sample_shape: [u64; 4],
    /// Voxels of a window, x y z.
    pub window_voxels: [u32; 3],
    /// How samples are compressed, and how the codec was chosen. `None` in version 1: all are compressed by zstd, level 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<CodecChoice>,
    /// For each split the number of windows that extend past the volume. Empty where they were not counted, as in older
    /// datasets.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub padded_windows: IndexMap<String, u64>,
    /// For each split the statistics of the values: extremes, mean, standard deviation, histogram.
    pub statistics: IndexMap<String, Value>,
}

impl ArrayEntry {
    /// Whether its transform turns every value into 0 or 1.
    pub(crate) fn has_mask_transform(&self) -> bool {
        let name = match &self.transform {
            Value::String(name) => Some(name),
            Value::Object(one) => one.keys().next(),
            _ => None,
        };
        let masks = [
            "nonzero",
            "inside",
            "equals",
            "in",
            "threshold",
            "object_at",
        ];
        name.is_some_and(|name| masks.contains(&name.as_str()))
    }
}

/// A shard file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Relative to the manifest.
    pub path: String,
    /// Size of the file.
    pub bytes: u64,
    /// blake3 of the file, hexadecimal.
    pub blake3: String,
    /// Its split.
    pub split: String,
    /// Its array.
    pub array: String,
    /// First sample in it.
    pub first_sample: u64,
    /// Number of samples in it.
    pub samples: u64,
}

/// A file of a group that is not a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the manifest.
    pub path: String,
    /// Size of the file.
    pub bytes: u64,
    /// blake3 of the file, hexadecimal.
    pub blake3: String,
}
