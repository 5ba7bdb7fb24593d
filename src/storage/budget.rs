//! How much memory documents, and what is kept of them, may take.
//!
//! One [`MemoryBudget`] comes from `--memory` and is handed to every reader of collections, viewer states,
//! annotations and tables. One half is for what is needed for a moment (a cell, a parsed document): a thread
//! leases it and waits while others hold too much. The other half is for what is kept until the plan is made.
//! Nothing is allocated before it fits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What the program takes beside data: its code, threads, connections.
pub(crate) const BASE_BYTES: u64 = 48 << 20;

/// What documents may take however small `--memory` is, so that a job can say that it needs more.
const LEAST_BYTES: u64 = 32 << 20;

/// What is read of an object before its size is known to be larger.
const FIRST_BYTES: u64 = 4 << 20;

/// What is counted at a time of what is kept.
const KEEP_STEP_BYTES: u64 = 256 << 10;

/// By how much the next try may be larger, where a size is not known in advance.
const GROWTH: u64 = 8;

/// Memory for documents. Clones share one budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    memory_bytes: u64,
    /// Each half.
    half_bytes: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    used: Mutex<Used>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    leased_bytes: u64,
    kept_bytes: u64,
}

/// Memory that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    bytes: u64,
    shared: Arc<Shared>,
}

/// Something does not fit into the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// The most bytes that it may take.
    pub limit_bytes: u64,
    /// `--memory`.
    pub memory_bytes: u64,
}

impl std::fmt::Display for OverBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = |bytes| bytesize::ByteSize(bytes).display().iec();
        write!(
            f,
            "the {} that documents may take of --memory {}",
            size(self.limit_bytes),
            size(self.memory_bytes)
        )
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut used = self.shared.used();
        used.leased_bytes = used.leased_bytes.saturating_sub(self.bytes);
        drop(used);
        self.shared.returned.notify_all();
    }
}

impl Shared {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryBudget {
    /// The budget of a program that may take `memory_bytes`.
    pub fn new(memory_bytes: u64) -> Self {
        let free = memory_bytes.saturating_sub(BASE_BYTES).max(LEAST_BYTES);
        Self {
            memory_bytes,
            half_bytes: free / 2,
            shared: Arc::default(),
        }
    }

    /// Most bytes that can be leased at a time.
    pub(crate) fn lease_limit_bytes(&self) -> u64 {
        self.half_bytes
    }

    /// Most bytes that can be kept.
    pub(crate) fn keep_limit_bytes(&self) -> u64 {
        self.half_bytes
    }

    /// Leases `bytes`, after waiting until other threads have returned enough. A thread that holds a lease must
    /// not request another one.
    pub(crate) fn lease(&self, bytes: u64) -> Result<Lease, OverBudget> {
        if bytes > self.half_bytes {
            return Err(self.over());
        }
        let mut used = self.shared.used();
        while used.leased_bytes.saturating_add(bytes) > self.half_bytes {
            let returned = self.shared.returned.wait(used);
            used = returned.unwrap_or_else(PoisonError::into_inner);
        }
        used.leased_bytes += bytes;
        Ok(Lease {
            bytes,
            shared: Arc::clone(&self.shared),
        })
    }

    /// Counts `bytes` that are kept until the plan is made.
    pub(crate) fn keep(&self, bytes: u64) -> Result<(), OverBudget> {
        let mut used = self.shared.used();
        let kept = used.kept_bytes.saturating_add(bytes);
        if kept > self.half_bytes {
            return Err(self.over());
        }
        used.kept_bytes = kept;
        Ok(())
    }

    /// Takes back what was counted by [`MemoryBudget::keep`] and is not kept any more.
    pub(crate) fn give_back(&self, bytes: u64) {
        let mut used = self.shared.used();
        used.kept_bytes = used.kept_bytes.saturating_sub(bytes);
    }

    /// The error of what does not fit.
    pub(crate) fn over(&self) -> OverBudget {
        OverBudget {
            limit_bytes: self.half_bytes,
            memory_bytes: self.memory_bytes,
        }
    }

    /// Reads an object of unknown size: calls `read` with the most bytes that the object may have, first a little,
    /// then more. A byte of the object takes `bytes_of_memory`. `too_large` knows the error of an object over that
    /// limit, and what it says of the object's size.
    pub(crate) fn read_growing<E>(
        &self,
        bytes_of_memory: u64,
        mut read: impl FnMut(u64) -> Result<bool, E>,
        too_large: impl Fn(&E) -> Option<u64>,
    ) -> Result<Option<Lease>, ReadError<E>> {
        let most = self.half_bytes / bytes_of_memory.max(1);
        let mut limit = FIRST_BYTES.min(most / 4);
        loop {
            let over = |_| ReadError::Over(self.over());
            let lease = self.lease(limit * bytes_of_memory).map_err(over)?;
            match read(limit) {
                Ok(true) => return Ok(Some(lease)),
                Ok(false) => return Ok(None),
                Err(e) => match too_large(&e) {
                    Some(found) if limit < most && found <= most => {
                        limit = found.max(limit.saturating_mul(GROWTH)).min(most);
                    }
                    Some(_) => return Err(ReadError::Over(self.over())),
                    None => return Err(ReadError::Other(e)),
                },
            }
        }
    }
}

/// Counts what is kept of one object while it is read, in steps. Where there is no more room, nothing more may be kept
/// of it; that is an error at the end.
#[derive(Debug)]
pub(crate) struct Keeper<'b> {
    budget: &'b MemoryBudget,
    pending_bytes: u64,
    over: Option<OverBudget>,
}

impl<'b> Keeper<'b> {
    pub(crate) fn new(budget: &'b MemoryBudget) -> Self {
        Self {
            budget,
            pending_bytes: 0,
            over: None,
        }
    }

    /// Whether there is room for `bytes` more.
    pub(crate) fn keep(&mut self, bytes: u64) -> bool {
        self.pending_bytes += bytes;
        if self.pending_bytes >= KEEP_STEP_BYTES && self.over.is_none() {
            self.over = self.count().err();
        }
        self.over.is_none()
    }

    fn count(&mut self) -> Result<(), OverBudget> {
        self.budget.keep(std::mem::take(&mut self.pending_bytes))
    }

    /// That there was room for all.
    pub(crate) fn finish(mut self) -> Result<(), OverBudget> {
        match self.over {
            Some(over) => Err(over),
            None => self.count(),
        }
    }
}

/// Why an object was not read within a budget.
#[derive(Debug)]
pub(crate) enum ReadError<E> {
    /// It does not fit.
    Over(OverBudget),
    /// Something else.
    Other(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_until_it_is_given_back() {
        let budget = MemoryBudget::new(BASE_BYTES + (64 << 20));
        let clone = budget.clone();
        budget.keep(20 << 20).unwrap();
        clone.keep(12 << 20).unwrap();
        let e = budget.keep(1).unwrap_err().to_string();
        assert_eq!(
            e,
            "the 32.0 MiB that documents may take of --memory 112.0 MiB"
        );
        budget.give_back(1);
        budget.keep(1).unwrap();
        // What is leased is counted apart.
        budget.lease(32 << 20).unwrap();
    }

    #[test]
    fn what_is_kept_of_an_object_is_counted_while_it_is_read() {
        let budget = MemoryBudget::new(0);
        let mut keeper = Keeper::new(&budget);
        let kept = (0..1_000_000).take_while(|_| keeper.keep(100)).count() as u64;
        let most = budget.keep_limit_bytes();
        let near = most - KEEP_STEP_BYTES..=most + KEEP_STEP_BYTES;
        assert!(near.contains(&(kept * 100)), "{kept}");
        assert_eq!(keeper.finish(), Err(budget.over()));
        let mut little = Keeper::new(&budget);
        assert!(little.keep(100));
        little.finish().unwrap();
        assert!(budget.shared.used().kept_bytes <= most);
    }

    #[test]
    fn a_lease_waits_for_those_of_other_threads_and_one_that_never_fits_is_refused() {
        let budget = MemoryBudget::new(0);
        assert!(budget.lease(budget.lease_limit_bytes() + 1).is_err());
        let first = budget.lease(budget.lease_limit_bytes()).unwrap();
        let got = std::thread::scope(|scope| {
            let second = scope.spawn(|| budget.lease(1).is_ok());
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap()
        });
        assert!(got);
        assert_eq!(budget.shared.used().leased_bytes, 0);
    }

    #[test]
    fn an_object_is_read_with_a_limit_that_grows_up_to_the_budget() {
        let budget = MemoryBudget::new(BASE_BYTES + (256 << 20));
        let read = |size: u64, known: bool| {
            let mut limits = Vec::new();
            let result = budget.read_growing(
                2,
                |limit| {
                    limits.push(limit >> 20);
                    if limit < size {
                        Err(if known { size } else { limit + 1 })
                    } else {
                        Ok(true)
                    }
                },
                |found| Some(*found),
            );
            (limits, result.is_ok())
        };
        assert_eq!(read(1 << 20, true), (vec![4], true));
        assert_eq!(read(60 << 20, true), (vec![4, 60], true));
        assert_eq!(read(60 << 20, false), (vec![4, 32, 64], true));
        assert_eq!(read(65 << 20, true), (vec![4], false));
        assert_eq!(read(65 << 20, false), (vec![4, 32, 64], false));
        assert_eq!(budget.shared.used().leased_bytes, 0);
    }
}
