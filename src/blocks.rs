//! Blocks between volumes and windows: each is fetched and decoded once while it is needed.
//!
//! [`BlockUses`] lists which unit of work uses which block. [`BlockCache`] holds decoded blocks within a budget of bytes and
//! evicts first those whose next use is farthest away. [`Prefetcher`] reads the blocks of the next windows while others are
//! cut. [`visit_blocks`] reads every block of a part of a volume, without windows.

mod block;
mod cache;
mod fetch_queue;
mod prefetch;
mod uses;
mod visit;

pub use block::Block;
pub use cache::{BlockCache, CacheStats, Lookup};
pub(crate) use prefetch::{Prefetcher, UnitPrefetch, with_prefetcher};
pub use uses::{BlockKey, BlockUses};
pub(crate) use visit::{VisitMemory, visit_blocks};
