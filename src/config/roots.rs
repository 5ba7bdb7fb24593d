//! The table of roots of a layer of supervoxels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unit::delimiter_problem;

/// A table that has a root for each supervoxel of a layer, at one moment. Each voxel of the layer becomes the root of its supervoxel; 0
/// stays 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootsConfig {
    /// Path of the table, relative to the config's folder: CSV or TSV with a header, Parquet, Arrow (Feather) or JSON.
    pub file: String,
    /// The column of supervoxels, whole numbers from 0 to 2^64 - 1. Several rows may have the same supervoxel, with the same root.
    #[serde(default = "RootsConfig::default_supervoxel")]
    pub supervoxel: String,
    /// The column of roots.
    #[serde(default = "RootsConfig::default_root")]
    pub root: String,
    /// What a supervoxel without a row becomes.
    #[serde(default, skip_serializing_if = "MissingRoot::is_error")]
    pub missing: MissingRoot,
    /// The character between fields of CSV. By default a tab in files named `*.tsv`, otherwise a comma.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Path of the supervoxels' precomputed layer, for layers whose path begins with `graphene://`. By default the `data_dir` in the info
    /// at that path, which a server with a login does not send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
}

/// What a supervoxel without a row becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingRoot {
    /// An error.
    #[default]
    Error,
    /// Itself.
    Keep,
    /// 0.
    Zero,
}

impl MissingRoot {
    fn is_error(&self) -> bool {
        *self == Self::Error
    }
}

impl RootsConfig {
    fn default_supervoxel() -> String {
        "supervoxel_id".to_owned()
    }

    fn default_root() -> String {
        "root_id".to_owned()
    }

    /// Removes paths and URLs.
    pub(super) fn remove_places(&mut self) {
        self.file.clear();
        self.data_dir = None;
    }

    /// The first invalid value, if there is one: the key, and what was found and expected.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if self.supervoxel == self.root {
            let problem = format!(
                "found {:?} for `supervoxel` and for `root`, expected two columns",
                self.root
            );
            return Some(("roots", problem));
        }
        let problem = delimiter_problem(self.delimiter)?;
        Some(("roots.delimiter", format!("found {problem}")))
    }
}
