//! The loader: shards of one split in, training batches out, as fast as the samples can be decoded.
//!
//! [`Loader::open`] checks everything that can be checked before the first batch; [`Loader::epoch`] starts threads that
//! decode ahead and hands out [`Batch`]es in order. What is in a batch is a pure function of the dataset, the
//! [`Options`] but for `workers` and `prefetch`, the epoch and the batch's number: `order` says which samples,
//! `draw` how each is cropped and augmented. Bytes of which none moves are decoded straight to their place in the batch;
//! all else is copied there once from where it was decoded (`view`), image, targets and masks by the same mapping. Only
//! `dataset` is known here.

mod augmentation;
mod batch;
mod convert;
mod crop;
mod draw;
mod epoch;
mod error;
mod intensity;
mod options;
mod order;
mod sample;
mod sources;
#[cfg(test)]
mod tests;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::dataset::{Dataset, SampleDecoder};
pub use augmentation::{Augmentation, Flip};
pub use batch::{Batch, Values};
pub use crop::Crop;
pub use epoch::Epoch;
pub use error::LoaderError;
pub use options::{Arrays, Options};
use order::Order;
use sources::Sources;

/// The samples of one split, to be had in batches.
#[derive(Debug)]
pub struct Loader {
    inner: Arc<Inner>,
}

/// What the threads of all epochs share.
#[derive(Debug)]
struct Inner {
    sources: Sources,
    options: Options,
    order: Order,
    /// Voxels of a delivered sample: z, y, x.
    window: [usize; 3],
    pool: ThreadPool,
    /// Buffers of the decoding threads while none decodes with them.
    decoders: Mutex<Vec<SampleDecoder>>,
    /// Batches that were given back, for their memory.
    spare: Mutex<Vec<Batch>>,
}

impl Loader {
    /// Opens the arrays of the split, checks that they and the options fit together, and starts the decoding threads,
    /// which sleep until an epoch begins.
    pub fn open(
        dataset: &Dataset,
        split: &str,
        arrays: &Arrays,
        options: Options,
    ) -> Result<Self, LoaderError> {
        options.check()?;
        let sources = Sources::open(dataset, split, arrays)?;
        let window = options.window(sources.shape())?;
        sources.check_batch(window, options.batch_size)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(options.workers)
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| LoaderError::Threads(e.to_string()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                order: Order::new(sources.samples(), &options),
                sources,
                options,
                window,
                pool,
                decoders: Mutex::default(),
                spare: Mutex::default(),
            }),
        })
    }

    /// Number of samples of the split.
    pub fn samples(&self) -> u64 {
        self.inner.sources.samples()
    }

    /// Shape of a full batch: samples, image channels, z, y, x.
    pub fn batch_shape(&self) -> [usize; 5] {
        self.inner.batch_shape(self.inner.options.batch_size)
    }

    /// Number of batches in an epoch of this rank, the same for every rank; 0 where `drop_last` leaves none.
    pub fn batches_per_epoch(&self) -> usize {
        self.inner.order.batches()
    }

    /// The batches of the epoch from the `first_batch`th on, the same as an epoch from its beginning gives from there.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        Epoch::start(Arc::clone(&self.inner), epoch, first_batch)
    }

    /// Takes a batch back that is done with, so that its memory is used again: no need, but faster, because the system
    /// clears memory that it hands out anew.
    pub fn recycle(&self, batch: Batch) {
        let mut spare = lock(&self.inner.spare);
        if spare.len() <= self.inner.options.prefetch {
            spare.push(batch);
        }
    }
}

impl Inner {
    fn batch_shape(&self, samples: usize) -> [usize; 5] {
        let [z, y, x] = self.window;
        [samples, self.sources.image_channels(), z, y, x]
    }
}

/// Locks what no panic can leave half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
