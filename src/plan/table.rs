//! The types of the sample table, and queries on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::drop_reason::DropReason;
use super::objects::{ObjectCounts, SampleObjects};
use crate::config::{ArrayConfig, Config, LayerConfig};
use crate::geometry::{PointNm, Resolution, VoxelBox, WindowSize};
use crate::points::{PropertySpec, open_layer_with_roots, read_layer_roots};
use crate::storage::{Location, SourceUrl, Storage};
use crate::volume::{Volume, VolumeError};

/// Every sample of every split, and the volumes that its windows are cut from.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The config that the plan was built for.
    pub config: Config,
    /// Every box, in the order of the collections in the config, then in the collection's order.
    pub boxes: Vec<PlannedBox>,
    /// The splits, in the config's order.
    pub splits: Vec<PlannedSplit>,
    /// The arrays, in the config's order.
    pub arrays: Vec<PlannedArray>,
    /// The volumes that windows are cut from, each once.
    pub sources: Vec<VolumeSource>,
    /// The layer groups of the boxes that belong to a split, each once.
    pub groups: Vec<PlannedGroup>,
    /// Whether annotations have two ends: lines, and points whose ends are in other layers. The ends are columns, too.
    pub has_ends: bool,
    /// Annotation properties that every point layer has: one column each.
    pub properties: Vec<PropertySpec>,
    /// For each point layer that has no annotation in any box: where its annotations and its boxes are.
    pub layers_outside_boxes: Vec<String>,
    /// What the user should know although it is not an error.
    pub warnings: Vec<String>,
    /// The annotations in boxes that are no samples. Empty in a plan that was read from an output: no task needs them.
    pub dropped: Vec<DroppedAnnotation>,
    /// Digest of the table before any voxel was read. Places of sources do not change it.
    pub draft_digest: blake3::Hash,
}

/// A volume: its URL, its entry in the config, and the resolution at which it is read. If the config has different
/// entries for two layer names with the same URL, these are two volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeSource {
    /// Where it is stored.
    pub url: SourceUrl,
    /// The layer's entry in the config.
    pub layer: LayerConfig,
    /// The nm per voxel at which it is read.
    pub resolution: Resolution,
    /// The table of the roots of its supervoxels, if the layer's entry has one. The entry has no paths.
    pub roots: Option<Location>,
}

impl VolumeSource {
    /// Opens the volume. Its voxels are roots if the layer has a table of roots.
    pub(crate) fn open(&self, storage: &Storage) -> Result<Arc<dyn Volume>, VolumeError> {
        let (layer, roots) = (&self.layer, self.roots.as_ref());
        open_layer_with_roots(&self.url, &self.resolution, layer, roots, storage)
    }

    /// Reads the table of roots, if the layer has one. The job keeps it for [`VolumeSource::open`].
    pub(crate) fn read_roots(&self, storage: &Storage) -> Result<(), VolumeError> {
        read_layer_roots(&self.url, &self.layer, self.roots.as_ref(), storage).map(drop)
    }

    /// The location that cannot be opened because a secret in its URL was removed, if there is one.
    pub(crate) fn redacted(&self) -> Option<&Location> {
        let locations = [Some(&self.url.location), self.roots.as_ref()];
        let mut locations = locations.into_iter().flatten();
        locations.find(|location| location.is_redacted())
    }
}

/// A layer group: the layers that boxes share.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGroup {
    /// The nm per voxel of the windows in its boxes.
    pub resolution: Resolution,
}

/// A box, and how many of its annotations are samples.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedBox {
    /// Its id. With several collections, it begins with the name of its collection and a slash.
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
    /// The number of annotations whose anchor is inside.
    pub annotations: u64,
    /// The first eight bytes of the digest of these annotations, samples or not.
    pub annotations_digest: u64,
    /// How many of the annotations are samples.
    pub samples: u64,
    /// How many are not, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

/// One split's samples, in the order in which they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedSplit {
    /// Its name.
    pub name: String,
    /// Its samples.
    pub samples: Vec<Sample>,
    /// For each of [`Plan::arrays`] the objects that it shows, if it shows some.
    pub objects: Vec<SampleObjects>,
    /// The first and last end of each sample's annotation with [`Plan::has_ends`], and in a draft in which an array shows the
    /// object at an end. Otherwise empty.
    pub ends: Vec<[PointNm; 2]>,
    /// For each of [`Plan::properties`] the values of all samples, little-endian, concatenated.
    pub properties: Vec<Vec<u8>>,
}

/// Memory that a box takes with its id, tags and counts, approximately.
pub(crate) const BOX_BYTES: usize = 500;

/// Memory that a box takes in the manifest, in the metadata of its group, and in the texts of both, approximately.
const SEALED_BOX_BYTES: usize = 2_000;

impl PlannedSplit {
    fn memory_bytes(&self) -> usize {
        let objects: usize = self.objects.iter().map(SampleObjects::memory_bytes).sum();
        let properties: usize = self.properties.iter().map(Vec::len).sum();
        size_of_val(&self.samples[..]) + size_of_val(&self.ends[..]) + objects + properties
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The annotation's id.
    pub annotation_id: u64,
    /// The anchor at the centre of the window.
    pub center_nm: PointNm,
    /// First voxel, x y z, of a window of the config's size, at the resolution of the box's group.
    pub start_voxel: [i64; 3],
    /// Position of its box in [`Plan::boxes`].
    pub box_index: u32,
}

/// An annotation in a box that is no sample.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedAnnotation {
    /// The annotation's id.
    pub annotation_id: u64,
    /// Its anchor.
    pub center_nm: PointNm,
    /// Position of its box in [`Plan::boxes`].
    pub box_index: u32,
    /// Why it is no sample.
    pub reason: DropReason,
}

/// One array to write.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedArray {
    /// Its name in the output.
    pub name: String,
    /// Size of its windows.
    pub window: WindowSize,
    /// For each layer group the position of its volume in [`Plan::sources`].
    pub source_of_group: Vec<usize>,
    /// If samples may have several objects in it: how many they have. Known when the plan is finished.
    pub objects: Option<ObjectCounts>,
}

impl Plan {
    /// Memory that samples and boxes take, in bytes, with a fraction per window: how much of it is inside of the volume.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let samples: usize = self.splits.iter().map(PlannedSplit::memory_bytes).sum();
        let fractions = self.samples() as usize * self.arrays.len() * size_of::<f32>();
        let dropped = size_of_val(&self.dropped[..]);
        (samples + fractions + dropped + self.boxes.len() * BOX_BYTES) as u64
    }

    /// Memory that the table takes while the dataset is sealed, in bytes, with the boxes in the metadata.
    pub(crate) fn sealing_bytes(&self) -> u64 {
        self.memory_bytes() + (self.boxes.len() * SEALED_BOX_BYTES) as u64
    }

    /// Drops the samples for which `keep`, given split, position and sample, is false. Counts them under `reason`.
    pub(crate) fn retain(
        &mut self,
        reason: DropReason,
        keep: impl Fn(usize, usize, &Sample) -> bool,
    ) {
        self.drop_samples(|split, i, sample| (!keep(split, i, sample)).then_some(reason));
    }

    /// Drops the samples for which `reason`, given split, position and sample, has one. Counts them under it.
    pub(crate) fn drop_samples(
        &mut self,
        reason: impl Fn(usize, usize, &Sample) -> Option<DropReason>,
    ) {
        for (split_index, split) in self.splits.iter_mut().enumerate() {
            let mut kept = Vec::with_capacity(split.samples.len());
            for (i, sample) in split.samples.iter().enumerate() {
                let reason = reason(split_index, i, sample);
                if let Some(reason) = reason {
                    let of_box = &mut self.boxes[sample.box_index as usize];
                    of_box.samples -= 1;
                    *of_box.dropped.entry(reason).or_insert(0) += 1;
                    self.dropped.push(DroppedAnnotation {
                        annotation_id: sample.annotation_id,
                        center_nm: sample.center_nm,
                        box_index: sample.box_index,
                        reason,
                    });
                }
                kept.push(reason.is_none());
            }
            split.retain(&kept, &self.properties);
        }
    }

    /// Gives the samples of a split the order in which `order` lists their positions, each once.
    pub(super) fn reorder(&mut self, split: usize, order: &[usize]) {
        self.splits[split].reorder(order, &self.properties);
    }

    /// The voxels of a sample's window in `array`, at the resolution of the sample's group.
    pub fn window_of(&self, array: usize, sample: &Sample) -> VoxelBox {
        let window = self.arrays[array].window;
        let start = if window == self.config.window {
            Some(sample.start_voxel)
        } else {
            window.start_around(
                &sample.center_nm,
                self.resolution_of(sample),
                self.config.rule,
            )
        };
        // An annotation is only a sample if the windows of all arrays are in range.
        window.at(start.unwrap_or(sample.start_voxel))
    }

    /// Position of the sample's layer group in [`Plan::groups`].
    pub fn group_of(&self, sample: &Sample) -> usize {
        self.boxes[sample.box_index as usize].group
    }

    /// The nm per voxel of the sample's windows.
    pub fn resolution_of(&self, sample: &Sample) -> &Resolution {
        &self.groups[self.group_of(sample)].resolution
    }

    /// The volume that the sample's window of `array` is cut from: a position in [`Plan::sources`].
    pub fn source_of(&self, array: usize, sample: &Sample) -> usize {
        self.arrays[array].source_of_group[self.group_of(sample)]
    }

    /// The name in the config of the layer that the source belongs to.
    pub fn layer_of_source(&self, source: usize) -> &str {
        let config = self.array_of_source(source);
        config.map_or("", |(_, array)| &array.layer)
    }

    /// The config key that sets the resolution at which the source is read.
    pub fn resolution_key_of_source(&self, source: usize) -> String {
        match self.array_of_source(source) {
            Some((name, array)) if array.data_resolution.is_some() => {
                format!("arrays.{name}.data_resolution")
            }
            _ => "resolution".to_owned(),
        }
    }

    /// The first array that is cut from the source.
    fn array_of_source(&self, source: usize) -> Option<(&String, &ArrayConfig)> {
        let array = self
            .arrays
            .iter()
            .position(|a| a.source_of_group.contains(&source));
        self.config.arrays.get_index(array?)
    }

    /// The number of samples in all splits.
    pub fn samples(&self) -> u64 {
        self.splits.iter().map(|s| s.samples.len() as u64).sum()
    }
}

impl PlannedSplit {
    /// Gives all columns the order in which `order` lists the positions of samples.
    fn reorder(&mut self, order: &[usize], properties: &[PropertySpec]) {
        self.samples = reordered(&self.samples, 1, order);
        self.ends = reordered(&self.ends, 1, order);
        for objects in &mut self.objects {
            objects.reorder(order);
        }
        for (values, spec) in self.properties.iter_mut().zip(properties) {
            *values = reordered(values, spec.kind.value_bytes(), order);
        }
    }

    /// The value of the property at position `column`, whose type is `spec`, of the `i`th sample, as the id of an object. Negative
    /// ids are sign-extended.
    pub(crate) fn id_in_property(&self, column: usize, spec: &PropertySpec, i: usize) -> u64 {
        let bytes = spec.kind.value_bytes();
        let value = self.properties[column].get(i * bytes..(i + 1) * bytes);
        let id = value.and_then(|value| spec.whole_number(value));
        id.map_or(0, |id| id as u64)
    }

    /// Keeps the samples for which `kept` is true, in all columns.
    fn retain(&mut self, kept: &[bool], properties: &[PropertySpec]) {
        retain_rows(&mut self.samples, 1, kept);
        retain_rows(&mut self.ends, 1, kept);
        for objects in &mut self.objects {
            objects.retain(kept);
        }
        for (values, spec) in self.properties.iter_mut().zip(properties) {
            retain_rows(values, spec.kind.value_bytes(), kept);
        }
    }
}

/// The values of rows in the order in which `order` lists them.
fn reordered<T: Clone>(values: &[T], values_per_row: usize, order: &[usize]) -> Vec<T> {
    if values.is_empty() {
        return Vec::new();
    }
    let row = |i: &usize| &values[i * values_per_row..(i + 1) * values_per_row];
    order.iter().flat_map(row).cloned().collect()
}

/// Keeps the values of the rows for which `kept` is true.
fn retain_rows<T>(values: &mut Vec<T>, values_per_row: usize, kept: &[bool]) {
    let mut i = 0;
    values.retain(|_| {
        i += 1;
        kept.get((i - 1) / values_per_row).copied().unwrap_or(false)
    });
}
