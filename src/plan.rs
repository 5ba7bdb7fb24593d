//! The sample table: which sample exists, where its window starts, and in which order samples are stored.
//!
//! In go config, collection and annotations; out comes a [`Plan`]. It is a pure function of those: nothing
//! here reads or writes, and everything downstream is a function of (plan, source). Samples are ordered by
//! box, as in the collection; inside a box by a space-filling curve over cells of one window, so that
//! neighbours share source chunks; inside a cell by annotation id.

mod boxes;
mod choose;
mod displaced;
mod empty;
mod error;
mod leaks;
mod order;
mod resolution;

use std::collections::{BTreeMap, HashSet};

use crate::collection::Collection;
use crate::config::{ArrayConfig, Config, ConfigFile, LayerConfig};
use crate::geometry::{BoxNm, PointNm, Resolution, VoxelBox, WindowSize};
use crate::points::{PointsInBoxes, PropertySpec};
use crate::storage::SourceUrl;
use crate::volume::VolumeError;

pub use boxes::ReadPlan;
pub use displaced::{Displaced, DisplacedLayers};
pub(crate) use displaced::{Window as WindowAround, WindowsOfLayer};
pub use error::{NotCounted, PlanError};
pub use leaks::LeakReport;

/// Every sample of every split, and what it is cut out of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The job description that the plan carries out.
    pub config: Config,
    /// Every box of the collection, in its order.
    pub boxes: Vec<PlannedBox>,
    /// The splits, as the config lists them.
    pub splits: Vec<PlannedSplit>,
    /// The arrays, as the config lists them.
    pub arrays: Vec<PlannedArray>,
    /// The volumes that windows are cut out of, each once.
    pub sources: Vec<VolumeSource>,
    /// The layer groups that boxes of a split have, each once.
    pub groups: Vec<PlannedGroup>,
    /// Annotation properties that every point layer has: one column each.
    pub properties: Vec<PropertySpec>,
    /// Where annotations and boxes lie, for each point layer none of whose annotations lies in a box.
    pub outside_of_boxes: Vec<String>,
    /// What a person should know, though it is no error.
    pub warnings: Vec<String>,
}

/// A volume: where it lies, what the config says of it, and at which resolution it is read. The same place under
/// two names of layers of which the config says different things is two volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeSource {
    /// Where it lies.
    pub url: SourceUrl,
    /// What the config says of the layer.
    pub layer: LayerConfig,
    /// nm per voxel at which it is read.
    pub resolution: Resolution,
}

/// A layer group: the layers that boxes share.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGroup {
    /// nm per voxel of the windows of its boxes' samples.
    pub resolution: Resolution,
}

/// A box and what became of its annotations.
#[derive(Clone, Debug)]
pub struct PlannedBox {
    /// Its id in the collection.
    pub id: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Lower corner, nm.
    pub min_nm: [f64; 3],
    /// Upper corner, nm.
    pub max_nm: [f64; 3],
    /// Position of its split in [`Plan::splits`], if it belongs to one.
    pub split: Option<usize>,
    /// Position of its layer group in [`Plan::groups`]. 0 without a split.
    pub group: usize,
    /// Annotations whose anchor lies inside.
    pub annotations: u64,
    /// Start of the digest of these, whatever becomes of them.
    pub annotations_digest: u64,
    /// Those that are samples.
    pub samples: u64,
    /// Those that are not, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

/// Why an annotation inside a box is no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Its window would lie beyond the coordinates that voxels can have.
    WindowOutOfRange,
    /// Its window leaves the volume of a layer.
    WindowLeavesVolume,
    /// There is no object at its point.
    NoObject,
    /// Too few of an array's values are not 0.
    TooLittleNonzero,
    /// A property has a value that `filter` does not keep.
    Filter,
    /// It is related to none of the objects in `related`.
    NotRelated,
    /// With `"repeats": "once"`: it is in an earlier box of the split.
    InAnEarlierBox,
    /// It is nearer than `min_distance_nm` to one that is kept.
    TooNear,
    /// Its box has `max_per_box` others.
    OverMaxPerBox,
    /// Its window shares voxels with one of another split, and `leaks` drops it.
    Leak,
}

impl DropReason {
    /// Its name in manifest and summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::WindowOutOfRange => "window_out_of_range",
            Self::WindowLeavesVolume => "window_leaves_volume",
            Self::NoObject => "no_object",
            Self::TooLittleNonzero => "too_little_nonzero",
            Self::Filter => "filter",
            Self::NotRelated => "not_related",
            Self::InAnEarlierBox => "in_an_earlier_box",
            Self::TooNear => "too_near",
            Self::OverMaxPerBox => "over_max_per_box",
            Self::Leak => "leak",
        }
    }
}

/// One split's samples, in the order in which they are stored.
#[derive(Clone, Debug)]
pub struct PlannedSplit {
    /// Its name.
    pub name: String,
    /// Its samples.
    pub samples: Vec<Sample>,
    /// For each of [`Plan::arrays`] that shows one object the sample's, 0 where none was found; empty for other arrays.
    pub objects: Vec<Vec<u64>>,
    /// The samples' annotations' first and last ends, where an array shows the object at one. Otherwise empty.
    pub ends: Vec<[PointNm; 2]>,
    /// For each of [`Plan::properties`] the samples' values, little-endian, one after the other.
    pub properties: Vec<Vec<u8>>,
}

impl PlannedSplit {
    /// Keeps the samples, and all that is known of them, for which `kept` is true.
    fn retain(&mut self, kept: &[bool], properties: &[PropertySpec]) {
        fn rows<T: Copy>(values: &mut Vec<T>, per_sample: usize, kept: &[bool]) {
            let mut i = 0;
            values.retain(|_| {
                i += 1;
                kept.get((i - 1) / per_sample).copied().unwrap_or(false)
            });
        }
        let mut i = 0;
        self.samples.retain(|_| {
            i += 1;
            kept[i - 1]
        });
        rows(&mut self.ends, 1, kept);
        for objects in &mut self.objects {
            rows(objects, 1, kept);
        }
        for (values, spec) in self.properties.iter_mut().zip(properties) {
            rows(values, spec.kind.value_bytes(), kept);
        }
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The annotation's id.
    pub annotation_id: u64,
    /// The anchor that the window is centred on.
    pub center_nm: PointNm,
    /// First voxel, x y z, of a window of the config's size, at the resolution of the box's group.
    pub start_voxel: [i64; 3],
    /// Position of its box in [`Plan::boxes`].
    pub box_index: u32,
}

/// One array to write.
#[derive(Clone, Debug)]
pub struct PlannedArray {
    /// Its name in the output.
    pub name: String,
    /// Size of its windows.
    pub window: WindowSize,
    /// For each layer group the position of its volume in [`Plan::sources`].
    pub source_of_group: Vec<usize>,
}

/// What was read of one point layer.
#[derive(Debug)]
pub struct PointsOfLayer<'l> {
    /// Its annotations, for the boxes of [`ReadPlan::boxes_of_points`].
    pub points: PointsInBoxes,
    /// Its properties.
    pub properties: &'l [PropertySpec],
    /// Where its annotations lie, inside boxes or not, where none lies in a box and that is known.
    pub extent: Option<BoxNm>,
    /// With `related` in the config, the annotations that it keeps.
    pub related: Option<HashSet<u64>>,
}

impl Plan {
    /// The table for `jobs`, given the annotations of each of its point layers. What the volumes have to say
    /// about its samples comes next, then [`Plan::finish`].
    ///
    /// `layers` has one entry for each of [`ReadPlan::point_sources`].
    pub fn build(jobs: &ReadPlan, layers: Vec<PointsOfLayer>) -> Result<Self, PlanError> {
        boxes::build(jobs, layers)
    }

    /// Drops the samples for which `keep`, given split and position, is false, and counts them under `reason`.
    pub(crate) fn retain(
        &mut self,
        reason: DropReason,
        keep: impl Fn(usize, usize, &Sample) -> bool,
    ) {
        for (number, split) in self.splits.iter_mut().enumerate() {
            let kept: Vec<bool> = split
                .samples
                .iter()
                .enumerate()
                .map(|(i, sample)| keep(number, i, sample))
                .collect();
            for (sample, _) in split.samples.iter().zip(&kept).filter(|(_, kept)| !**kept) {
                let of_box = &mut self.boxes[sample.box_index as usize];
                of_box.samples -= 1;
                *of_box.dropped.entry(reason).or_insert(0) += 1;
            }
            split.retain(&kept, &self.properties);
        }
    }

    /// What can be done only when all else about the samples is known: the choice of `max_per_box` of a box, and
    /// no leaks between the splits that are left.
    pub fn finish(mut self) -> Result<Self, PlanError> {
        choose::over_max_per_box(&mut self);
        leaks::settle(&mut self)?;
        self.tell_of_empty_splits();
        Ok(self)
    }

    /// Which boxes are read from where, before any annotation is. With `flexible_z`, `resolutions_of` is asked
    /// which resolutions each volume has.
    pub fn jobs(
        config: &ConfigFile,
        collection: &Collection,
        resolutions_of: impl Fn(&SourceUrl, &LayerConfig) -> Result<Vec<Resolution>, VolumeError> + Sync,
    ) -> Result<ReadPlan, PlanError> {
        ReadPlan::new(config, collection, &resolutions_of)
    }

    /// The voxels of a sample's window in `array`, at the resolution of the sample's group.
    pub fn window_of(&self, array: usize, sample: &Sample) -> VoxelBox {
        let window = self.arrays[array].window;
        let start = match window == self.config.window {
            true => Some(sample.start_voxel),
            false => window.start_around(&sample.center_nm, self.resolution_of(sample)),
        };
        // A sample of which any window is out of range is none.
        window.at(start.unwrap_or(sample.start_voxel))
    }

    /// Position of the sample's layer group in [`Plan::groups`].
    pub fn group_of(&self, sample: &Sample) -> usize {
        self.boxes[sample.box_index as usize].group
    }

    /// nm per voxel of the sample's windows.
    pub fn resolution_of(&self, sample: &Sample) -> &Resolution {
        &self.groups[self.group_of(sample)].resolution
    }

    /// The volume that the sample's window of `array` is cut out of: a position in [`Plan::sources`].
    pub fn source_of(&self, array: usize, sample: &Sample) -> usize {
        let group = self.boxes[sample.box_index as usize].group;
        self.arrays[array].source_of_group[group]
    }

    /// Name in the config of the layer that the source is.
    pub fn layer_of_source(&self, source: usize) -> &str {
        let config = self.array_of_source(source);
        config.map_or("", |(_, array)| &array.layer)
    }

    /// Where the config says at which resolution the source is read.
    pub fn resolution_key_of_source(&self, source: usize) -> String {
        match self.array_of_source(source) {
            Some((name, array)) if array.data_resolution.is_some() => {
                format!("arrays.{name}.data_resolution")
            }
            _ => "resolution".to_owned(),
        }
    }

    /// The first array that is cut out of the source.
    fn array_of_source(&self, source: usize) -> Option<(&String, &ArrayConfig)> {
        let array = self
            .arrays
            .iter()
            .position(|a| a.source_of_group.contains(&source));
        self.config.arrays.get_index(array?)
    }

    /// Number of samples in all splits.
    pub fn samples(&self) -> u64 {
        self.splits.iter().map(|s| s.samples.len() as u64).sum()
    }

    /// Digest of the whole table. Equal digests: the same samples in the same order out of the same sources.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut text = |value: serde_json::Value| {
            let text = value.to_string();
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(self.config.published());
        for b in &self.boxes {
            text(serde_json::json!([
                b.id, b.tags, b.min_nm, b.max_nm, b.split, b.group
            ]));
        }
        for source in &self.sources {
            text(serde_json::json!([
                source.url.format,
                source.url.location.to_string(),
                source.resolution
            ]));
        }
        for group in &self.groups {
            text(serde_json::json!(group.resolution));
        }
        for array in &self.arrays {
            text(serde_json::json!([array.name, array.source_of_group]));
        }
        for property in &self.properties {
            text(serde_json::json!(property.id));
        }
        for split in &self.splits {
            hasher.update(&(split.samples.len() as u64).to_le_bytes());
            for s in &split.samples {
                hasher.update(&s.annotation_id.to_le_bytes());
                hasher.update(bytemuck::bytes_of(&s.center_nm.0));
                hasher.update(bytemuck::bytes_of(&s.start_voxel));
                hasher.update(&s.box_index.to_le_bytes());
            }
            for objects in &split.objects {
                hasher.update(bytemuck::cast_slice(objects));
            }
            for column in &split.properties {
                hasher.update(column);
            }
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests;
