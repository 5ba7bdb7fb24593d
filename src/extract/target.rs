//! Where shards are written to.

use crate::dataset::{Layout, Output, PresentShards, ShardId};

/// Where shards are written to.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The output, claimed for the plan.
    pub output: &'a Output,
    /// Its arrays and shards.
    pub layout: &'a Layout,
    /// Digest of the plan.
    pub plan_digest: &'a str,
    /// The shards to write, in the order in which work on them begins.
    pub shards: &'a [ShardId],
    /// Those of them that are present.
    pub present: &'a PresentShards,
}
