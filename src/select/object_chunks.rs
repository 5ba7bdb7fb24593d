//! Samples without an object because the chunk at their point is missing: that is not the same as background.

use std::sync::{Mutex, PoisonError};

use crate::blocks::BlockKey;
use crate::config::{Empty, MissingObject};
use crate::extract::{ExtractError, Sources};
use crate::plan::Plan;

/// Which chunks at the points of an array's samples are stored, by source.
pub(super) struct ChunksAtPoints {
    of_sources: Mutex<Vec<SourceChunks>>,
}

#[derive(Clone, Copy, Default)]
struct SourceChunks {
    /// Whether any chunk at a point is stored.
    any_stored: bool,
    /// The first missing one, in the order of the volume.
    missing: Option<BlockKey>,
    /// Samples without an object that have a missing chunk near their point.
    lost: u64,
}

impl ChunksAtPoints {
    /// Nothing yet.
    pub fn new(sources: &Sources) -> Self {
        Self {
            of_sources: Mutex::new(vec![SourceChunks::default(); sources.volumes.len()]),
        }
    }

    /// Notes what is at a sample's point: whether any chunk there is stored, a missing one, and the object.
    pub fn note(&self, source: usize, stored: bool, missing: Option<BlockKey>, object: u64) {
        let mut of_sources = self
            .of_sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let chunks = &mut of_sources[source];
        chunks.any_stored |= stored;
        chunks.lost += u64::from(object == 0 && missing.is_some());
        chunks.missing = match (chunks.missing, missing) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Warnings, one for each source with missing chunks at points without an object.
    ///
    /// # Errors
    /// Where samples without an object are dropped: a source of which all chunks at points are missing, unless the config
    /// allows that. The layer is probably not the intended one.
    pub fn warnings(
        self,
        plan: &Plan,
        sources: &Sources,
        array: usize,
        without_object: MissingObject,
    ) -> Result<Vec<String>, ExtractError> {
        let of_sources = self.of_sources.into_inner();
        let of_sources = of_sources.unwrap_or_else(PoisonError::into_inner);
        let name = &plan.arrays[array].name;
        let mut warnings = Vec::new();
        for (source, chunks) in of_sources.into_iter().enumerate() {
            let (Some(missing), lost @ 1..) = (chunks.missing, chunks.lost) else {
                continue;
            };
            let volume = &sources.volumes[source];
            let layer = plan.layer_of_source(source);
            let chunk = volume.describe_block(volume.meta().grid.block_from_linear(missing.block));
            let may_be_empty = plan.sources[source].layer.empty == Empty::Allow;
            if !chunks.any_stored && without_object == MissingObject::Drop && !may_be_empty {
                return Err(ExtractError::NoChunkAtPoints {
                    array: name.clone(),
                    layer: layer.to_owned(),
                    location: volume.describe(),
                    samples: lost,
                    chunk,
                });
            }
            let result = match without_object {
                MissingObject::Drop => format!("were dropped as no_object for `{name}`"),
                MissingObject::Keep => format!("have an empty mask in `{name}`"),
            };
            warnings.push(format!(
                "{lost} sample(s) {result} because a chunk of the layer `{layer}` at their point is missing, for example {chunk}: check the layer's path and resolution, unless everything is background there"
            ));
        }
        Ok(warnings)
    }
}
