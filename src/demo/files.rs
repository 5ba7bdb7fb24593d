//! Writes the files of the demo.

use std::path::Path;

use super::DemoError;

pub(super) fn create_dir(path: &Path) -> Result<(), DemoError> {
    std::fs::create_dir_all(path).map_err(|source| DemoError::CreateDir {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    std::fs::write(path, bytes).map_err(|source| DemoError::Write {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), DemoError> {
    write(path, format!("{value:#}\n").as_bytes())
}
