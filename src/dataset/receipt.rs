//! Receipts: facts about a finished shard, so that nothing is read again for the manifest.

use serde::{Deserialize, Serialize};

use super::{DatasetError, Layout, Output, ShardId};
use crate::voxels::Statistics;

/// The facts about one shard. Written after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Digest of the plan that the shard belongs to.
    pub plan_digest: String,
    /// Size of the shard file.
    pub bytes: u64,
    /// blake3 of the shard file, hexadecimal.
    pub blake3: String,
    /// For each sample the number of values that are not 0.
    pub nonzero: Vec<u64>,
    /// Statistics of the samples' values.
    pub statistics: Statistics,
    /// For each source of its windows, the chunks that they touch.
    pub sources: Vec<SourceUse>,
}

/// Chunks of one source that a shard's windows touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceUse {
    /// Position of the source in the manifest.
    pub source: usize,
    /// Different chunks that the windows touch.
    pub touched: u64,
    /// Missing chunks among them.
    pub missing: u64,
}

impl Receipt {
    /// Writes the receipt of a published shard. It is not flushed, unlike the shard: if the machine crashes and the receipt
    /// is lost or damaged, the shard is written again.
    pub fn write(&self, output: &Output, layout: &Layout, id: ShardId) -> Result<(), DatasetError> {
        output.write_json_unflushed(&layout.receipt_path(id), self)
    }

    /// The shard's receipt, if there is one of this plan and the shard file has the size in it. The bytes of the file are not
    /// checked here, but by `check`.
    pub fn find(
        output: &Output,
        layout: &Layout,
        id: ShardId,
    ) -> Result<Option<Self>, DatasetError> {
        let receipt: Option<Self> = output.read_json(&layout.receipt_path(id))?;
        let Some(receipt) = receipt else {
            return Ok(None);
        };
        let size = output.size_bytes(&layout.shard_path(id))?;
        let samples = layout.samples(id);
        let valid = receipt.plan_digest == output.plan_digest()
            && size == Some(receipt.bytes)
            && receipt.nonzero.len() as u64 == samples.end - samples.start;
        Ok(valid.then_some(receipt))
    }
}
