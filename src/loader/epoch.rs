//! Batches in order, made ahead by threads.
//!
//! A few makers, each a thread that mostly waits, take the next batch's number, make room for it, deal its samples out
//! to the loader's pool of decoding threads, one by one, and put it down among those that are ready. Several are made
//! at a time, so that no decoding thread waits for the last sample of a batch; the pool takes samples in the order in
//! which they were dealt out, so that the first batch is the first one done. Rules that keep this from hanging:
//!
//! 1. A maker waits for room only, and is woken when a batch is taken and when the epoch is dropped.
//! 2. Whatever becomes of a batch, its maker puts something down under its number: the batch, an error, or what a
//!    panic said.
//! 3. The consumer waits for a number only while makers live.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::{Batch, Inner, LoaderError, lock};

/// The batches of an epoch, in order. Where one cannot be made, an error comes in its place, and the next ones after
/// it. Dropped early, it stops its threads as soon as they are done with their samples.
#[derive(Debug)]
pub struct Epoch {
    shared: Arc<Shared>,
    makers: Vec<JoinHandle<()>>,
}

/// What the makers and the consumer share.
#[derive(Debug)]
struct Shared {
    loader: Arc<Inner>,
    epoch: u64,
    /// The samples of the epoch.
    order: Vec<u64>,
    /// Number of batches.
    batches: usize,
    /// Whether nobody wants batches any more.
    stopped: AtomicBool,
    state: Mutex<State>,
    /// Told when a batch is taken, and when `stopped` is set.
    room: Condvar,
    /// Told when a batch is put down, and when a maker ends.
    put: Condvar,
}

#[derive(Debug)]
struct State {
    /// Number of the batch that is to be made next.
    next_made: usize,
    /// Number of the batch that is to be taken next.
    next_taken: usize,
    /// Batches that were made and not taken yet.
    ready: BTreeMap<usize, Result<Batch, LoaderError>>,
    /// Makers that live.
    makers: usize,
}

impl Epoch {
    pub(super) fn start(loader: Arc<Inner>, epoch: u64, first_batch: usize) -> Self {
        let options = &loader.options;
        // As many as it takes to have two samples for every thread beside a batch that is nearly done.
        let useful = 1 + (2 * options.workers).div_ceil(options.batch_size);
        let makers = useful.min(options.prefetch.max(1));
        let shared = Arc::new(Shared {
            epoch,
            order: loader.order.of_epoch(epoch),
            batches: loader.order.batches(),
            stopped: AtomicBool::new(false),
            state: Mutex::new(State {
                next_made: first_batch,
                next_taken: first_batch,
                ready: BTreeMap::new(),
                makers: 0,
            }),
            room: Condvar::new(),
            put: Condvar::new(),
            loader,
        });
        let mut epoch = Self {
            shared,
            makers: Vec::new(),
        };
        for _ in 0..makers.min(epoch.shared.batches.saturating_sub(first_batch)) {
            epoch.start_maker();
        }
        epoch
    }

    /// How many batches were begun, from the epoch's beginning.
    #[cfg(test)]
    pub(super) fn made(&self) -> usize {
        lock(&self.shared.state).next_made
    }

    fn start_maker(&mut self) {
        lock(&self.shared.state).makers += 1;
        let shared = Arc::clone(&self.shared);
        let maker = Builder::new().name("loader-batches".into());
        match maker.spawn(move || shared.make_batches()) {
            Ok(maker) => self.makers.push(maker),
            Err(e) => {
                let mut state = lock(&self.shared.state);
                state.makers -= 1;
                if state.makers == 0 {
                    let number = state.next_made;
                    state.next_made = self.shared.batches;
                    let error = LoaderError::Threads(e.to_string());
                    state.ready.insert(number, Err(error));
                }
            }
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = lock(&self.shared.state);
        let number = state.next_taken;
        loop {
            if let Some(batch) = state.ready.remove(&number) {
                state.next_taken += 1;
                self.shared.room.notify_all();
                return Some(batch);
            }
            if state.makers == 0 {
                return None;
            }
            state = wait(&self.shared.put, state);
        }
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Under the lock: a maker that is about to wait has either seen it or is waiting when it is told.
        drop(lock(&self.shared.state));
        self.shared.room.notify_all();
        for maker in self.makers.drain(..) {
            // A maker catches what its batch does; there is nobody to tell of anything else.
            let _ = maker.join();
        }
    }
}

/// A maker, which is counted as long as it lives, whatever ends it.
struct Lives<'a>(&'a Shared);

impl Drop for Lives<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).makers -= 1;
        self.0.put.notify_all();
    }
}

impl Shared {
    fn make_batches(&self) {
        let _lives = Lives(self);
        while let Some(number) = self.next_number() {
            let made = catch_unwind(AssertUnwindSafe(|| self.make(number)));
            let batch = made.unwrap_or_else(|panic| {
                Err(LoaderError::Panicked {
                    batch: number,
                    message: message(panic.as_ref()),
                })
            });
            lock(&self.state).ready.insert(number, batch);
            self.put.notify_all();
        }
    }

    /// The number of a batch to make, as soon as there is room for it.
    fn next_number(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        loop {
            if self.stopped.load(Ordering::Relaxed) || state.next_made >= self.batches {
                return None;
            }
            let prefetch = self.loader.options.prefetch.max(1);
            if state.next_made < state.next_taken.saturating_add(prefetch) {
                state.next_made += 1;
                return Some(state.next_made - 1);
            }
            state = wait(&self.room, state);
        }
    }

    fn make(&self, number: usize) -> Result<Batch, LoaderError> {
        let loader = &*self.loader;
        let size = loader.options.batch_size;
        let first = number * size;
        let samples = &self.order[first..self.order.len().min(first + size)];
        let mut batch = lock(&loader.spare).pop().unwrap_or_default();
        let sources = &loader.sources;
        batch.prepare(
            samples,
            loader.batch_shape(samples.len()),
            sources.image_kind(loader.options.augmentation.changes_values()),
            sources.targets,
            sources.masks,
        );
        let mut results: Vec<_> = samples.iter().map(|_| Ok(())).collect();
        loader.pool.in_place_scope(|scope| {
            for ((sample, place), result) in batch.places().zip(&mut results) {
                scope.spawn(move |_| {
                    if !self.stopped.load(Ordering::Relaxed) {
                        *result = loader.load(self.epoch, sample, place);
                    }
                });
            }
        });
        // The first one in the batch, not the first one in time.
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(batch)
    }
}

fn wait<'a, T>(
    told: &Condvar,
    guard: std::sync::MutexGuard<'a, T>,
) -> std::sync::MutexGuard<'a, T> {
    told.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it said nothing".to_owned())
}
