//! The memory limit for documents.
//!
//! One [`MemoryBudget`] comes from `--memory` and is passed to every reader of collections, viewer states, annotations
//! and tables. One half is for temporary data (a cell, a parsed document): a thread leases it, and waits until it is
//! available. The other half is for data that is kept until the plan is complete. Memory is counted before it is
//! allocated.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Memory of the program without data: code, threads, connections.
pub(crate) const BASE_BYTES: u64 = 48 << 20;

/// Minimum memory for documents, even if `--memory` is smaller, so that a job can read enough to report the problem.
const LEAST_BYTES: u64 = 32 << 20;

/// First limit for an object of unknown size.
const FIRST_BYTES: u64 = 4 << 20;

/// A [`Keeper`] counts kept memory in steps of this size.
const KEEP_STEP_BYTES: u64 = 256 << 10;

/// Factor between the limits of two attempts, for an object of unknown size.
const GROWTH: u64 = 8;

/// A memory limit for documents. Clones share one budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    memory_bytes: u64,
    /// Size of each half.
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

/// Leased memory, until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    bytes: u64,
    shared: Arc<Shared>,
}

/// The budget is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// The exceeded limit.
    pub limit_bytes: u64,
    /// `--memory`.
    pub memory_bytes: u64,
}

impl std::fmt::Display for OverBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = |bytes| bytesize::ByteSize(bytes).display().iec();
        write!(
            f,
            "the {} for documents within --memory {}",
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
    /// The budget of a program with the memory limit `memory_bytes`.
    pub fn new(memory_bytes: u64) -> Self {
        let free = memory_bytes.saturating_sub(BASE_BYTES).max(LEAST_BYTES);
        Self {
            memory_bytes,
            half_bytes: free / 2,
            shared: Arc::default(),
        }
    }

    /// Maximum number of leased bytes.
    pub(crate) fn lease_limit_bytes(&self) -> u64 {
        self.half_bytes
    }

    /// Maximum number of kept bytes.
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

    /// Counts `bytes` that are kept until the plan is complete.
    pub(crate) fn keep(&self, bytes: u64) -> Result<(), OverBudget> {
        let mut used = self.shared.used();
        let kept = used.kept_bytes.saturating_add(bytes);
        if kept > self.half_bytes {
            return Err(self.over());
        }
        used.kept_bytes = kept;
        Ok(())
    }

    /// Returns `bytes` that were counted by [`MemoryBudget::keep`] and are no longer kept.
    pub(crate) fn give_back(&self, bytes: u64) {
        let mut used = self.shared.used();
        used.kept_bytes = used.kept_bytes.saturating_sub(bytes);
    }

    /// The error if the budget is exceeded.
    pub(crate) fn over(&self) -> OverBudget {
        OverBudget {
            limit_bytes: self.half_bytes,
            memory_bytes: self.memory_bytes,
        }
    }

    /// Reads an object of unknown size: calls `read` with a size limit that grows with each attempt. Each byte of the
    /// object needs `bytes_of_memory`. `too_large` returns the object's minimum size if the error says that the object
    /// exceeds the limit.
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

/// Counts the memory that is kept for one object while the object is read. If the budget is exceeded, the caller keeps
/// nothing more, and [`Keeper::finish`] fails.
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

    /// Counts `bytes`; `false` if the budget is exceeded.
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

    /// Fails if the budget was exceeded.
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
    /// It exceeds the budget.
    Over(OverBudget),
    /// Another error.
    Other(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_memory_is_counted_until_it_is_returned() {
        let budget = MemoryBudget::new(BASE_BYTES + (64 << 20));
        let clone = budget.clone();
        budget.keep(20 << 20).unwrap();
        clone.keep(12 << 20).unwrap();
        let e = budget.keep(1).unwrap_err().to_string();
        assert_eq!(e, "the 32.0 MiB for documents within --memory 112.0 MiB");
        budget.give_back(1);
        budget.keep(1).unwrap();
        // Leased memory is counted separately.
        budget.lease(32 << 20).unwrap();
    }

    #[test]
    fn kept_memory_of_an_object_is_counted_while_the_object_is_read() {
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
    fn a_lease_waits_for_other_threads_and_a_lease_over_the_limit_fails() {
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
