//! Shards that are copied from an earlier output, which has them with the same bytes.

use super::receipt::{PIECE_BYTES, Receipt, SourceUse};
use super::{DatasetError, Layout, Output, ShardId};

/// An earlier output.
#[derive(Debug)]
pub(crate) struct EarlierShards<'a> {
    /// Where it is.
    pub output: &'a Output,
    /// Digest of its plan.
    pub plan_digest: &'a str,
    /// For each of its sources the position in the manifest of the new output.
    pub sources: &'a [Option<usize>],
}

impl EarlierShards<'_> {
    /// Copies the shard `id` to `output`, whose plan has the digest `plan_digest`, and writes its receipt. Both outputs have it
    /// under the same path. Returns whether it was copied: the earlier output may be unfinished or damaged.
    ///
    /// # Errors
    /// Something cannot be read or written.
    pub fn copy_to(
        &self,
        output: &Output,
        layout: &Layout,
        plan_digest: &str,
        id: ShardId,
    ) -> Result<bool, DatasetError> {
        let Some(earlier) = self.receipt(layout, id)? else {
            return Ok(false);
        };
        let Some(sources) = self.renumbered(&earlier.sources) else {
            return Ok(false);
        };
        output.require_own()?;
        let key = layout.shard_path(id);
        let location = self.output.location();
        let is_copied = if output.copy_unread(location, &key)? {
            // Another job may have overwritten the earlier output since its receipt was read.
            self.receipt(layout, id)?.as_ref() == Some(&earlier)
        } else {
            copy_bytes(self.output, output, &key, &earlier.blake3)?
        };
        if is_copied {
            let receipt = Receipt {
                plan_digest: plan_digest.to_owned(),
                sources,
                ..earlier
            };
            receipt.write(output, layout, id)?;
        }
        Ok(is_copied)
    }

    /// The receipt of the shard, if the shard has the size in it.
    fn receipt(&self, layout: &Layout, id: ShardId) -> Result<Option<Receipt>, DatasetError> {
        let receipt = Receipt::read(self.output, layout, self.plan_digest, id)?;
        let Some(receipt) = receipt else {
            return Ok(None);
        };
        let size_bytes = self.output.size_bytes(&layout.shard_path(id))?;
        Ok((size_bytes == Some(receipt.bytes)).then_some(receipt))
    }

    /// The sources with their new positions, in the order of these; `None` if one is not among the new sources.
    fn renumbered(&self, sources: &[SourceUse]) -> Option<Vec<SourceUse>> {
        let renumbered = sources.iter().map(|of_source| {
            let source = self.sources.get(of_source.source).copied().flatten()?;
            Some(SourceUse {
                source,
                ..*of_source
            })
        });
        let mut renumbered: Vec<_> = renumbered.collect::<Option<_>>()?;
        renumbered.sort_unstable_by_key(|of_source| of_source.source);
        Some(renumbered)
    }
}

/// Copies an object piece by piece. Returns whether it had the digest; otherwise nothing is written.
fn copy_bytes(from: &Output, to: &Output, key: &str, digest: &str) -> Result<bool, DatasetError> {
    let Some(object) = from.store().open_object(key)? else {
        return Ok(false);
    };
    let mut copy = to.begin(key)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = Vec::new();
    let size_bytes = object.size_bytes();
    for start in (0..size_bytes).step_by(PIECE_BYTES as usize) {
        piece.resize(PIECE_BYTES.min(size_bytes - start) as usize, 0);
        object.read_at(start, &mut piece)?;
        hasher.update(&piece);
        copy.write(&piece)?;
    }
    let is_whole = hasher.finalize().to_string() == digest;
    if is_whole {
        copy.commit()?;
    }
    Ok(is_whole)
}
