//! Comparing samples with their sources: each is cut again by a second, simple path, which has neither the cache nor the kernels
//! of the job. Slow; it shares with the job only the plan (which window of which volume) and the decoders of chunks.

mod memory;
mod number;
mod resample;
mod voxels;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::kind::FindingKind;
use super::random_samples::random_samples;
use super::report::Finding;
use crate::dataset::{Dataset, DatasetError, SampleArray};
use crate::extract::ExtractError;
use crate::geometry::AxisOrder;
use crate::job::{JobError, PlannedOutput, RunOptions};
use crate::plan::{FinishedPlan, Sample};
use crate::storage::{BASE_BYTES, Location, Storage};
use crate::volume::{Volume, VolumeError};
use memory::comparison_bytes;
use number::Number;
use window::{ArraySource, Expected};

/// Which samples are compared with their sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceSamples {
    /// All.
    All,
    /// Some random samples of each split.
    Random {
        /// Number of samples of each split.
        samples: u64,
        /// The same number chooses the same samples.
        seed: u64,
    },
}

/// Compares samples of the dataset at `location`, in which a check found no error, with their sources. Returns the findings and the
/// number of windows that were compared.
///
/// # Errors
/// The dataset has no plan, or a source cannot be read.
pub fn check_source(
    location: &Location,
    samples: SourceSamples,
    options: RunOptions,
    storage: &Storage,
) -> Result<(Vec<Finding>, u64), JobError> {
    let planned = PlannedOutput::open_to_read(location, options, storage)?;
    let plan = planned.plan();
    let dataset = Dataset::open(location.clone(), storage)?;
    let volumes = open_volumes(plan, storage).map_err(|source| JobError::ComparedSources {
        output: location.to_string(),
        source,
    })?;
    let chosen = match samples {
        SourceSamples::All => None,
        SourceSamples::Random { samples, seed } => {
            Some(random_samples(dataset.manifest(), samples, seed))
        }
    };
    let (mut findings, mut windows) = (Vec::new(), 0);
    for (number, split) in plan.table.splits.iter().enumerate() {
        let all = || (0..split.samples.len() as u64).collect();
        let samples = chosen.as_ref().and_then(|chosen| chosen.get(&split.name));
        let samples: BTreeSet<u64> = samples.map_or_else(all, Clone::clone);
        for array in 0..plan.table.arrays.len() {
            let comparison = Comparison::open(&dataset, plan, number, array, &volumes)?;
            let at_once = comparison.samples_at_once(&samples, options.memory_bytes)?;
            findings.extend(comparison.finding(&samples, at_once)?);
            windows += samples.len() as u64;
        }
    }
    Ok((findings, windows))
}

fn open_volumes(
    plan: &FinishedPlan,
    storage: &Storage,
) -> Result<Vec<Arc<dyn Volume>>, ExtractError> {
    let table = &plan.table;
    let sources = table.sources.iter().enumerate();
    let opened = sources.map(|(n, source)| {
        if let Some(redacted) = source.redacted() {
            return Err(ExtractError::RedactedSource {
                layer: table.layer_of_source(n).to_owned(),
                location: redacted.to_string(),
            });
        }
        source
            .open(storage)
            .map_err(|e| unreadable(table.layer_of_source(n), e))
    });
    opened.collect()
}

fn unreadable(layer: &str, source: VolumeError) -> ExtractError {
    let layer = layer.to_owned();
    ExtractError::Layer { layer, source }
}

/// An array of a split, and what it is compared with.
struct Comparison<'c> {
    plan: &'c FinishedPlan,
    /// Position of the split in the plan.
    split: usize,
    source: ArraySource<'c>,
    volumes: &'c [Arc<dyn Volume>],
    stored: SampleArray,
    shape: [usize; 4],
    /// The array in the dataset.
    file: String,
}

/// The first value of a sample that differs from the source: channel, voxel of the window, found and expected.
struct Difference {
    channel: usize,
    voxel: [usize; 3],
    found: Number,
    expected: Number,
}

impl<'c> Comparison<'c> {
    fn open(
        dataset: &Dataset,
        plan: &'c FinishedPlan,
        split: usize,
        array: usize,
        volumes: &'c [Arc<dyn Volume>],
    ) -> Result<Self, DatasetError> {
        let split_name = &plan.table.splits[split].name;
        let array_name = &plan.table.arrays[array].name;
        let stored = dataset.split(split_name)?.samples(array_name)?;
        let layout = &plan.layout.arrays[array];
        let [x, y, z] = layout.window.voxels().map(|n| n as usize);
        Ok(Self {
            plan,
            split,
            source: ArraySource {
                plan: &plan.table,
                array,
                data_type: layout.data_type,
            },
            volumes,
            file: format!(
                "{}/{array_name}",
                dataset.manifest().splits[split_name].path
            ),
            stored,
            shape: [layout.channels as usize, z, y, x],
        })
    }

    /// How many of `samples` may be compared at the same time within `memory_bytes`.
    fn samples_at_once(
        &self,
        samples: &BTreeSet<u64>,
        memory_bytes: u64,
    ) -> Result<usize, JobError> {
        let (table, array) = (&self.plan.table, self.source.array);
        let planned = &table.splits[self.split].samples;
        let chosen = samples.iter().filter_map(|i| planned.get(*i as usize));
        let sample_bytes = chosen.map(|sample| {
            let volume = self.volumes[table.source_of(array, sample)].as_ref();
            comparison_bytes(
                table,
                array,
                sample,
                self.source.data_type.size_bytes(),
                volume,
            )
        });
        let sample_bytes = sample_bytes.max().unwrap_or(0).max(1);
        let others_bytes = BASE_BYTES.saturating_add(table.sealing_bytes());
        match memory_bytes.saturating_sub(others_bytes) / sample_bytes {
            0 => Err(JobError::SourceMemory {
                array: table.arrays[array].name.clone(),
                limit_bytes: memory_bytes,
                needed_bytes: others_bytes.saturating_add(sample_bytes),
            }),
            at_once => Ok(usize::try_from(at_once).unwrap_or(usize::MAX)),
        }
    }

    /// The finding about those of `samples` that differ from the source; `None` if none does. Compares `at_once` of them at the same
    /// time.
    fn finding(
        &self,
        samples: &BTreeSet<u64>,
        at_once: usize,
    ) -> Result<Option<Finding>, JobError> {
        let samples: Vec<u64> = samples.iter().copied().collect();
        // If all threads have enough memory, none of them waits for the others.
        let at_once = if at_once < rayon::current_num_threads() {
            at_once
        } else {
            samples.len().max(1)
        };
        let mut differing = Vec::new();
        for samples in samples.chunks(at_once) {
            let compared = samples.par_iter().map(|i| Ok((*i, self.difference(*i)?)));
            let compared: Vec<_> = compared.collect::<Result<_, JobError>>()?;
            let others = compared.into_iter().filter_map(|(i, d)| Some((i, d?)));
            differing.extend(others);
        }
        let Some((first, difference)) = differing.first() else {
            return Ok(None);
        };
        let Difference {
            channel,
            voxel: [x, y, z],
            found,
            expected,
        } = difference;
        let message = format!(
            "sample {first} differs from its source: channel {channel}, voxel {x}, {y}, {z} (x, y, z) of the window is {found}, expected {expected}. \
             The source has changed since, or the shard was forged: start again with --force"
        );
        let split = &self.plan.table.splits[self.split].name;
        let samples = differing.iter().map(|(i, _)| *i).collect();
        let finding = Finding::new(FindingKind::Source, &self.file, message);
        Ok(Some(finding.in_split(split).in_samples(samples)))
    }

    fn difference(&self, i: u64) -> Result<Option<Difference>, JobError> {
        let table = &self.plan.table;
        let split = &table.splits[self.split];
        let Some(sample) = split.samples.get(i as usize) else {
            return Ok(None);
        };
        let expected = self.expected(sample, i as usize)?;
        let bytes = self.stored.read(i)?;
        let data_type = self.source.data_type;
        let value_bytes = data_type.size_bytes();
        let found = |position: usize| {
            let value = bytes.get(position * value_bytes..(position + 1) * value_bytes);
            let number = value.and_then(|value| Number::from_le_bytes(value, data_type));
            number.unwrap_or(Number::Float(f64::NAN))
        };
        let [channels, nz, ny, nx] = self.shape;
        for channel in 0..channels {
            for z in 0..nz {
                for y in 0..ny {
                    for x in 0..nx {
                        let position = ((channel * nz + z) * ny + y) * nx + x;
                        let stored = match table.config.axis_order {
                            AxisOrder::Czyx => position,
                            AxisOrder::Cxyz => ((channel * nx + x) * ny + y) * nz + z,
                        };
                        let expected_value = expected.values[position];
                        let found = found(stored);
                        if !expected_value.is_close_to(found, expected.tolerance) {
                            return Ok(Some(Difference {
                                channel,
                                voxel: [x, y, z],
                                found,
                                expected: expected_value,
                            }));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    fn expected(&self, sample: &Sample, i: usize) -> Result<Expected, ExtractError> {
        let table = &self.plan.table;
        let objects = &table.splits[self.split].objects[self.source.array];
        let objects = objects.of(i);
        let source = table.source_of(self.source.array, sample);
        let cut = self
            .source
            .cut(sample, objects, self.volumes[source].as_ref());
        cut.map_err(|e| unreadable(table.layer_of_source(source), e))
    }
}
