//! Objects on http(s) servers, Google Cloud Storage and S3, through `object_store`.
//!
//! `object_store` signs requests and keeps connections alive. [`retried`] retries failed operations by one policy for all
//! servers. [`http_adapter`] works below `object_store`, and adapts requests and responses. Every error has the method,
//! URL, tries, elapsed time, the server's explanation and what to do ([`request_error`]), but no secret.

mod action;
mod attempt;
mod client;
mod connection_failure;
mod connections;
mod credentials;
mod error_text;
mod http_adapter;
mod http_client;
mod list;
mod location;
mod new_request;
mod object_request;
mod read;
mod redirect;
mod request_error;
mod request_log;
mod request_runtime;
mod response;
mod response_body;
mod retried;
mod sink;
mod tls;
mod upload_client;
mod write;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::stop_group::StopGroup;
use super::{Compression, ListedObject, Network, OpenObject, RetryPolicy, StorageError, Store};
use action::Action;
use client::Client;
pub(super) use connections::Connections;
pub(super) use location::BadPlace;
pub use location::RemoteLocation;

/// The objects below a location on a server.
#[derive(Clone)]
pub(super) struct RemoteStore {
    /// The client, or the reason why it could not be created. Every read returns that reason.
    client: Result<Arc<Client>, String>,
    location: RemoteLocation,
    connections: Arc<Connections>,
    stop_group: StopGroup,
    /// Replaces the policy of the network settings.
    retry_policy: Option<RetryPolicy>,
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
            retry_policy: None,
        }
    }

    /// As [`RemoteStore::open`], with a separate client that sends `token` with every request.
    pub(super) fn with_token(
        location: &RemoteLocation,
        token: Option<&str>,
        network: Network,
        connections: &Arc<Connections>,
        stop_group: &StopGroup,
    ) -> Result<Self, String> {
        let bearer = |token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| {
                "the token has characters that an HTTP header cannot contain".to_owned()
            })?;
            value.set_sensitive(true);
            Ok::<_, String>((AUTHORIZATION, value))
        };
        let header = token.map(bearer).transpose()?;
        let environment = credentials::Environment::default();
        let root = &location.root;
        let runtime = &connections.runtime;
        let client = Client::with_header(root, network, &environment, header, runtime)?;
        Ok(Self {
            client: Ok(Arc::new(client)),
            location: location.clone(),
            connections: Arc::clone(connections),
            stop_group: stop_group.clone(),
            retry_policy: None,
        })
    }

    fn client(&self, action: Action, url: &str) -> Result<&Client, StorageError> {
        let client = self.client.as_ref();
        client.map(Arc::as_ref).map_err(|problem| {
            request_error::not_sent(
                action,
                url,
                problem,
                "check the URL, and the credentials in environment and files",
            )
        })
    }
}

impl Store for RemoteStore {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.read_decoded(key, None, limit_bytes, into)
    }

    fn read_encoded(
        &self,
        key: &str,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        self.read_with(key, None, limit_bytes, into, attempt::keep_compressed)
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
        self.read_decoded(key, Some(range), length, into)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        self.object_size(key)
    }

    fn open_object(&self, key: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError> {
        Ok(self.object_size(key)?.map(|size_bytes| {
            let object: Box<dyn OpenObject> = Box::new(RemoteObject {
                store: self.clone(),
                key: key.to_owned(),
                size_bytes,
            });
            object
        }))
    }

    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.list_all(folder, each)
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

/// An object that is read by ranges.
#[derive(Debug)]
struct RemoteObject {
    store: RemoteStore,
    key: String,
    size_bytes: u64,
}

impl OpenObject for RemoteObject {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let end = offset + into.len() as u64;
        let mut bytes = Vec::new();
        if !self.store.read_range(&self.key, offset..end, &mut bytes)? {
            return Err(StorageError::Read {
                object: self.store.describe(&self.key),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        into.copy_from_slice(&bytes);
        Ok(())
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.location)
    }
}

#[cfg(test)]
mod tests;
