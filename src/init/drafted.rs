//! A drafted config, and where it will be written.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config_text;

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
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Anywhere => None,
        }
    }
}
