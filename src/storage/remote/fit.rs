//! Good answers, made to fit what was asked: a range is cut out of a whole answer, and another range than the one asked
//! for is never taken.

use std::ops::Range;

use object_store::client::{HttpError, HttpErrorKind};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use reqwest::{StatusCode, Version};

use super::body::WatchedBody;
use super::wire::{Outcome, Wire};

/// Most bytes of a whole answer that are read and thrown away to reach a range.
const MAX_SKIPPED_BYTES: u64 = 256 << 20;

/// The length told where a server tells none; the read knows by [`Wire::has_no_length`].
const NO_LENGTH: u64 = i64::MAX as u64;

/// A good answer, which is made to fit what was asked.
pub(super) struct Answer<'a> {
    pub(super) status: &'a mut StatusCode,
    pub(super) headers: &'a mut HeaderMap,
    pub(super) version: Version,
    pub(super) body: &'a mut WatchedBody,
}

impl Answer<'_> {
    /// To a read of the whole object.
    pub(super) fn be_whole(self, wire: &Wire) -> Result<(), HttpError> {
        if *self.status == StatusCode::PARTIAL_CONTENT {
            return Err(wire.unfit(Outcome::Wrong(
                "the server sent a part, but the whole object was requested".into(),
            )));
        }
        if self.length(wire)?.is_none() {
            wire.note(|log| log.no_length = true);
            self.headers.insert(CONTENT_LENGTH, NO_LENGTH.into());
        }
        Ok(())
    }

    /// To a read of the range `asked`; of a whole object, the range is cut out.
    pub(super) fn be_range(self, wire: &Wire, asked: Option<Range<u64>>) -> Result<(), HttpError> {
        let Some(asked) = asked else {
            return Ok(());
        };
        if *self.status == StatusCode::PARTIAL_CONTENT {
            let checked = check_part(&asked, self.headers);
            return checked.map_err(|problem| wire.unfit(Outcome::Wrong(problem)));
        }
        let known = self.length(wire)?;
        if asked.start > MAX_SKIPPED_BYTES {
            return Err(wire.unfit(Outcome::Unusable(format!(
                "the server ignores ranges, and byte {} is more than {} MiB after the start",
                asked.start,
                MAX_SKIPPED_BYTES >> 20
            ))));
        }
        wire.note(|log| log.no_length = known.is_none());
        let size = known.unwrap_or(asked.end);
        let end = asked.end.min(size);
        if asked.start >= end {
            *self.status = StatusCode::RANGE_NOT_SATISFIABLE;
            self.body.left = Some(0);
            wire.note(|log| {
                log.last = Some(Outcome::Status {
                    status: StatusCode::RANGE_NOT_SATISFIABLE,
                    said: String::new(),
                    size: known,
                });
            });
            return Ok(());
        }
        *self.status = StatusCode::PARTIAL_CONTENT;
        let place = format!("bytes {}-{}/{size}", asked.start, end - 1);
        let place = HeaderValue::try_from(place);
        let place = place.map_err(|e| HttpError::new(HttpErrorKind::Decode, e))?;
        self.headers.insert(CONTENT_RANGE, place);
        let length = end - asked.start;
        self.headers.insert(CONTENT_LENGTH, length.into());
        self.body.skip = asked.start;
        self.body.left = Some(length);
        Ok(())
    }

    /// The body's length; `None` where it is told by the body's own end, which cannot be mistaken.
    fn length(&self, wire: &Wire) -> Result<Option<u64>, HttpError> {
        let known = length(self.headers);
        let ends_by_itself =
            self.headers.contains_key(TRANSFER_ENCODING) || self.version >= Version::HTTP_2;
        match known.is_some() || ends_by_itself {
            true => Ok(known),
            false => Err(wire.unfit(Outcome::Unusable(
                "the response has no length, so a truncated response could not be detected".into(),
            ))),
        }
    }
}

/// The range in a request's header, as `object_store` writes it; `None` where it is open.
pub(super) fn asked_range(header: &HeaderValue) -> Option<Range<u64>> {
    let (first, last) = header
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

/// The range and the object's size in an answer's header.
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

/// Whether the part that comes is the one asked for, or as much of it as the object has.
fn check_part(asked: &Range<u64>, headers: &HeaderMap) -> Result<(), String> {
    let wrong = |found: &str| {
        format!(
            "the server sent {found}, but bytes {} to {} were requested",
            asked.start, asked.end
        )
    };
    match content_range(headers) {
        Some((Some(part), size)) => {
            let expected = asked.start..size.map_or(asked.end, |size| asked.end.min(size));
            match part == expected {
                true => Ok(()),
                false => Err(wrong(&format!("bytes {} to {}", part.start, part.end))),
            }
        }
        _ => Err(wrong("a part without Content-Range")),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
