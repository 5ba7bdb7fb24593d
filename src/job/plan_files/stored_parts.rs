//! Parts of a plan as `plan.json` has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::LayerConfig;
use crate::data_type::{DataType, Scalar};
use crate::dataset::{ArrayLayout, Codec, CodecChoice, SplitLayout};
use crate::geometry::{Resolution, SourceTransform};
use crate::plan::{
    DropReason, ObjectCounts, PlannedArray, PlannedBox, Reuse, ReusedShards, SourceFacts,
    VolumeSource,
};
use crate::storage::{LayerInFile, Location, SourceUrl};

/// A volume, and the facts about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredSource {
    format: Option<String>,
    location: Location,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inside: Option<LayerInFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transform: Option<SourceTransform>,
    layer: LayerConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roots: Option<Location>,
    resolution_nm: Resolution,
    metadata_digest: String,
    redirected_to: Option<String>,
    metadata_resolution_nm: Resolution,
    described: String,
}

impl StoredSource {
    pub(super) fn of(source: &VolumeSource, facts: &SourceFacts) -> Self {
        Self {
            format: source.url.format.clone(),
            location: source.url.location.clone(),
            inside: source.url.inside.clone(),
            transform: source.url.transform.as_deref().cloned(),
            layer: source.layer.clone(),
            roots: source.roots.clone(),
            resolution_nm: source.resolution,
            metadata_digest: facts.metadata_digest.to_string(),
            redirected_to: facts.redirected_to.clone(),
            metadata_resolution_nm: facts.resolution,
            described: facts.described.clone(),
        }
    }

    pub(super) fn parse(&self) -> Result<(VolumeSource, SourceFacts), String> {
        let source = VolumeSource {
            url: SourceUrl {
                format: self.format.clone(),
                location: self.location.clone(),
                inside: self.inside.clone(),
                transform: self.transform.clone().map(Arc::new),
            },
            layer: self.layer.clone(),
            roots: self.roots.clone(),
            resolution: self.resolution_nm,
        };
        let facts = SourceFacts {
            metadata_digest: parse_digest(&self.metadata_digest)?,
            redirected_to: self.redirected_to.clone(),
            resolution: self.metadata_resolution_nm,
            described: self.described.clone(),
        };
        Ok((source, facts))
    }
}

/// An array, and its layout.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredArray {
    pub(super) name: String,
    /// For each layer group a position in the list of sources.
    pub(super) source_of_group: Vec<usize>,
    data_type: DataType,
    channels: u32,
    /// Its bytes, little-endian.
    fill_value: Vec<u8>,
    codec: CodecChoice,
    /// By split.
    pub(super) padded_windows: Vec<u64>,
    /// If samples may have several objects in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) objects: Option<ObjectCounts>,
}

impl StoredArray {
    pub(super) fn of(planned: &PlannedArray, layout: &ArrayLayout, padded: Vec<u64>) -> Self {
        let value_bytes = layout.data_type.size_bytes();
        Self {
            name: layout.name.clone(),
            source_of_group: planned.source_of_group.clone(),
            data_type: layout.data_type,
            channels: layout.channels,
            fill_value: layout.fill_value.bytes(value_bytes).to_vec(),
            codec: layout.codec,
            padded_windows: padded,
            objects: planned.objects,
        }
    }

    /// The layout of the array, whose windows are those of `planned`.
    pub(super) fn layout(&self, planned: &PlannedArray) -> Result<ArrayLayout, String> {
        let problem = |what: String| format!("the array `{}`: {what}", self.name);
        let value_bytes = self.data_type.size_bytes();
        let fill_value = Scalar::from_le_bytes(&self.fill_value)
            .filter(|_| self.fill_value.len() == value_bytes)
            .ok_or_else(|| {
                let found = self.fill_value.len();
                problem(format!(
                    "its fill value has {found} bytes, expected {value_bytes}"
                ))
            })?;
        let bytes = planned
            .window
            .volume_voxels()
            .checked_mul(u64::from(self.channels))
            .and_then(|n| n.checked_mul(value_bytes as u64));
        if self.channels == 0 || bytes.is_none() {
            let found = self.channels;
            return Err(problem(format!(
                "it has {found} channels, expected at least 1, and windows that fit in memory"
            )));
        }
        let is_valid = match self.codec.codec {
            Codec::None => true,
            Codec::Zstd { level } => (1..=22).contains(&level),
            Codec::Blosc { clevel, .. } => clevel <= 9,
        };
        if !is_valid {
            return Err(problem(format!(
                "its codec is {:?}, expected a level from 1",
                self.codec.codec
            )));
        }
        if let Some(align) = self
            .codec
            .align_bytes
            .filter(|align| !align.is_power_of_two())
        {
            return Err(problem(format!(
                "its samples are aligned to {align} bytes, expected a power of two"
            )));
        }
        Ok(ArrayLayout {
            name: self.name.clone(),
            data_type: self.data_type,
            channels: self.channels,
            window: planned.window,
            fill_value,
            codec: self.codec,
        })
    }
}

/// A split, without its samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredSplit {
    pub(super) name: String,
    pub(super) samples: u64,
    shard_samples: u64,
}

impl StoredSplit {
    pub(super) fn of(split: &SplitLayout) -> Self {
        Self {
            name: split.name.clone(),
            samples: split.samples,
            shard_samples: split.shard_samples,
        }
    }

    pub(super) fn layout(&self) -> Result<SplitLayout, String> {
        if (1..=self.samples.max(1)).contains(&self.shard_samples) {
            Ok(SplitLayout {
                name: self.name.clone(),
                samples: self.samples,
                shard_samples: self.shard_samples,
            })
        } else {
            Err(format!(
                "the split `{}` has {} samples and {} of them per shard, expected 1 to all of them",
                self.name, self.samples, self.shard_samples
            ))
        }
    }
}

/// A box.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredBox {
    id: String,
    tags: Vec<String>,
    min_nm: [f64; 3],
    max_nm: [f64; 3],
    split: Option<usize>,
    group: usize,
    annotations: u64,
    annotations_digest: String,
    samples: u64,
    dropped: BTreeMap<String, u64>,
}

impl StoredBox {
    pub(super) fn of(b: &PlannedBox) -> Self {
        let dropped = b.dropped.iter();
        Self {
            id: b.id.clone(),
            tags: b.tags.clone(),
            min_nm: b.min_nm,
            max_nm: b.max_nm,
            split: b.split,
            group: b.group,
            annotations: b.annotations,
            annotations_digest: format!("{:016x}", b.annotations_digest),
            samples: b.samples,
            dropped: dropped.map(|(r, n)| (r.name().to_owned(), *n)).collect(),
        }
    }

    pub(super) fn parse(&self) -> Result<PlannedBox, String> {
        let problem = |what: String| format!("the box {:?}: {what}", self.id);
        let digest = u64::from_str_radix(&self.annotations_digest, 16).map_err(|e| {
            problem(format!(
                "the digest of its annotations is {:?}: {e}, expected 16 hexadecimal digits",
                self.annotations_digest
            ))
        })?;
        let dropped = self.dropped.iter().map(|(name, n)| {
            let reason = DropReason::from_name(name);
            let unknown = || problem(format!("found the unknown reason {name:?}"));
            Ok((reason.ok_or_else(unknown)?, *n))
        });
        Ok(PlannedBox {
            id: self.id.clone(),
            tags: self.tags.clone(),
            min_nm: self.min_nm,
            max_nm: self.max_nm,
            split: self.split,
            group: self.group,
            annotations: self.annotations,
            annotations_digest: digest,
            samples: self.samples,
            dropped: dropped.collect::<Result<_, String>>()?,
        })
    }
}

/// Shards of an earlier output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredReuse {
    location: Location,
    plan_digest: String,
    /// For each source of the earlier plan its position here.
    sources: Vec<Option<usize>>,
    shards: Vec<StoredShards>,
}

/// Consecutive shards of an array.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredShards {
    split: usize,
    array: usize,
    first: u64,
    end: u64,
}

impl StoredReuse {
    pub(super) fn of(reuse: &Reuse) -> Self {
        let shards = reuse.shards.iter().map(|r| StoredShards {
            split: r.split,
            array: r.array,
            first: r.shards.start,
            end: r.shards.end,
        });
        Self {
            location: reuse.location.clone(),
            plan_digest: reuse.plan_digest.clone(),
            sources: reuse.sources.clone(),
            shards: shards.collect(),
        }
    }

    /// The positions in it may be wrong.
    pub(super) fn parse(&self) -> Reuse {
        let shards = self.shards.iter().map(|s| ReusedShards {
            split: s.split,
            array: s.array,
            shards: s.first..s.end,
        });
        Reuse {
            location: self.location.clone(),
            plan_digest: self.plan_digest.clone(),
            sources: self.sources.clone(),
            shards: shards.collect(),
        }
    }
}

/// A digest in hexadecimal digits.
pub(super) fn parse_digest(hex: &str) -> Result<blake3::Hash, String> {
    blake3::Hash::from_hex(hex)
        .map_err(|e| format!("found the digest {hex:?}: {e}, expected 64 hexadecimal digits"))
}
