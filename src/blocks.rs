//! Blocks on their way from volumes to windows: each is fetched and decoded once while it is needed.
//!
//! [`BlockUses`] says which unit of work needs which block. [`BlockCache`] holds decoded blocks within a budget of bytes
//! and drops those whose next use is farthest away. [`Prefetcher`] fetches the blocks of the next windows while others
//! are cut.

mod cache;
mod fetch_queue;
mod prefetch;
mod uses;

pub use cache::{Block, BlockCache, CacheStats, Lookup};
pub(crate) use prefetch::{Prefetcher, with_prefetcher};
pub use uses::{BlockKey, BlockUses};
