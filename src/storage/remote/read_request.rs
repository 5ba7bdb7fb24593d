//! One read of an object, and the reasons why an attempt at it fails.

use std::ops::Range;
use std::sync::Arc;

use object_store::Error;

use super::RemoteStore;
use super::client::Client;
use super::request_log::RequestLog;

/// One read, from the first attempt to the last.
pub(super) struct ReadRequest<'c> {
    pub method: &'static str,
    pub url: String,
    pub store: &'c RemoteStore,
    pub client: &'c Client,
    pub range: Option<Range<u64>>,
    pub limit_bytes: u64,
    pub log: Arc<RequestLog>,
}

/// Why an attempt failed.
pub(super) enum ReadFailure {
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
