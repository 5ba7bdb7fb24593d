//! The plan's files in the output.

use super::{Output, PLAN};
use crate::dataset::DatasetError;
use crate::storage::MAX_DOCUMENT_BYTES;

/// Largest `plan.json` that is read, in bytes.
pub(super) const MAX_BYTES: u64 = MAX_DOCUMENT_BYTES;

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
        Ok(self.sink.create_new(PLAN, bytes)?)
    }

    /// The error for `plan.json`.
    pub(crate) fn damaged_plan(&self, problem: String) -> DatasetError {
        self.damaged(PLAN, problem)
    }
}
