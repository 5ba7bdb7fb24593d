//! What the threads of all epochs of a loader share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;

use super::arrays::LoaderArrays;
use super::batch::Batch;
use super::options::LoaderOptions;
use super::order::SampleOrder;
use crate::dataset::SampleDecoder;

/// What the threads of all epochs of a loader share.
#[derive(Debug)]
pub(super) struct LoaderState {
    pub arrays: LoaderArrays,
    pub options: LoaderOptions,
    pub order: SampleOrder,
    /// Voxels of a sample in a batch: z, y, x.
    pub window: [usize; 3],
    pub pool: ThreadPool,
    /// Decoders that no thread uses at the moment.
    pub decoders: Mutex<Vec<SampleDecoder>>,
    /// Recycled batches, kept for their memory.
    pub spare_batches: Mutex<Vec<Batch>>,
}

impl LoaderState {
    /// Shape of a batch of that many samples: samples, image channels, z, y, x.
    pub fn batch_shape(&self, samples: usize) -> [usize; 5] {
        let [z, y, x] = self.window;
        [samples, self.arrays.image_channels(), z, y, x]
    }
}

/// Locks a mutex, poisoned or not: no panic can leave what these mutexes guard half-written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
