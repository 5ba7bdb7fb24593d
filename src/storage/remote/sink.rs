//! Write access to the objects below a location in a bucket.

use std::sync::Arc;

use super::RemoteStore;
use super::request_error::not_sent;
use crate::storage::{Sink, StorageError};

impl RemoteStore {
    /// Write access to the objects below the location.
    pub(in crate::storage) fn into_sink(self) -> Result<Arc<dyn Sink>, StorageError> {
        let url = self.location.to_string();
        Err(not_sent(
            &url,
            "outputs on servers are not supported",
            "use a local folder",
        ))
    }
}
