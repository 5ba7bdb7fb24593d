//! Samples without an object because the chunk at their point is not stored: not the same as background.

use std::sync::{Mutex, PoisonError};

use crate::blocks::BlockKey;
use crate::config::{Empty, MissingObject};
use crate::extract::{ExtractError, Sources};
use crate::plan::Plan;

/// What was found at the points of an array's samples, by source.
pub(super) struct ChunksAtPoints {
    of_sources: Mutex<Vec<OfSource>>,
}

#[derive(Clone, Copy, Default)]
struct OfSource {
    /// Whether any chunk at a point is stored.
    stored: bool,
    /// The first one, in the order of the volume, that is not.
    missing: Option<BlockKey>,
    /// Samples without an object near whose point a chunk is not stored.
    lost: u64,
}

impl ChunksAtPoints {
    /// Nothing yet.
    pub fn new(sources: &Sources) -> Self {
        Self {
            of_sources: Mutex::new(vec![OfSource::default(); sources.volumes.len()]),
        }
    }

    /// Notes what was found at a sample's point: whether any chunk there is stored, one that is not, and the object.
    pub fn note(&self, source: usize, stored: bool, missing: Option<BlockKey>, object: u64) {
        let mut of_sources = self
            .of_sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of_source = &mut of_sources[source];
        of_source.stored |= stored;
        of_source.lost += u64::from(object == 0 && missing.is_some());
        of_source.missing = match (of_source.missing, missing) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Warnings, one for each source that lacks chunks at points without an object.
    ///
    /// # Errors
    /// Where samples without an object are dropped, for a source of which no chunk at any point is stored, unless the
    /// config allows that: it is not empty, but probably another one than was meant.
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
        for (source, of_source) in of_sources.into_iter().enumerate() {
            let (Some(missing), lost @ 1..) = (of_source.missing, of_source.lost) else {
                continue;
            };
            let volume = &sources.volumes[source];
            let layer = plan.layer_of_source(source);
            let chunk = volume.describe_block(volume.meta().grid.block_from_linear(missing.block));
            let may_be_empty = plan.sources[source].layer.empty == Empty::Allow;
            if !of_source.stored && without_object == MissingObject::Drop && !may_be_empty {
                return Err(ExtractError::NoChunkAtPoints {
                    array: name.clone(),
                    layer: layer.to_owned(),
                    location: volume.describe(),
                    samples: lost,
                    chunk,
                });
            }
            let became = match without_object {
                MissingObject::Drop => format!("were dropped as no_object for `{name}`"),
                MissingObject::Keep => format!("have an empty mask in `{name}`"),
            };
            warnings.push(format!(
                "{lost} sample(s) {became} because a chunk of the layer `{layer}` at their point is not stored, for example {chunk}: check the layer's path and resolution, unless all is background there"
            ));
        }
        Ok(warnings)
    }
}
