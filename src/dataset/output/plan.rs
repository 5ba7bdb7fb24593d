//! The plan's files in the output.

use super::{Output, PLAN, PLAN_COLUMNS, PLAN_COPY};
use crate::dataset::DatasetError;
use crate::storage::MAX_DOCUMENT_BYTES;

/// Largest `plan.json` that is read, in bytes.
pub(super) const MAX_BYTES: u64 = MAX_DOCUMENT_BYTES;

/// Characters of the plan's digest in the name of its folder.
const DIGEST_CHARACTERS: usize = 16;

/// The folder of the plan's columns.
pub(crate) fn plan_folder(plan_digest: &str) -> String {
    let digest = plan_digest.get(..DIGEST_CHARACTERS).unwrap_or(plan_digest);
    format!("{PLAN_COLUMNS}/{digest}")
}

/// The key of the copy of `plan.json`, which is written when the dataset is sealed.
pub(crate) fn plan_copy_key(plan_digest: &str) -> String {
    format!("{}/{PLAN_COPY}", plan_folder(plan_digest))
}

/// Whether the key is one of [`plan_copy_key`].
pub(crate) fn is_plan_copy(key: &str) -> bool {
    let below = key.strip_prefix(PLAN_COLUMNS);
    let names = below.map(|below| below.split('/').collect::<Vec<_>>());
    matches!(names.as_deref(), Some(["", _, PLAN_COPY]))
}

impl Output {
    /// The bytes of `plan.json`; `None` if the plan is not written yet.
    pub(crate) fn read_plan(&self) -> Result<Option<Vec<u8>>, DatasetError> {
        self.read(PLAN, MAX_BYTES)
    }

    /// Writes a file of the plan. The key is relative to the output.
    pub(crate) fn write_plan_file(&self, key: &str, bytes: &[u8]) -> Result<(), DatasetError> {
        self.write(key, bytes)
    }

    /// Writes `plan.json`, when all its files are written. Returns `false` if there is one: another process was faster.
    pub(crate) fn create_plan(&self, bytes: &[u8]) -> Result<bool, DatasetError> {
        self.require_own()?;
        Ok(self.sink()?.create_new(PLAN, bytes)?)
    }

    /// Writes `plan.json` again, which is damaged.
    pub(crate) fn restore_plan(&self, bytes: &[u8]) -> Result<(), DatasetError> {
        self.write(PLAN, bytes)
    }

    /// The error for `plan.json`.
    pub(crate) fn damaged_plan(&self, problem: String) -> DatasetError {
        self.damaged(PLAN, problem)
    }
}
