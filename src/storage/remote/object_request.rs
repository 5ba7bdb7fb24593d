//! One operation on an object, and the reasons why an attempt at it fails.

use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, Extensions};
use reqwest::StatusCode;

use super::client::Client;
use super::connection_failure::ConnectionFailure;
use super::request_error::not_sent;
use super::request_log::{RequestLog, RequestOutcome};
use super::{RemoteStore, StorageError};
use crate::storage::RetryPolicy;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    List,
    Write,
    Delete,
}

impl Action {
    /// Continues "cannot ..." in messages.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Write | Self::Delete)
    }
}

/// One operation, from the first attempt to the last.
pub(super) struct ObjectRequest<'c> {
    pub action: Action,
    pub method: &'static str,
    pub url: String,
    pub store: &'c RemoteStore,
    pub client: &'c Client,
    pub retry_policy: RetryPolicy,
    pub range: Option<Range<u64>>,
    pub limit_bytes: u64,
    pub log: Arc<RequestLog>,
}

/// Why an attempt failed.
pub(super) enum RequestFailure {
    /// No response, or an error response.
    Request(Error),
    /// The response is incomplete, or longer than announced.
    BrokenResponse(String),
    /// The response is complete, but its Content-Encoding cannot be decoded.
    CorruptEncoding(String),
    /// The object ends before the range does; its size.
    TooShort(u64),
    /// More bytes than the caller allows.
    TooLarge(u64),
    /// The Content-Encoding is not supported.
    UnsupportedEncoding(String),
    /// The server does not send the object's length.
    NoLength,
    /// Another part of the job failed meanwhile.
    Stopped,
    /// More bytes than the caller allows after decoding the Content-Encoding.
    InflatesTooLarge(String),
}

impl RemoteStore {
    /// An operation on the object `key` or the bytes `range` of it, and the object's path.
    pub(super) fn request(
        &self,
        action: Action,
        method: &'static str,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<(ObjectRequest<'_>, Path), StorageError> {
        let url = self.location.join(key).to_string();
        let (client, path, query) = self.resolve(action, key, &url)?;
        let whole_object = action == Action::Read && range.is_none();
        let request = ObjectRequest {
            action,
            method,
            url,
            store: self,
            client,
            retry_policy: self.retry_policy.unwrap_or(client.network.retry),
            range,
            limit_bytes: 0,
            log: RequestLog::new(whole_object, query.as_deref()),
        };
        Ok((request, path))
    }

    /// Checks that the object `key` is below the location, and that requests for it can be sent.
    pub(super) fn check_key(&self, key: &str) -> Result<(), StorageError> {
        self.request(Action::Write, "PUT", key, None).map(drop)
    }

    /// The client, the path and the query for the object `key`.
    fn resolve(
        &self,
        action: Action,
        key: &str,
        url: &str,
    ) -> Result<(&Client, Path, Option<String>), StorageError> {
        let name = match key.split_once('?') {
            Some((name, _query)) if self.location.is_http() => name,
            _ => key,
        };
        let is_root = name.is_empty() && action == Action::List;
        let inside = name.split('/').all(|step| !matches!(step, "" | "." | ".."));
        if !inside && !is_root {
            return Err(StorageError::KeyLeavesRoot {
                key: key.to_owned(),
                root: self.location.to_string(),
            });
        }
        let client = self.client(action, url)?;
        let location = self.location.join(key);
        let path = location.object_path();
        let path = path.map_err(|e| not_sent(action, url, &e, "check the URL"))?;
        Ok((client, path, location.query().map(str::to_owned)))
    }
}

impl ObjectRequest<'_> {
    /// Makes `object_store` pass the log to the HTTP client.
    pub(super) fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Arc::clone(&self.log));
        extensions
    }

    /// The status of the last response, if it is an error.
    pub(super) fn last_status(&self) -> Option<StatusCode> {
        match self.log.entries().last {
            Some(RequestOutcome::Status { status, .. }) => Some(status),
            _ => None,
        }
    }

    /// Whether the server may have done what the last, failed attempt requested.
    pub(super) fn may_have_succeeded(&self) -> bool {
        let log = self.log.entries();
        match log.last {
            Some(RequestOutcome::Status { status, .. }) => {
                status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
            }
            Some(RequestOutcome::Failed(
                ConnectionFailure::ConnectTimeout
                | ConnectionFailure::UnknownHost
                | ConnectionFailure::Refused
                | ConnectionFailure::Tls(_),
            )) => false,
            Some(_) => true,
            None => log.requests > 0,
        }
    }
}
