//! A first config, drafted from what a person has: a viewer state, a collection, a folder of layers, or a few layers.
//!
//! In go sources as typed; out comes a [`Draft`]: a config, and what the person should check in it. Layers are opened
//! to see what they hold (`layer`), boxes and splits are read or guessed (`boxes`), and everything else is drafted
//! without reading (`compose`). At last the draft is planned (`trial`), so that it is known to work, or why not.

mod boxes;
mod compose;
mod config_text;
mod csv_columns;
mod error;
mod grid;
mod layer;
mod source;
mod split;
mod text;
mod trial;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::storage::{Location, Storage};

pub use error::InitError;
use grid::Grid;

/// A drafted config.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The config.
    pub config: Value,
    /// What a person should check in it, most important first.
    pub checks: Vec<String>,
}

impl Draft {
    /// The config as a person writes it: short lists and objects on one line.
    pub fn text(&self) -> String {
        config_text::of(&self.config)
    }
}

/// Where the config will be, which decides how it names local files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// In this file: local sources below its folder get relative paths.
    File(PathBuf),
    /// Anywhere: local sources get absolute paths.
    Anywhere,
}

impl Target {
    /// The folder that relative paths may count from.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Anywhere => None,
        }
    }
}

/// Drafts a config from `sources`: one viewer state, pasted URL, collection file or folder, or any number of layers.
/// Relative sources count from the folder `here`, which is absolute. Reading takes at most `memory_bytes`.
pub fn draft(
    sources: &[String],
    here: &Path,
    target: &Target,
    memory_bytes: u64,
    storage: &Storage,
) -> Result<Draft, InitError> {
    let here = Location::Local(here.to_owned());
    let storage = &storage.for_job(memory_bytes);
    let found = source::read(sources, &here, storage)?;
    let layers = layer::open_all(&found, storage);
    let grid = Grid::choose(&layers).ok_or_else(|| layer::no_volume(&found, &layers))?;
    let boxes = boxes::choose(&found, &layers, &grid, target, storage)?;
    let drafted = compose::compose(&found, &layers, &grid, boxes, target);
    Ok(trial::run(drafted, target, memory_bytes, storage))
}
