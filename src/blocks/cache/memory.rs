//! The memory of a block cache: the bytes that its blocks take, and spare buffers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The bytes of a cache's blocks, and buffers that are kept for the next blocks, so that the system need not map their
/// memory again.
#[derive(Debug)]
pub(super) struct CacheMemory {
    budget_bytes: u64,
    held_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    spare: Mutex<Vec<Vec<u8>>>,
    most_spare: usize,
}

impl CacheMemory {
    /// Memory of `budget_bytes`, for blocks that `threads` threads load.
    pub fn new(budget_bytes: u64, threads: usize) -> Self {
        Self {
            budget_bytes,
            held_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            spare: Mutex::default(),
            most_spare: 4 * threads.max(2),
        }
    }

    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Bytes that blocks take.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Most bytes that blocks took, as far as it was noted.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// Bytes over the budget.
    pub fn excess_bytes(&self) -> u64 {
        self.held_bytes().saturating_sub(self.budget_bytes)
    }

    pub fn hold(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn free(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes what is held now.
    pub fn note_peak(&self) {
        let held = self.held_bytes();
        self.peak_bytes.fetch_max(held, Ordering::Relaxed);
    }

    pub fn keep_spare(&self, buffer: Vec<u8>) {
        let mut spare = self.lock_spare();
        if spare.len() == self.most_spare {
            spare.remove(0);
        }
        spare.push(buffer);
    }

    /// A buffer for a block of `bytes`. A far larger buffer is not taken, because only `bytes` are counted.
    pub fn take_spare(&self, bytes: u64) -> Vec<u8> {
        let fits = |b: &Vec<u8>| (bytes..=2 * bytes).contains(&(b.capacity() as u64));
        let mut spare = self.lock_spare();
        let fitting = spare.iter().rposition(fits);
        fitting.map_or_else(Vec::new, |i| spare.remove(i))
    }

    /// Drops spare buffers until they and the blocks are within the budget.
    pub fn drop_spare_over_budget(&self) {
        let mut spare = self.lock_spare();
        while !spare.is_empty() && self.held_bytes() + bytes_of(&spare) > self.budget_bytes {
            spare.remove(0);
        }
    }

    /// Bytes of the spare buffers.
    #[cfg(test)]
    pub fn spare_bytes(&self) -> u64 {
        bytes_of(&self.lock_spare())
    }

    fn lock_spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Every change below the lock is complete.
        self.spare.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn bytes_of(spare: &[Vec<u8>]) -> u64 {
    spare.iter().map(|b| b.capacity() as u64).sum()
}
