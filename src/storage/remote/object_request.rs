//! One operation on an object, and the reasons why an attempt at it fails.

use std::ops::Range;
use std::sync::Arc;

use object_store::{Error, Extensions};
use reqwest::StatusCode;

use super::RemoteStore;
use super::action::Action;
use super::client::Client;
use super::connection_failure::ConnectionFailure;
use super::request_log::{RequestLog, RequestOutcome};
use crate::storage::RetryPolicy;

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
