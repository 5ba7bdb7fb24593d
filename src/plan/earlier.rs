//! An earlier plan whose samples a new plan has, too: which of them are the same, and what is known about them.
//!
//! Samples are the same if box and annotation have the same ids. Their windows are the same if they start at the same voxel of
//! the same volume, and show the same object. A volume is the same if its place and its metadata are.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::finished::FinishedPlan;
use super::reuse::Reuse;
use super::table::{Plan, PlannedSplit, Sample};
use crate::config::{ArrayConfig, Config, ObjectSearch, Transform};
use crate::dataset::{CodecChoice, Layout, ShardId};
use crate::storage::Location;

/// Memory that an earlier plan takes for each of its samples while a new one is made, beside the plan itself: the map of
/// positions, and lists while samples get their order.
const SAMPLE_BYTES: u64 = 100;

/// An earlier plan, compared with a new one.
#[derive(Debug)]
pub(crate) struct EarlierPlan<'p> {
    earlier: &'p FinishedPlan,
    /// For each source of the new plan its position in the earlier one, if it is the same volume, read in the same way.
    sources: Vec<Option<usize>>,
    /// For each split of the new plan the position of the one with its name.
    splits: Vec<Option<usize>>,
    /// For each array of the new plan the one with its name, if its windows have the same values.
    arrays: Vec<Option<EarlierArray>>,
    /// For each box of the new plan whether it has the same annotations, with ends and properties, as the one with its id.
    has_same_annotations: Vec<bool>,
    /// Position of each sample in its earlier split, by the position of its box in the new plan, and annotation.
    positions: HashMap<(u32, u64), usize, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct EarlierArray {
    /// Its position in the earlier plan.
    position: usize,
    /// Whether the same samples are dropped because of it, and have the same objects.
    same_choice: bool,
    /// Whether the config has the same codec.
    same_codec: bool,
}

impl<'p> EarlierPlan<'p> {
    /// Memory that an earlier plan with this many samples takes, beside the plan itself.
    pub fn memory_bytes(samples: u64) -> u64 {
        samples.saturating_mul(SAMPLE_BYTES)
    }

    /// Compares the plan `now` with an earlier one. `sources` has for each source of `now` its position in the earlier plan, if
    /// it is the same.
    pub fn new(earlier: &'p FinishedPlan, now: &Plan, sources: Vec<Option<usize>>) -> Self {
        let (was, config) = (&earlier.table.config, &now.config);
        let same_reading = was.missing == config.missing && was.axis_order == config.axis_order;
        let arrays = config.arrays.iter().map(|(name, array)| {
            let (position, _, before) = was.arrays.get_full(name)?;
            (same_reading && same_values(before, array)).then(|| EarlierArray {
                position,
                same_choice: same_choice(was, config, name),
                same_codec: before.codec == array.codec,
            })
        });
        let split_named = |name: &String| earlier.table.splits.iter().position(|s| s.name == *name);
        let splits: Vec<_> = now.splits.iter().map(|s| split_named(&s.name)).collect();
        let by_id: HashMap<&str, usize> = {
            let boxes = earlier.table.boxes.iter().enumerate();
            boxes.map(|(i, b)| (b.id.as_str(), i)).collect()
        };
        let mut new_index = vec![None; earlier.table.boxes.len()];
        let mut has_same_annotations = vec![false; now.boxes.len()];
        for (i, b) in now.boxes.iter().enumerate() {
            let Some(index) = by_id.get(b.id.as_str()).copied() else {
                continue;
            };
            let before = &earlier.table.boxes[index];
            let split = b.split.and_then(|split| splits[split]);
            if split.is_some() && before.split == split {
                new_index[index] = Some(i as u32);
                has_same_annotations[i] = (b.annotations, b.annotations_digest)
                    == (before.annotations, before.annotations_digest);
            }
        }
        let mut positions = HashMap::default();
        for split in &earlier.table.splits {
            for (i, sample) in split.samples.iter().enumerate() {
                if let Some(index) = new_index[sample.box_index as usize] {
                    positions.insert((index, sample.annotation_id), i);
                }
            }
        }
        Self {
            arrays: arrays.collect(),
            earlier,
            sources,
            splits,
            has_same_annotations,
            positions,
        }
    }

    /// The objects that the `i`th sample of a split of `now` has in the array, if that follows from the earlier plan.
    pub fn known_objects(
        &self,
        now: &Plan,
        array: usize,
        split: &PlannedSplit,
        i: usize,
    ) -> Option<&'p [u64]> {
        let (split, i, before) = self.known(now, array, split, i)?;
        let objects = &self.earlier.table.splits[split].objects[before.position];
        Some(objects.of(i))
    }

    /// Whether it follows from the earlier plan that the array does not drop the `i`th sample of a split of `now`.
    pub fn is_known_to_be_kept(
        &self,
        now: &Plan,
        array: usize,
        split: &PlannedSplit,
        i: usize,
    ) -> bool {
        self.known(now, array, split, i).is_some()
    }

    /// Where the sample is in the earlier plan, if it has the same object there, and the same reasons to be kept.
    fn known(
        &self,
        now: &Plan,
        array: usize,
        of_split: &PlannedSplit,
        number: usize,
    ) -> Option<(usize, usize, EarlierArray)> {
        let before = self.arrays[array].filter(|before| before.same_choice)?;
        let sample = &of_split.samples[number];
        if !self.has_same_annotations[sample.box_index as usize] {
            return None;
        }
        let (split, i) = self.position(now, sample)?;
        // The digest of annotations does not have the names of their properties.
        if !self.has_same_properties(now, (of_split, number), (split, i)) {
            return None;
        }
        let has_same_volumes = |of: usize| {
            let was = self.arrays[of].map(|of| of.position);
            was.is_some_and(|was| self.has_same_window((now, of, sample), (was, split, i)))
        };
        let mask = mask_of(&now.config, array);
        let same = has_same_volumes(array) && mask.is_none_or(has_same_volumes);
        same.then_some((split, i, before))
    }

    /// The codec of the array in the earlier plan, if the config has the same.
    pub fn codec(&self, array: usize) -> Option<CodecChoice> {
        let before = self.arrays[array].filter(|before| before.same_codec)?;
        let of_array = self.earlier.layout.arrays.get(before.position)?;
        Some(of_array.codec)
    }

    /// Split and position of the sample in the earlier plan.
    fn position(&self, now: &Plan, sample: &Sample) -> Option<(usize, usize)> {
        let key = (sample.box_index, sample.annotation_id);
        let i = *self.positions.get(&key)?;
        let split = now.boxes[sample.box_index as usize].split?;
        Some((self.splits[split]?, i))
    }

    /// Whether both samples have the same properties, with the same names and types.
    fn has_same_properties(
        &self,
        now: &Plan,
        (split, i): (&PlannedSplit, usize),
        (before, j): (usize, usize),
    ) -> bool {
        let was = &self.earlier.table;
        let before = &was.splits[before];
        let mut both = now.properties.iter().zip(&was.properties).enumerate();
        now.properties.len() == was.properties.len()
            && both.all(|(column, (a, b))| {
                let bytes = a.kind.value_bytes();
                let value = |split: &'_ PlannedSplit, i: usize| -> Option<Vec<u8>> {
                    let values = split.properties[column].get(i * bytes..(i + 1) * bytes);
                    values.map(<[u8]>::to_vec)
                };
                (&a.id, a.kind) == (&b.id, b.kind) && value(split, i) == value(before, j)
            })
    }

    /// Whether the sample's window in an array of `now` covers the same voxels of the same volume as that of the `i`th sample of
    /// an earlier split.
    fn has_same_window(
        &self,
        (now, array, sample): (&Plan, usize, &Sample),
        (earlier_array, split, i): (usize, usize, usize),
    ) -> bool {
        let was = &self.earlier.table;
        let before = &was.splits[split].samples[i];
        self.sources[now.source_of(array, sample)] == Some(was.source_of(earlier_array, before))
            && now.resolution_of(sample) == was.resolution_of(before)
            && now.window_of(array, sample) == was.window_of(earlier_array, before)
    }

    /// Whether no sample of the earlier plan is in a box of the new one: boxes have the same ids, and are in splits with the same
    /// names.
    pub fn has_no_common_box(&self) -> bool {
        self.positions.is_empty() && self.earlier.table.samples() > 0
    }

    /// Gives the samples of the new plan the order of the earlier one. A sample that both have keeps its position. New samples
    /// take the positions of samples that are gone, and the others follow at the end. Positions that remain free are closed.
    pub fn keep_order(&self, now: &mut Plan) {
        for number in 0..now.splits.len() {
            let Some(split) = self.splits[number] else {
                continue;
            };
            let samples = &now.splits[number].samples;
            let mut order = vec![None; self.earlier.table.splits[split].samples.len()];
            let mut new = Vec::new();
            for (i, sample) in samples.iter().enumerate() {
                match self.position(now, sample) {
                    Some((_, position)) => order[position] = Some(i),
                    None => new.push(i),
                }
            }
            let mut new = new.into_iter();
            for free in order.iter_mut().filter(|place| place.is_none()) {
                *free = new.next();
            }
            let order: Vec<usize> = order.into_iter().flatten().chain(new).collect();
            now.reorder(number, &order);
        }
    }

    /// Keeps the number of samples per shard, where whole shards may be the same: where the earlier split had several, or has no
    /// other number of samples now.
    pub fn keep_shard_samples(&self, now: &Plan, layout: &mut Layout) {
        if now.config.shard_samples != self.earlier.table.config.shard_samples {
            return;
        }
        for (split, earlier) in layout.splits.iter_mut().zip(&self.splits) {
            let Some(number) = *earlier else { continue };
            let before = &self.earlier.layout.splits[number];
            if self.earlier.layout.shards(number) > 1 || before.samples == split.samples {
                split.shard_samples = before.shard_samples.min(split.samples.max(1));
            }
        }
    }

    /// The shards of the earlier output, which is at `location`, that have the bytes of shards of the new plan.
    /// `plan_digest` is that of the earlier plan.
    pub fn reuse(
        &self,
        now: &Plan,
        layout: &Layout,
        location: Location,
        plan_digest: &str,
    ) -> Reuse {
        let mut sources = vec![None; self.earlier.table.sources.len()];
        for (source, earlier) in self.sources.iter().enumerate() {
            if let Some(earlier) = earlier {
                sources[*earlier] = Some(source);
            }
        }
        let mut reuse = Reuse {
            location,
            plan_digest: plan_digest.to_owned(),
            sources,
            shards: Vec::new(),
        };
        for id in layout.all_shards() {
            if self.has_same_shard(now, layout, id) {
                reuse.add(id);
            }
        }
        reuse
    }

    fn has_same_shard(&self, now: &Plan, layout: &Layout, id: ShardId) -> bool {
        let (Some(split), Some(array)) = (self.splits[id.split], self.arrays[id.array]) else {
            return false;
        };
        let before = &self.earlier.layout;
        let shard_samples = |layout: &Layout, split: usize| layout.splits[split].shard_samples;
        if layout.arrays[id.array] != before.arrays[array.position]
            || shard_samples(layout, id.split) != shard_samples(before, split)
            || id.shard >= before.shards(split)
        {
            return false;
        }
        let earlier_id = ShardId {
            split,
            array: array.position,
            shard: id.shard,
        };
        let range = layout.samples(id);
        let was = &self.earlier.table;
        range == before.samples(earlier_id)
            && range.into_iter().all(|i| {
                let i = i as usize;
                let sample = &now.splits[id.split].samples[i];
                self.position(now, sample) == Some((split, i))
                    && self.has_same_window((now, id.array, sample), (array.position, split, i))
                    && now.splits[id.split].objects[id.array].of(i)
                        == was.splits[split].objects[array.position].of(i)
            })
    }
}

/// Whether windows of both arrays have the same values, if they are cut out of the same volume and show the same object.
fn same_values(was: &ArrayConfig, now: &ArrayConfig) -> bool {
    let values = |array: &ArrayConfig| ArrayConfig {
        role: None,
        min_nonzero_fraction: None,
        codec: Default::default(),
        ..array.clone()
    };
    values(was) == values(now)
}

/// Whether the array `name` drops the same samples in both configs, and finds the same objects.
fn same_choice(was: &Config, now: &Config, name: &str) -> bool {
    let both = (was.arrays.get(name), now.arrays.get(name));
    let (Some(before), Some(array)) = both else {
        return false;
    };
    let mask = now.arrays.get_index_of(name).and_then(|i| mask_of(now, i));
    let same_mask = mask.is_none_or(|mask| {
        let (name, mask) = (now.arrays.get_index(mask)).unzip();
        let before = name.and_then(|name| was.arrays.get(name));
        before.zip(mask).is_some_and(|(a, b)| same_values(a, b))
    });
    before.min_nonzero_fraction == array.min_nonzero_fraction
        && before.transform == array.transform
        && same_mask
}

/// The array under whose mask the array at this position looks up its object, if it does.
fn mask_of(config: &Config, array: usize) -> Option<usize> {
    let (_, of_array) = config.arrays.get_index(array)?;
    match &of_array.transform {
        Transform::ObjectAt(at) => match at.search() {
            ObjectSearch::Majority(name) => config.arrays.get_index_of(name),
            _ => None,
        },
        _ => None,
    }
}
