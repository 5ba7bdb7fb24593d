//! Receipts: facts about a finished shard, so that nothing is read again for the manifest.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::checksummed::{from_checksummed, to_checksummed};
use super::{DatasetError, Layout, Manifest, Output, ShardEntry, ShardId};
use crate::storage::MAX_DOCUMENT_BYTES;
use crate::voxels::Statistics;

/// Bytes of a shard that are read at once to compute its digest.
pub(super) const PIECE_BYTES: u64 = 8 << 20;

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

/// How a shard that is present is examined before it is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Its receipt is whole and of this plan, and its size is the one in the receipt.
    #[default]
    Size,
    /// Its bytes have the digest in the receipt, too.
    Digest,
}

/// Which shards of an output are present: all shards, or some that were looked for.
#[derive(Clone, Debug)]
pub struct PresentShards {
    /// In the order of [`Layout::all_shards`].
    shards: Vec<(ShardId, State)>,
}

/// What is known of a shard.
#[derive(Clone, Debug)]
enum State {
    /// It is as its receipt says.
    Present(ShardFacts),
    /// It was written with these bytes, and is missing or damaged now.
    Lost(blake3::Hash),
    /// Nothing.
    Unknown,
}

impl State {
    fn facts(&self) -> Option<&ShardFacts> {
        match self {
            Self::Present(facts) => Some(facts),
            Self::Lost(_) | Self::Unknown => None,
        }
    }
}

/// What a receipt says, in little memory: all shards of an output are in memory when it is sealed.
#[derive(Clone, Debug)]
pub(super) struct ShardFacts {
    pub bytes: u64,
    pub blake3: blake3::Hash,
    /// For each sample the share of its values that are not 0.
    pub nonzero_fractions: Vec<f32>,
    pub statistics: Statistics,
    pub sources: Vec<SourceUse>,
}

impl Receipt {
    /// Writes the receipt of a published shard. It is not flushed, unlike the shard: if the machine crashes and the receipt is
    /// lost or damaged, its digest shows that, and the shard is written again.
    pub fn write(&self, output: &Output, layout: &Layout, id: ShardId) -> Result<(), DatasetError> {
        let key = layout.receipt_path(id);
        let bytes = to_checksummed(self).map_err(|e| output.damaged(&key, e.to_string()))?;
        output.write_unflushed(&key, &bytes)
    }

    /// The receipt of a shard; `None` if it is missing, damaged or of another plan.
    pub(super) fn read(
        output: &Output,
        layout: &Layout,
        plan_digest: &str,
        id: ShardId,
    ) -> Result<Option<Self>, DatasetError> {
        let bytes = output.read(&layout.receipt_path(id), MAX_DOCUMENT_BYTES)?;
        let samples = layout.samples(id);
        // A receipt that is damaged is written again, with its shard.
        let receipt: Option<Self> = bytes.and_then(|bytes| from_checksummed(&bytes).ok());
        Ok(receipt.filter(|receipt| {
            receipt.plan_digest == plan_digest
                && receipt.nonzero.len() as u64 == samples.end - samples.start
        }))
    }

    /// What the shard's receipt says, if it is whole and of the plan, and whether the shard has the size in it.
    fn find(
        output: &Output,
        layout: &Layout,
        plan_digest: &str,
        id: ShardId,
        sizes: Option<&HashMap<String, u64>>,
    ) -> Result<State, DatasetError> {
        let (key, shard) = (layout.receipt_path(id), layout.shard_path(id));
        if sizes.is_some_and(|sizes| !sizes.contains_key(&key)) {
            return Ok(State::Unknown);
        }
        let receipt = Self::read(output, layout, plan_digest, id)?;
        let sample_values = layout.sample_shape(id.array).iter().product();
        let facts = receipt.and_then(|receipt| receipt.into_facts(sample_values));
        let Some(facts) = facts else {
            return Ok(State::Unknown);
        };
        let size_bytes = match sizes {
            Some(sizes) => sizes.get(&shard).copied(),
            None => output.size_bytes(&shard)?,
        };
        Ok(if size_bytes == Some(facts.bytes) {
            State::Present(facts)
        } else {
            State::Lost(facts.blake3)
        })
    }

    /// The facts about a shard whose samples have `sample_values` values each; `None` if its digest is not one.
    fn into_facts(self, sample_values: u64) -> Option<ShardFacts> {
        let fraction = |nonzero: &u64| (*nonzero as f64 / sample_values as f64) as f32;
        Some(ShardFacts {
            bytes: self.bytes,
            blake3: self.blake3.parse().ok()?,
            nonzero_fractions: self.nonzero.iter().map(fraction).collect(),
            statistics: self.statistics,
            sources: self.sources,
        })
    }
}

impl ShardFacts {
    /// Whether the bytes of the shard have the digest in the receipt.
    fn has_digest(&self, output: &Output, shard: &str) -> Result<bool, DatasetError> {
        let Some(object) = output.store().open_object(shard)? else {
            return Ok(false);
        };
        let mut hasher = blake3::Hasher::new();
        let mut piece = Vec::new();
        let size_bytes = object.size_bytes();
        for start in (0..size_bytes).step_by(PIECE_BYTES as usize) {
            piece.resize(PIECE_BYTES.min(size_bytes - start) as usize, 0);
            object.read_at(start, &mut piece)?;
            hasher.update(&piece);
        }
        Ok(hasher.finalize() == self.blake3)
    }
}

/// Memory that a shard takes while an output is sealed, approximately: its facts, its files in the listing, and its entry in
/// the manifest and in the text of the manifest.
const SHARD_BYTES: u64 = 2_000;

impl PresentShards {
    /// Memory that all shards of the layout take while the output is sealed, in bytes.
    pub fn memory_bytes(layout: &Layout) -> u64 {
        let of_shard = |id: ShardId| {
            let samples = layout.samples(id);
            SHARD_BYTES + (samples.end - samples.start) * size_of::<f32>() as u64
        };
        layout.all_shards().map(of_shard).sum()
    }

    /// Looks for all shards of the plan with `plan_digest`, with the threads of the current rayon pool.
    pub fn find(
        output: &Output,
        layout: &Layout,
        plan_digest: &str,
        trust: Trust,
    ) -> Result<Self, DatasetError> {
        let sizes = output.shard_sizes(layout)?;
        let ids = layout.all_shards().collect();
        Self::find_in(output, layout, plan_digest, trust, ids, Some(&sizes))
    }

    /// As [`PresentShards::find`], for some of the shards. The output is not listed: it may have many others.
    pub fn find_some(
        output: &Output,
        layout: &Layout,
        plan_digest: &str,
        trust: Trust,
        shards: &[ShardId],
    ) -> Result<Self, DatasetError> {
        let mut ids = shards.to_vec();
        ids.sort_unstable();
        Self::find_in(output, layout, plan_digest, trust, ids, None)
    }

    /// Looks for the shards `ids`, which are sorted. `sizes` has the sizes of all files, if they were listed.
    fn find_in(
        output: &Output,
        layout: &Layout,
        plan_digest: &str,
        trust: Trust,
        ids: Vec<ShardId>,
        sizes: Option<&HashMap<String, u64>>,
    ) -> Result<Self, DatasetError> {
        let shards = ids.into_par_iter().map(|id| {
            let mut state = Receipt::find(output, layout, plan_digest, id, sizes)?;
            if let (State::Present(facts), Trust::Digest) = (&state, trust)
                && !facts.has_digest(output, &layout.shard_path(id))?
            {
                state = State::Lost(facts.blake3);
            }
            Ok((id, state))
        });
        Ok(Self {
            shards: shards.collect::<Result<_, DatasetError>>()?,
        })
    }

    /// The same without the shards that `is_damaged` selects.
    pub fn without(mut self, is_damaged: impl Fn(ShardId) -> bool) -> Self {
        for (id, state) in &mut self.shards {
            if let State::Present(facts) = state
                && is_damaged(*id)
            {
                *state = State::Lost(facts.blake3);
            }
        }
        self
    }

    /// The digest that a shard had which is missing or damaged now. A shard that is cut again must have it.
    pub fn digest_of_lost(&self, id: ShardId) -> Option<blake3::Hash> {
        let position = self.position(id)?;
        match self.shards[position].1 {
            State::Lost(digest) => Some(digest),
            State::Present(_) | State::Unknown => None,
        }
    }

    /// Adds the digests in the manifest, which has the same plan, of shards whose receipts are lost, too.
    pub fn remember(&mut self, manifest: &Manifest, layout: &Layout) {
        let entries = manifest.shards.iter();
        let digests: HashMap<_, _> = entries.map(|e| (e.path.as_str(), &e.blake3)).collect();
        for (id, state) in &mut self.shards {
            let digest = || digests.get(layout.shard_path(*id).as_str())?.parse().ok();
            if let State::Unknown = state
                && let Some(digest) = digest()
            {
                *state = State::Lost(digest);
            }
        }
    }

    fn position(&self, id: ShardId) -> Option<usize> {
        self.shards.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    /// Whether the shard is present.
    pub fn contains(&self, id: ShardId) -> bool {
        let position = self.position(id);
        position.is_some_and(|i| self.shards[i].1.facts().is_some())
    }

    /// Number of shards that are present.
    pub fn count(&self) -> u64 {
        let present = self
            .shards
            .iter()
            .filter(|(_, state)| state.facts().is_some());
        present.count() as u64
    }

    /// The shards that are missing.
    pub fn missing(&self) -> impl Iterator<Item = ShardId> + '_ {
        let missing = self
            .shards
            .iter()
            .filter(|(_, state)| state.facts().is_none());
        missing.map(|(id, _)| *id)
    }

    /// When each shard that is present was written, in milliseconds since 1970 by the clock of the disk or the server.
    pub fn times(
        &self,
        output: &Output,
        layout: &Layout,
    ) -> Result<Vec<(ShardId, i64)>, DatasetError> {
        let times = output.receipt_times()?;
        let present = self
            .shards
            .iter()
            .filter(|(_, state)| state.facts().is_some());
        let with_times = present.filter_map(|(id, _)| {
            let time = times.get(&layout.receipt_path(*id))?;
            Some((*id, *time))
        });
        Ok(with_times.collect())
    }

    /// Whether the manifest lists exactly these shards, with the sizes and digests of their receipts.
    pub(super) fn are_listed_in(&self, manifest: &Manifest, layout: &Layout) -> bool {
        let is_entry_of = |(entry, (id, state)): (&ShardEntry, &(ShardId, State))| {
            state.facts().is_some_and(|facts| {
                entry.path == layout.shard_path(*id)
                    && (entry.bytes, &*entry.blake3) == (facts.bytes, &*facts.blake3.to_hex())
            })
        };
        manifest.shards.len() == self.shards.len()
            && manifest.shards.iter().zip(&self.shards).all(is_entry_of)
    }

    /// The facts about all shards.
    ///
    /// # Errors
    /// Shards are missing.
    pub(super) fn complete(self, layout: &Layout) -> Result<Vec<ShardFacts>, DatasetError> {
        let expected = self.shards.len();
        if let Some(first) = self.missing().next() {
            return Err(DatasetError::Incomplete {
                missing: self.missing().count(),
                expected,
                first: layout.shard_path(first),
            });
        }
        let shards = self.shards.into_iter();
        let facts = shards.filter_map(|(_, state)| match state {
            State::Present(facts) => Some(facts),
            State::Lost(_) | State::Unknown => None,
        });
        Ok(facts.collect())
    }
}
