//! Objects on http(s) servers, Google Cloud Storage and S3, through `object_store`.
//!
//! `object_store` signs requests and keeps connections alive. What fails is tried again here ([`get`]), as one policy
//! for all servers says. What it hides of answers, and what it takes amiss, is seen to below it ([`wire`]). Every error
//! says method, URL, tries and elapsed time, what the server said, and what to do ([`trouble`]); none has a secret.

mod body;
mod client;
mod connection;
mod connections;
mod credentials;
mod failure;
mod fit;
mod get;
mod list;
mod location;
mod redirect;
mod tls;
mod trouble;
mod wire;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::stop_group::StopGroup;
use super::{Compression, Network, StorageError, Store};
use client::Client;
pub(super) use connections::Connections;
pub(super) use location::BadPlace;
pub use location::RemoteLocation;

/// The objects below a place on a server.
pub(super) struct RemoteStore {
    /// Or why there can be no client: told when something is read.
    client: Result<Arc<Client>, String>,
    location: RemoteLocation,
    connections: Arc<Connections>,
    stop_group: StopGroup,
}

impl RemoteStore {
    /// The objects below `location`.
    pub(super) fn open(
        location: &RemoteLocation,
        connections: &Arc<Connections>,
        stop_group: &StopGroup,
    ) -> Self {
        Self {
            client: connections.client(&location.root),
            location: location.clone(),
            connections: Arc::clone(connections),
            stop_group: stop_group.clone(),
        }
    }

    /// The objects below `location`, requested by a client of its own that sends `token` with every request.
    pub(super) fn with_token(
        location: &RemoteLocation,
        token: Option<&str>,
        network: Network,
        connections: &Arc<Connections>,
        stop_group: &StopGroup,
    ) -> Result<Self, String> {
        let bearer = |token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| "the token cannot be sent".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>((AUTHORIZATION, value))
        };
        let header = token.map(bearer).transpose()?;
        let environment = credentials::Environment::default();
        let root = &location.root;
        let client = Client::with_header(root, network, &environment, header, connections)?;
        Ok(Self {
            client: Ok(Arc::new(client)),
            location: location.clone(),
            connections: Arc::clone(connections),
            stop_group: stop_group.clone(),
        })
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

    fn read_encoded(
        &self,
        key: &str,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        self.fetch(key, None, limit_bytes, into, get::keep)
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

    fn is_remote(&self) -> bool {
        true
    }

    fn has_files(&self) -> bool {
        self.location.is_http()
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
