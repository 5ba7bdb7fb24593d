//! Objects on http(s) servers, Google Cloud Storage and S3, through `object_store`.
//!
//! `object_store` keeps connections alive and retries, with backoff and jitter, on 429, 5xx and connections that
//! break before an answer; what breaks within a body is retried here ([`get`]). What it hides of tries and
//! answers, and what it takes amiss, is seen to below it ([`wire`]). Every error says method, URL, tries and
//! elapsed time, what the server said, and what to do ([`trouble`]).

mod client;
mod credentials;
mod get;
mod location;
mod trouble;
mod wire;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{Network, StorageError, Store};
use client::Client;
pub use location::RemoteLocation;

/// The objects below a place on a server.
pub(super) struct RemoteStore {
    /// Or why there can be no client: told when something is read.
    client: Result<Arc<Client>, String>,
    location: RemoteLocation,
}

impl RemoteStore {
    /// The objects below `location`, asked for as the program's [`Network`] says.
    pub(super) fn new(location: &RemoteLocation) -> Self {
        Self::with(location, Network::chosen())
    }

    /// As [`RemoteStore::new`]; `network` counts where the server is not known yet.
    pub(super) fn with(location: &RemoteLocation, network: Network) -> Self {
        Self {
            client: Client::of(&location.root, network),
            location: location.clone(),
        }
    }

    fn client(&self, url: &str) -> Result<&Client, StorageError> {
        let client = self.client.as_ref();
        client.map(Arc::as_ref).map_err(|problem| {
            trouble::not_asked(
                url,
                problem,
                "check the URL, and the credentials in environment and files",
            )
        })
    }
}

impl Store for RemoteStore {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.get(key, None, limit_bytes, into)
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        if range.is_empty() {
            into.clear();
            return Ok(self.size(key)?.is_some());
        }
        let length = range.end - range.start;
        self.get(key, Some(range), length, into)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        self.head(key)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn describe(&self, key: &str) -> String {
        self.location.join(key).to_string()
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.location)
    }
}

#[cfg(test)]
mod tests;
