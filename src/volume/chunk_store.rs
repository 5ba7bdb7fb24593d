//! The store of a layer's chunks.

use std::sync::Arc;

use crate::config::{Forbidden, LayerConfig};
use crate::storage::{Store, access_denied_is_missing};

/// The store that the chunks of `layer` are read from.
pub(super) fn chunk_store(store: Arc<dyn Store>, layer: &LayerConfig) -> Arc<dyn Store> {
    match layer.forbidden {
        Forbidden::Error => store,
        Forbidden::Missing => access_denied_is_missing(store),
    }
}
