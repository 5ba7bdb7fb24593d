//! Successful responses, adapted to the request. A range is cut out of a response with the whole object. A range other
//! than the requested one is rejected.

use std::ops::Range;

use object_store::client::{HttpError, HttpErrorKind};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use reqwest::{StatusCode, Version};

use super::request_log::{RequestLog, RequestOutcome};
use super::response_body::MonitoredBody;

/// Most bytes that are read and discarded to reach a range.
const MAX_SKIPPED_BYTES: u64 = 256 << 20;

/// The length given to `object_store` if it is unknown. The read checks [`RequestLog::has_no_length`].
const UNKNOWN_LENGTH: u64 = i64::MAX as u64;

/// A successful response, which is changed in place.
pub(super) struct SuccessResponse<'a> {
    pub(super) status: &'a mut StatusCode,
    pub(super) headers: &'a mut HeaderMap,
    pub(super) version: Version,
    pub(super) body: &'a mut MonitoredBody,
}

impl SuccessResponse<'_> {
    /// Requires the whole object.
    pub(super) fn require_whole_object(self, log: &RequestLog) -> Result<(), HttpError> {
        if *self.status == StatusCode::PARTIAL_CONTENT {
            return Err(log.reject(RequestOutcome::Mismatch(
                "the server sent a part, but the whole object was requested".into(),
            )));
        }
        if self.length(log)?.is_none() {
            log.update(|entries| entries.no_length = true);
            self.headers.insert(CONTENT_LENGTH, UNKNOWN_LENGTH.into());
        }
        Ok(())
    }

    /// Requires the range `requested`, or cuts it out of the whole object.
    pub(super) fn limit_to_range(
        self,
        log: &RequestLog,
        requested: Option<Range<u64>>,
    ) -> Result<(), HttpError> {
        let Some(requested) = requested else {
            return Ok(());
        };
        if *self.status == StatusCode::PARTIAL_CONTENT {
            let checked = check_part(&requested, self.headers);
            return checked.map_err(|problem| log.reject(RequestOutcome::Mismatch(problem)));
        }
        let known_size = self.length(log)?;
        if requested.start > MAX_SKIPPED_BYTES {
            return Err(log.reject(RequestOutcome::Unusable(format!(
                "the server ignores ranges, and byte {} is more than {} MiB after the start",
                requested.start,
                MAX_SKIPPED_BYTES >> 20
            ))));
        }
        log.update(|entries| entries.no_length = known_size.is_none());
        let size = known_size.unwrap_or(requested.end);
        let end = requested.end.min(size);
        if requested.start >= end {
            *self.status = StatusCode::RANGE_NOT_SATISFIABLE;
            self.body.remaining = Some(0);
            let outcome = RequestOutcome::Status {
                status: StatusCode::RANGE_NOT_SATISFIABLE,
                explanation: String::new(),
                size: known_size,
            };
            log.update(|entries| entries.last = Some(outcome));
            return Ok(());
        }
        *self.status = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{size}", requested.start, end - 1);
        let part = HeaderValue::try_from(part);
        let part = part.map_err(|e| HttpError::new(HttpErrorKind::Decode, e))?;
        self.headers.insert(CONTENT_RANGE, part);
        let length = end - requested.start;
        self.headers.insert(CONTENT_LENGTH, length.into());
        self.body.skip = requested.start;
        self.body.remaining = Some(length);
        Ok(())
    }

    /// The body's length; `None` if the protocol marks the end of the body, so that truncation is detected.
    fn length(&self, log: &RequestLog) -> Result<Option<u64>, HttpError> {
        let known = content_length(self.headers);
        let marks_end =
            self.headers.contains_key(TRANSFER_ENCODING) || self.version >= Version::HTTP_2;
        if known.is_some() || marks_end {
            Ok(known)
        } else {
            Err(log.reject(RequestOutcome::Unusable(
                "the response has no length, so a truncated response could not be detected".into(),
            )))
        }
    }
}

/// The range in a request's header, as `object_store` writes it; `None` if it has no end.
pub(super) fn requested_range(header: &HeaderValue) -> Option<Range<u64>> {
    let (first, last) = header
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

/// The range and the object's size in a response's header.
#[allow(clippy::type_complexity, reason = "two parts of one header")]
pub(super) fn content_range(headers: &HeaderMap) -> Option<(Option<Range<u64>>, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (part, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let part = part.split_once('-').and_then(|(first, last)| {
        let first: u64 = first.trim().parse().ok()?;
        let last: u64 = last.trim().parse().ok()?;
        Some(first..last.checked_add(1)?)
    });
    Some((part, size.trim().parse().ok()))
}

/// Checks that the part is the requested one, cut off at the end of the object.
fn check_part(requested: &Range<u64>, headers: &HeaderMap) -> Result<(), String> {
    let mismatch = |found: &str| {
        format!(
            "the server sent {found}, but bytes {} to {} were requested",
            requested.start, requested.end
        )
    };
    let Some((Some(part), size)) = content_range(headers) else {
        return Err(mismatch("a part without Content-Range"));
    };
    let end = size.map_or(requested.end, |size| requested.end.min(size));
    if part == (requested.start..end) {
        Ok(())
    } else {
        Err(mismatch(&format!("bytes {} to {}", part.start, part.end)))
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
