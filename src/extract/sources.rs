//! The volumes of a plan, opened, and how each array's windows come out of them.

use std::sync::Arc;

use super::array_recipe::ArrayRecipe;
use super::converted::ConvertedVolume;
use super::error::ExtractError;
use super::no_scale;
use crate::config::ArrayConfig;
use crate::data_type::Scalar;
use crate::dataset::{CodecChoice, Layout};
use crate::geometry::VoxelBox;
use crate::plan::{Plan, Sample, VolumeSource};
use crate::storage::{ParallelTasks, Storage, wait_in_parallel};
use crate::volume::{RootMap, Volume, VolumeError};
use crate::voxels::{Conversion, Resampler, WindowResampler};

/// The volumes of a plan, opened, and how each array's windows come out of them.
#[derive(Clone, Debug)]
pub struct Sources {
    /// One volume per [`Plan::sources`]. Where all arrays that are cut out of a volume convert its values in the same way, its blocks
    /// hold converted values.
    pub volumes: Vec<Arc<dyn Volume>>,
    /// For each volume whether its blocks hold converted values.
    is_converted: Vec<bool>,
    /// Bytes of the largest block before its values are converted.
    unconverted_block_bytes: u64,
    recipes: Vec<ArrayRecipe>,
    /// What the volumes are read through.
    storage: Storage,
}

impl Sources {
    /// Opens every volume of the plan at its resolution.
    ///
    /// # Errors
    /// A layer cannot be read, has no scale of the resolution, or does not fit the config of an array.
    pub fn open(plan: &Plan, storage: &Storage) -> Result<Self, ExtractError> {
        for (i, source) in plan.sources.iter().enumerate() {
            if let Some(redacted) = source.redacted() {
                return Err(ExtractError::RedactedSource {
                    layer: plan.layer_of_source(i).to_owned(),
                    location: redacted.to_string(),
                });
            }
        }
        let open = |(i, source): (usize, &VolumeSource)| {
            source.open(storage).map_err(|e| opening_error(plan, i, e))
        };
        // Volumes are opened in parallel, and may have the same table of roots, which is read once.
        for (i, source) in plan.sources.iter().enumerate() {
            let read = source.read_roots(storage);
            read.map_err(|e| opening_error(plan, i, e))?;
        }
        let tasks = ParallelTasks::new(storage);
        // Opening waits for servers.
        let numbered: Vec<_> = plan.sources.iter().enumerate().collect();
        let opened = wait_in_parallel(&numbered, |source| tasks.run(|| open(*source)));
        let mut volumes = tasks.finish(opened)?;
        let recipes = plan
            .arrays
            .iter()
            .zip(plan.config.arrays.values())
            .map(|(planned, config)| ArrayRecipe::new(plan, planned, config, &volumes))
            .collect::<Result<Vec<_>, _>>()?;
        let unconverted_block_bytes = largest_block_bytes(&volumes);
        let mut is_converted = vec![false; volumes.len()];
        for (source, volume) in volumes.iter_mut().enumerate() {
            if let Some((conversion, fill_value)) = shared_conversion(plan, &recipes, source) {
                let inner = Arc::clone(volume);
                *volume = Arc::new(ConvertedVolume::new(inner, conversion, fill_value));
                is_converted[source] = true;
            }
        }
        Ok(Self {
            volumes,
            is_converted,
            unconverted_block_bytes,
            recipes,
            storage: storage.clone(),
        })
    }

    /// What the volumes are read through.
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The layout of what is cut out of the volumes.
    pub fn layout(&self, plan: &Plan) -> Layout {
        let arrays = plan.arrays.iter().zip(&self.recipes);
        let arrays = arrays.map(|(planned, recipe)| recipe.layout(planned));
        let splits = plan.splits.iter();
        let splits = splits.map(|s| (s.name.clone(), s.samples.len() as u64));
        Layout::new(
            plan.config.axis_order,
            splits.collect(),
            arrays.collect(),
            plan.config.shard_samples,
        )
    }

    /// Compresses the samples of `array` with `codec`.
    pub(crate) fn choose_codec(&mut self, array: usize, codec: CodecChoice) {
        self.recipes[array].choose_codec(codec);
    }

    pub(crate) fn recipe(&self, array: usize) -> &ArrayRecipe {
        &self.recipes[array]
    }

    /// The voxels, at the resolution of its source, that a sample's window of `array` is made from; `None` where nothing is
    /// read.
    pub(crate) fn source_box(
        &self,
        plan: &Plan,
        array: usize,
        sample: &Sample,
    ) -> Option<VoxelBox> {
        let recipe = &self.recipes[array];
        if recipe.marks_inside {
            None
        } else if recipe.is_resampled() {
            Some(self.window_resampler(plan, array, sample)?.source_box())
        } else {
            Some(plan.window_of(array, sample))
        }
    }

    /// How a sample's window of `array` is resampled; `None` where none of it is in the volume, or nothing is resampled.
    pub(crate) fn window_resampler(
        &self,
        plan: &Plan,
        array: usize,
        sample: &Sample,
    ) -> Option<WindowResampler> {
        let resamplers = self.recipes[array].resamplers();
        let resampler = resamplers.get(plan.group_of(sample))?;
        let meta = self.volumes[plan.source_of(array, sample)].meta();
        resampler.window(&plan.window_of(array, sample), meta.grid.bounds())
    }

    /// Bytes of the tables of roots, each counted once.
    pub(crate) fn roots_bytes(&self) -> u64 {
        let mut seen: Vec<&RootMap> = Vec::new();
        for roots in self.volumes.iter().filter_map(|volume| volume.roots()) {
            if !seen.iter().any(|other| std::ptr::eq(*other, roots)) {
                seen.push(roots);
            }
        }
        seen.into_iter().map(RootMap::memory_bytes).sum()
    }

    /// Bytes of the largest block.
    pub(crate) fn block_bytes(&self) -> u64 {
        largest_block_bytes(&self.volumes)
    }

    /// Most bytes that a thread needs for a block that it loads: as stored, decompressed, what decoding takes and, where its
    /// values are converted then, decoded.
    pub(crate) fn loading_bytes(&self) -> u64 {
        let forms = if self.is_converted.contains(&true) {
            3
        } else {
            2
        };
        let decoding = self.volumes.iter().map(|volume| volume.decoding_bytes());
        forms * self.unconverted_block_bytes + decoding.max().unwrap_or(0)
    }

    /// Most bytes that a thread needs for a window, with the voxels that it is made from.
    pub(crate) fn window_bytes(&self, plan: &Plan) -> u64 {
        let layout = self.layout(plan);
        let of_array = |array: usize| {
            layout
                .sample_bytes(array)
                .saturating_add(self.resampling_bytes(plan, array))
        };
        (0..self.recipes.len()).map(of_array).max().unwrap_or(0)
    }

    /// Most bytes that resampling a window of the array takes, beside the window.
    fn resampling_bytes(&self, plan: &Plan, array: usize) -> u64 {
        let window = plan.arrays[array].window;
        let of_group = |(group, resampler): (usize, &Resampler)| {
            let meta = self.volumes[plan.arrays[array].source_of_group[group]].meta();
            // The voxels that the window is made from, and the resampled ones before they are converted.
            let voxels = window
                .volume_voxels()
                .saturating_add(resampler.source_voxels(&window));
            let bytes = u64::from(meta.channels) * meta.data_type.size_bytes() as u64;
            voxels
                .saturating_mul(bytes)
                .saturating_add(resampler.working_bytes(&window, meta.channels))
        };
        let groups = self.recipes[array].resamplers().iter().enumerate();
        groups.map(of_group).max().unwrap_or(0)
    }

    /// Bytes of a value in the sources of `array`, which are not converted.
    pub(crate) fn label_bytes(&self, plan: &Plan, array: usize) -> usize {
        let source = plan.arrays[array].source_of_group.first();
        source.map_or(1, |s| self.volumes[*s].meta().data_type.size_bytes())
    }

    /// The object that a voxel of this value in a source of `array` belongs to; 0 for none.
    pub(crate) fn object_of(&self, array: usize, value: &[u8]) -> u64 {
        self.recipes[array].conversion().object_of(value)
    }

    /// How values in blocks of `source` are still to be converted for `array`; `None` where they are not.
    pub(crate) fn conversion(&self, array: usize, source: usize) -> Option<&Conversion> {
        let conversion = self.recipes[array].conversion();
        (!self.is_converted[source] && !conversion.is_identity()).then_some(conversion)
    }
}

/// The error with its layer, where the volume at position `number` of the plan cannot be opened.
fn opening_error(plan: &Plan, number: usize, source: VolumeError) -> ExtractError {
    let layer = plan.layer_of_source(number).to_owned();
    match source.missing_scale() {
        Some((wanted, available, config_may_set)) => ExtractError::NoScale {
            path: plan.resolution_key_of_source(number),
            wanted,
            remedy: match no_scale::reordered_remedy(&layer, &wanted, available, config_may_set) {
                Some(remedy) => remedy,
                None => no_scale::remedy(plan, number, &wanted, available),
            },
            layer,
            source,
        },
        None => ExtractError::Layer {
            source: source.of_layer(&layer),
            layer,
        },
    }
}

/// Bytes of the largest block of all volumes.
fn largest_block_bytes(volumes: &[Arc<dyn Volume>]) -> u64 {
    let blocks = volumes.iter().map(|v| v.meta().largest_block_bytes());
    blocks.max().unwrap_or(0)
}

/// The conversion of the blocks of `source`, with the converted fill value: where all arrays that are cut out of it convert
/// its blocks, and in the same way.
fn shared_conversion(
    plan: &Plan,
    recipes: &[ArrayRecipe],
    source: usize,
) -> Option<(Conversion, Scalar)> {
    let mut shared: Option<(&ArrayConfig, &ArrayRecipe, Scalar)> = None;
    let configs = plan.config.arrays.values();
    for ((planned, config), recipe) in plan.arrays.iter().zip(configs).zip(recipes) {
        let Some(group) = planned.source_of_group.iter().position(|s| *s == source) else {
            continue;
        };
        if !recipe.converts_blocks() {
            return None;
        }
        let fill_value = recipe.fill_value(group);
        match shared {
            None => shared = Some((config, recipe, fill_value)),
            Some((first, _, first_fill)) => {
                let are_alike = first.transform == config.transform
                    && first.dtype == config.dtype
                    && first_fill == fill_value;
                if !are_alike {
                    return None;
                }
            }
        }
    }
    shared.map(|(_, recipe, fill_value)| (recipe.conversion().clone(), fill_value))
}
