//! The batches of an epoch, in order, prepared ahead of the consumer.
//!
//! A few producer threads each take the number of the next batch, allocate it, hand its samples one by one to the
//! loader's pool of decoding threads, and store the finished batch. Several batches are in progress at a time, so that no
//! decoding thread waits for the last sample of a batch. The pool takes samples in the order in which it gets them, so
//! that the first batch finishes first. Rules that prevent deadlocks:
//!
//! 1. A producer waits only for space, and is woken when a batch is taken and when the epoch is dropped.
//! 2. Whatever happens to a batch, its producer stores a result under its number: the batch, an error, or the message
//!    of a panic.
//! 3. The consumer waits for a batch only while producers run.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::batch::Batch;
use super::error::LoaderError;
use super::state::{LoaderState, lock};

/// Iterates over the batches of an epoch, in order. A batch that fails is an error at its place; the batches after it
/// follow. Dropping the epoch early stops its threads after their current samples.
#[derive(Debug)]
pub struct Epoch {
    shared: Arc<Shared>,
    producers: Vec<JoinHandle<()>>,
}

/// What the producers and the consumer share.
#[derive(Debug)]
struct Shared {
    loader: Arc<LoaderState>,
    epoch: u64,
    /// The samples of the epoch.
    samples: Vec<u64>,
    /// Number of batches.
    batches: usize,
    /// Set when the epoch is dropped.
    stopped: AtomicBool,
    queue: Mutex<Queue>,
    /// Notified when a batch is taken, and when `stopped` is set.
    space_available: Condvar,
    /// Notified when a batch is ready, and when a producer ends.
    batch_ready: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// Number of the batch to produce next.
    next_produced: usize,
    /// Number of the batch to take next.
    next_taken: usize,
    /// Batches that are ready and not taken yet.
    ready: BTreeMap<usize, Result<Batch, LoaderError>>,
    /// Producers that are running.
    producers: usize,
}

impl Epoch {
    pub(super) fn start(loader: Arc<LoaderState>, epoch: u64, first_batch: usize) -> Self {
        let options = &loader.options;
        // Enough for two samples per thread beside a batch that is nearly finished.
        let useful = 1 + (2 * options.workers).div_ceil(options.batch_size);
        let producers = useful.min(options.prefetch.max(1));
        let shared = Arc::new(Shared {
            epoch,
            samples: loader.order.of_epoch(epoch),
            batches: loader.order.batches(),
            stopped: AtomicBool::new(false),
            queue: Mutex::new(Queue {
                next_produced: first_batch,
                next_taken: first_batch,
                ready: BTreeMap::new(),
                producers: 0,
            }),
            space_available: Condvar::new(),
            batch_ready: Condvar::new(),
            loader,
        });
        let mut epoch = Self {
            shared,
            producers: Vec::new(),
        };
        for _ in 0..producers.min(epoch.shared.batches.saturating_sub(first_batch)) {
            epoch.start_producer();
        }
        epoch
    }

    /// How many batches were started, counted from batch 0 of the epoch.
    #[cfg(test)]
    pub(super) fn produced(&self) -> usize {
        lock(&self.shared.queue).next_produced
    }

    fn start_producer(&mut self) {
        lock(&self.shared.queue).producers += 1;
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new().name("loader-batches".into());
        match thread.spawn(move || shared.produce_all()) {
            Ok(producer) => self.producers.push(producer),
            Err(e) => {
                let mut queue = lock(&self.shared.queue);
                queue.producers -= 1;
                if queue.producers == 0 {
                    let number = queue.next_produced;
                    queue.next_produced = self.shared.batches;
                    let error = LoaderError::Threads(e.to_string());
                    queue.ready.insert(number, Err(error));
                }
            }
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut queue = lock(&self.shared.queue);
        let number = queue.next_taken;
        loop {
            if let Some(batch) = queue.ready.remove(&number) {
                queue.next_taken += 1;
                self.shared.space_available.notify_all();
                return Some(batch);
            }
            if queue.producers == 0 {
                return None;
            }
            queue = wait(&self.shared.batch_ready, queue);
        }
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Take the lock first: a producer that is about to wait has then either read `stopped` or gets the notification.
        drop(lock(&self.shared.queue));
        self.shared.space_available.notify_all();
        for producer in self.producers.drain(..) {
            // A producer catches panics of its batches. Any other panic cannot be reported from here.
            let _ = producer.join();
        }
    }
}

/// Counts a producer as running until it is dropped, even if the producer panics.
struct ProducerGuard<'a>(&'a Shared);

impl Drop for ProducerGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).producers -= 1;
        self.0.batch_ready.notify_all();
    }
}

impl Shared {
    fn produce_all(&self) {
        let _guard = ProducerGuard(self);
        while let Some(number) = self.next_number() {
            let result = catch_unwind(AssertUnwindSafe(|| self.produce(number)));
            let batch = result.unwrap_or_else(|panic| {
                Err(LoaderError::Panicked {
                    batch: number,
                    message: panic_message(panic.as_ref()),
                })
            });
            lock(&self.queue).ready.insert(number, batch);
            self.batch_ready.notify_all();
        }
    }

    /// Waits for space and returns the number of the batch to produce; `None` if there are no more.
    fn next_number(&self) -> Option<usize> {
        let mut queue = lock(&self.queue);
        loop {
            if self.stopped.load(Ordering::Relaxed) || queue.next_produced >= self.batches {
                return None;
            }
            let prefetch = self.loader.options.prefetch.max(1);
            if queue.next_produced < queue.next_taken.saturating_add(prefetch) {
                queue.next_produced += 1;
                return Some(queue.next_produced - 1);
            }
            queue = wait(&self.space_available, queue);
        }
    }

    fn produce(&self, number: usize) -> Result<Batch, LoaderError> {
        let loader = &*self.loader;
        let size = loader.options.batch_size;
        let first = number * size;
        let samples = &self.samples[first..self.samples.len().min(first + size)];
        let mut batch = lock(&loader.spare_batches).pop().unwrap_or_default();
        let arrays = &loader.arrays;
        batch.prepare(
            samples,
            loader.batch_shape(samples.len()),
            arrays.image_value_type(loader.options.augmentation.changes_values()),
            arrays.targets,
            arrays.masks,
            arrays.has_ids,
        );
        let mut results: Vec<_> = samples.iter().map(|_| Ok(())).collect();
        loader.pool.in_place_scope(|scope| {
            for ((sample, slot), result) in batch.slots().zip(&mut results) {
                scope.spawn(move |_| {
                    if !self.stopped.load(Ordering::Relaxed) {
                        *result = loader.load(self.epoch, sample, slot);
                    }
                });
            }
        });
        // Return the first error by position in the batch, not by time.
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(batch)
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no panic message".to_owned())
}
