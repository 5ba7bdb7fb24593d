//! Receipts: what is known about a finished shard, so that nothing has to be read again.

use serde::{Deserialize, Serialize};

use super::{DatasetError, Layout, Output, ShardId};
use crate::voxels::Statistics;

/// What became of one shard. Written after it.
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
    /// What is known of the samples' values.
    pub statistics: Statistics,
    /// For each source that its windows are cut out of: the chunks that they touch.
    pub sources: Vec<SourceUse>,
}

/// Chunks of one source that a shard's windows touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceUse {
    /// Position of the source in the manifest.
    pub source: usize,
    /// Different chunks that the windows touch.
    pub touched: u64,
    /// Those that are not stored.
    pub missing: u64,
}

impl Receipt {
    /// Writes the receipt of a shard that stands. It is not flushed: the shard was, and a receipt that a crash of
    /// the machine takes away or garbles is no receipt, so that its shard is made again.
    pub fn write(&self, output: &Output, layout: &Layout, id: ShardId) -> Result<(), DatasetError> {
        output.write_json_unflushed(&layout.receipt_path(id), self)
    }

    /// The shard's receipt, if there is one of this plan and the shard file stands with the size that it
    /// names. Whether the bytes are still right is for `check` to say.
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
