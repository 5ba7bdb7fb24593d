//! One attempt at a read: the request, the checks of the response, and the body with its Content-Encoding decoded.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Attribute, Error, GetOptions, GetRange, GetResult};
use reqwest::StatusCode;

use super::error_text::with_causes;
use super::object_request::{ObjectRequest, RequestFailure};
use super::request_log::RequestOutcome;
use crate::storage::{Compression, InflateError};

/// Decodes the bytes of a response in place. Gets the compressions of its Content-Encoding and the limit of bytes,
/// and returns the compressions that remain.
pub(super) type Decode =
    fn(Vec<Compression>, u64, &mut Vec<u8>) -> Result<Vec<Compression>, RequestFailure>;

impl ObjectRequest<'_> {
    /// Reads the object or its range once. Returns the compressions that `decode` left; `None` if the object does not
    /// exist.
    pub(super) async fn attempt(
        &self,
        path: &Path,
        into: &mut Vec<u8>,
        decode: Decode,
    ) -> Result<Option<Vec<Compression>>, RequestFailure> {
        into.clear();
        let range = self.range.clone().map(GetRange::Bounded);
        let response = match self.send(path, GetOptions::new().with_range(range)).await {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(None),
            Err(e) => return Err(self.failure(e)),
        };
        let encoding = response.attributes.get(&Attribute::ContentEncoding);
        let encoding = encoding.map_or(String::new(), |names| names.to_ascii_lowercase());
        if let Some(range) = &self.range {
            check_range(range, &response, &encoding)?;
        }
        self.receive(response, into).await?;
        let compression = |name| {
            let unsupported = || {
                RequestFailure::UnsupportedEncoding(format!(
                    "its Content-Encoding {name} is not supported"
                ))
            };
            Compression::from_content_encoding(name).ok_or_else(unsupported)
        };
        let compressions = codings(&encoding)
            .map(compression)
            .collect::<Result<_, _>>()?;
        decode(compressions, self.limit_bytes, into).map(Some)
    }

    /// The object's size, from a HEAD request. The outer `None` means that the server does not support it.
    pub(super) async fn size_by_head(
        &self,
        path: &Path,
    ) -> Result<Option<Option<u64>>, RequestFailure> {
        let head = GetOptions::new().with_head(true);
        match self.send(path, head).await {
            Ok(response) => Ok(Some(response.map(|response| response.meta.size))),
            Err(e) => match self.log.entries().last {
                // A successful response without a size: the response to a range has one.
                None => Ok(None),
                Some(RequestOutcome::Status { status, .. })
                    if [
                        StatusCode::METHOD_NOT_ALLOWED,
                        StatusCode::NOT_IMPLEMENTED,
                        StatusCode::BAD_REQUEST,
                    ]
                    .contains(&status) =>
                {
                    Ok(None)
                }
                Some(_) => Err(RequestFailure::Request(e)),
            },
        }
    }

    /// The object's size, from the response to a range of one byte.
    pub(super) async fn size_by_range(&self, path: &Path) -> Result<Option<u64>, RequestFailure> {
        let first_byte = GetOptions::new().with_range(Some(GetRange::Bounded(0..1)));
        match self.send(path, first_byte).await {
            Ok(Some(_)) if self.log.has_no_length() => Err(RequestFailure::NoLength),
            Ok(response) => Ok(response.map(|response| response.meta.size)),
            Err(e) => match self.log.entries().last {
                Some(RequestOutcome::Status {
                    status: StatusCode::RANGE_NOT_SATISFIABLE,
                    size: Some(size),
                    ..
                }) => Ok(Some(size)),
                _ => Err(RequestFailure::Request(e)),
            },
        }
    }

    /// The response to one request, and to those by which `object_store` continues it; `None` if the object does not
    /// exist.
    async fn send(&self, path: &Path, mut options: GetOptions) -> Result<Option<GetResult>, Error> {
        options.extensions.insert(Arc::clone(&self.log));
        let error = match self.client.store.get_opts(path, options).await {
            Ok(response) => return Ok(Some(response)),
            Err(e) => e,
        };
        let missing = match self.log.entries().last {
            Some(RequestOutcome::Status { status, .. }) => {
                status == StatusCode::GONE
                    // `object_store` reports 405 as NotFound, too.
                    || (status == StatusCode::NOT_FOUND && matches!(error, Error::NotFound { .. }))
            }
            _ => false,
        };
        if missing { Ok(None) } else { Err(error) }
    }

    /// The failure behind an error of `object_store`.
    fn failure(&self, error: Error) -> RequestFailure {
        match (&self.range, self.log.entries().last) {
            (
                Some(range),
                Some(RequestOutcome::Status {
                    status: StatusCode::RANGE_NOT_SATISFIABLE,
                    size,
                    ..
                }),
            ) => RequestFailure::TooShort(size.unwrap_or(range.start).min(range.start)),
            _ => RequestFailure::Request(error),
        }
    }

    /// Reads the body into `into`, and checks its length.
    async fn receive(&self, response: GetResult, into: &mut Vec<u8>) -> Result<(), RequestFailure> {
        let no_length = self.log.has_no_length();
        let announced = if no_length {
            0
        } else {
            response.range.end - response.range.start
        };
        if announced > self.limit_bytes {
            return Err(RequestFailure::TooLarge(announced));
        }
        // The announced size is within the limit, so memory for it can be reserved.
        into.reserve(announced as usize);
        let mut body = response.into_stream();
        while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            let piece = piece.map_err(|e| RequestFailure::BrokenResponse(with_causes(&e)))?;
            let received = (into.len() + piece.len()) as u64;
            if no_length && received > self.limit_bytes {
                return Err(RequestFailure::TooLarge(received));
            }
            if !no_length && received > announced {
                return Err(RequestFailure::BrokenResponse(format!(
                    "more than the announced {announced} bytes were received"
                )));
            }
            into.extend_from_slice(&piece);
        }
        let received = into.len() as u64;
        match &self.range {
            Some(range) if no_length && received < range.end - range.start => {
                Err(RequestFailure::TooShort(range.start + received))
            }
            _ if !no_length && received != announced => Err(RequestFailure::BrokenResponse(
                format!("{received} of {announced} bytes were received"),
            )),
            _ => Ok(()),
        }
    }
}

/// Checks that a response has the requested range, without a Content-Encoding.
fn check_range(
    range: &Range<u64>,
    response: &GetResult,
    encoding: &str,
) -> Result<(), RequestFailure> {
    if response.range != *range {
        return Err(RequestFailure::TooShort(response.meta.size));
    }
    match codings(encoding).next() {
        Some(name) => Err(RequestFailure::UnsupportedEncoding(format!(
            "the object is sent with Content-Encoding {name}, which cannot be decoded from a range"
        ))),
        None => Ok(()),
    }
}

/// Decompresses everything. The last compression in the list was applied last, and is removed first.
pub(super) fn decompress(
    compressions: Vec<Compression>,
    limit_bytes: u64,
    into: &mut Vec<u8>,
) -> Result<Vec<Compression>, RequestFailure> {
    for compression in compressions.into_iter().rev() {
        let mut inflated = Vec::new();
        compression
            .undo(into, limit_bytes as usize, &mut inflated)
            .map_err(|e| {
                let problem = format!("its Content-Encoding {}: {e}", compression.name());
                match e {
                    InflateError::TooLong(_) => RequestFailure::InflatesTooLarge(problem),
                    InflateError::Damaged(_) => RequestFailure::CorruptEncoding(problem),
                }
            })?;
        *into = inflated;
    }
    Ok(Vec::new())
}

/// Leaves every compression to the caller.
pub(super) fn keep_compressed(
    compressions: Vec<Compression>,
    _limit_bytes: u64,
    _into: &mut Vec<u8>,
) -> Result<Vec<Compression>, RequestFailure> {
    Ok(compressions)
}

/// The compressions in a Content-Encoding. `aws-chunked` is an encoding of uploads that some tools store with the
/// object.
fn codings(encoding: &str) -> impl Iterator<Item = &str> {
    encoding
        .split(',')
        .map(str::trim)
        .filter(|name| !matches!(*name, "" | "identity" | "aws-chunked"))
}
