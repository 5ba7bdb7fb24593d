//! The loader: reads the shards of one split and returns training batches.
//!
//! [`Loader::open`] makes every check that is possible before the first batch. [`Loader::epoch`] starts threads that
//! decode ahead and returns [`Batch`]es in order. A batch is a pure function of the dataset, the [`LoaderOptions`]
//! (except `workers` and `prefetch`), the epoch and the number of the batch: `order` selects its samples, `transform`
//! draws crop and augmentation of each. Inputs, targets, masks and ids go through the same mapping of voxels (`voxel_map`,
//! `warp`).

mod array_kind;
mod arrays;
mod augmentation;
mod batch;
mod convert;
mod crop;
mod epoch;
mod error;
mod input;
mod intensity;
mod load_sample;
mod options;
mod order;
mod state;
#[cfg(test)]
mod tests;
mod transform;
mod values;
mod voxel_map;
mod warp;

use std::sync::Arc;

use rayon::ThreadPoolBuilder;

use crate::dataset::{Dataset, Manifest};
use arrays::LoaderArrays;
use order::SampleOrder;
use state::{LoaderState, lock};

pub use augmentation::Augmentation;
#[cfg(any(test, feature = "bench"))]
pub use augmentation::Flip;
#[cfg(test)]
use augmentation::{CoarseDropout, Misalignment};
pub use batch::Batch;
pub use crop::Crop;
pub use epoch::Epoch;
pub use error::LoaderError;
pub use input::{InputArray, Scaling};
pub use options::{ArrayNames, LoaderOptions};
pub use values::Values;

/// Reads the samples of one split in batches.
#[derive(Debug)]
pub struct Loader {
    state: Arc<LoaderState>,
}

impl Loader {
    /// Opens the arrays of the split, checks that they fit each other and the options, and starts the decoding threads,
    /// which sleep until an epoch begins.
    pub fn open(
        dataset: &Dataset,
        split: &str,
        names: &ArrayNames,
        options: LoaderOptions,
    ) -> Result<Self, LoaderError> {
        options.check()?;
        let mut arrays = LoaderArrays::open(dataset, split, names)?;
        options
            .augmentation
            .check_resolutions(resolutions_nm(dataset.manifest()))?;
        if options.augmentation.may_leave_sample() {
            arrays.mask_all_targets();
        }
        let window = options.window(arrays.shape())?;
        arrays.check_batch(window, options.batch_size)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(options.workers)
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| LoaderError::Threads(e.to_string()))?;
        Ok(Self {
            state: Arc::new(LoaderState {
                order: SampleOrder::new(arrays.samples(), &options),
                arrays,
                options,
                window,
                pool,
                decoders: Default::default(),
                spare_batches: Default::default(),
            }),
        })
    }

    /// Number of samples of the split.
    pub fn samples(&self) -> u64 {
        self.state.arrays.samples()
    }

    /// Shape of a full batch: samples, image channels, z, y, x.
    pub fn batch_shape(&self) -> [usize; 5] {
        self.state.batch_shape(self.state.options.batch_size)
    }

    /// Channels of the image that have values other than 0 and 1. If there are none, all channels.
    pub fn data_channels(&self) -> Vec<usize> {
        let channels = self.state.arrays.image_channels();
        let inputs = self.state.arrays.inputs().filter(|i| i.is_changed());
        let data: Vec<_> = inputs.flat_map(|i| i.first..i.first + i.count).collect();
        if data.is_empty() {
            (0..channels).collect()
        } else {
            data
        }
    }

    /// Number of batches per epoch and rank, the same for every rank; 0 if `drop_last` leaves none.
    pub fn batches_per_epoch(&self) -> usize {
        self.state.order.batches()
    }

    /// The batches of an epoch from `first_batch` on. They equal those of an epoch that starts at batch 0.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        Epoch::start(Arc::clone(&self.state), epoch, first_batch)
    }

    /// Takes back a batch that is no longer needed, to reuse its memory. Optional, but faster: the system clears memory
    /// that it hands out.
    pub fn recycle(&self, batch: Batch) {
        let mut spare = lock(&self.state.spare_batches);
        if spare.len() <= self.state.options.prefetch {
            spare.push(batch);
        }
    }
}

/// Resolutions of the samples, nm per voxel, x y z.
fn resolutions_nm(manifest: &Manifest) -> impl Iterator<Item = [f64; 3]> {
    // Before version 3 there are no groups.
    let sources = manifest
        .sources
        .iter()
        .filter(|_| manifest.groups.is_empty());
    let groups = manifest.groups.iter().map(|g| g.resolution_nm);
    groups.chain(sources.map(|s| s.resolution_nm))
}
