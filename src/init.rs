//! A first config, drafted from what a person has: a viewer state, a collection, a folder of layers, or a few layers.
//!
//! In go sources as typed; out comes a [`Draft`]: a config, and what the person should check in it. Layers are opened
//! to see what they hold (`layer`), boxes and splits are read or guessed (`boxes`), and everything else is drafted
//! without reading (`compose`). At last the draft is planned (`trial`), so that it is known to work, or why not.

mod boxes;
mod compose;
mod config_text;
mod content;
mod drafted;
mod error;
mod error_chain;
mod grid;
mod layer;
mod source;
mod split;
mod table_columns;
mod text;
mod trial;

use std::path::Path;

use crate::geometry::Resolution;
use crate::storage::{Location, Storage};

pub use drafted::{Draft, Target};
pub use error::InitError;
use grid::Grid;

/// Drafts a config from `sources`: one viewer state, pasted URL, collection file or folder, or any number of layers.
/// Relative sources count from the folder `here`, which is absolute. `resolution` is that of volumes that do not state theirs.
/// Reading takes at most `memory_bytes`.
pub fn draft(
    sources: &[String],
    resolution: Option<Resolution>,
    here: &Path,
    target: &Target,
    memory_bytes: u64,
    storage: &Storage,
) -> Result<Draft, InitError> {
    let here = Location::Local(here.to_owned());
    let storage = &storage.for_job(memory_bytes);
    let found = source::read(sources, &here, storage)?;
    let layers = layer::open_all(&found, resolution, storage);
    let grid = Grid::choose(&layers).ok_or_else(|| layer::no_volume(&found, &layers))?;
    let boxes = boxes::choose(&found, &layers, &grid, target, storage)?;
    let drafted = compose::compose(&found, &layers, &grid, boxes, target);
    Ok(trial::run(drafted, target, memory_bytes, storage))
}
