//! Reading one object or a range of it: tries until the bytes are there, whole and undone of what the server did
//! to them on the way.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Attribute, Error, GetOptions, GetRange};
use reqwest::StatusCode;

use super::client::Client;
use super::failure::Failure;
use super::trouble::{self, Question, whole};
use super::wire::{Outcome, Wire, is_transient};
use super::{RemoteStore, StorageError};
use crate::storage::retry::{Retries, Transient};
use crate::storage::{Compression, InflateError, Store};

/// Why a try failed.
pub(super) enum Failed {
    /// No answer, or one that is an error.
    Request(Error),
    /// The answer broke off or was not what was announced.
    Broken(String),
    /// The answer is whole, but cannot be undone as it says.
    Damaged(String),
    /// The object ends before the range does: its size.
    Short(u64),
    /// More bytes than the caller allows.
    TooLarge(u64),
    /// Its Content-Encoding cannot be undone.
    Encoded(String),
    /// The server does not say how long the object is.
    NoLength,
    /// Another part of the work failed meanwhile.
    Stopped,
    /// Undone of its Content-Encoding it has more bytes than the caller allows.
    Inflates(String),
}

impl RemoteStore {
    /// The object's bytes, or those in `range`; `false` where there is no such object.
    pub(super) fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        let found = self.fetch(key, range, limit_bytes, into, undo)?;
        Ok(found.is_some())
    }

    /// As [`RemoteStore::get`]; `decode` gets the bytes that came and what its Content-Encoding did to them, and says
    /// what is left to be undone.
    pub(super) fn fetch(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
        decode: Decode,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        into.clear();
        let url = self.describe(key);
        let (client, path, query) = self.ready(key, &url)?;
        let question = Question {
            method: "GET",
            url,
            store: self,
            client,
            limit_bytes,
            wire: Wire::new(range.is_none(), query.as_deref()),
            range,
        };
        let result = question.until_answered(async || question.ask_once(&path, into, decode).await);
        if result.is_err() {
            into.clear();
        }
        result
    }

    /// The object's size; `None` where there is no such object.
    pub(super) fn head(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let url = self.describe(key);
        let (client, path, query) = self.ready(key, &url)?;
        let mut question = Question {
            method: "HEAD",
            url,
            store: self,
            client,
            range: None,
            limit_bytes: 0,
            wire: Wire::new(true, query.as_deref()),
        };
        if let Some(size) = question.until_answered(async || question.size_by_head(&path).await)? {
            return Ok(size);
        }
        question.method = "GET";
        question.range = Some(0..1);
        question.wire = Wire::new(false, query.as_deref());
        question.until_answered(async || question.size_by_range(&path).await)
    }

    /// What to ask with, for what, and what of it.
    fn ready(&self, key: &str, url: &str) -> Result<(&Client, Path, Option<String>), StorageError> {
        let name = match key.split_once('?') {
            Some((name, _query)) if self.location.is_http() => name,
            _ => key,
        };
        let inside = name.split('/').all(|step| !matches!(step, "" | "." | ".."));
        if !inside {
            return Err(StorageError::KeyLeavesRoot {
                key: key.to_owned(),
                root: self.location.to_string(),
            });
        }
        let client = self.client(url)?;
        let location = self.location.join(key);
        let path = location.object_path();
        let path = path.map_err(|e| trouble::not_asked(url, &e, "check the URL"))?;
        Ok((client, path, location.query().map(str::to_owned)))
    }
}

impl Question<'_> {
    /// What `ask` comes to, tried again as the program's policy says.
    fn until_answered<T>(
        &self,
        mut ask: impl AsyncFnMut() -> Result<T, Failed>,
    ) -> Result<T, StorageError> {
        let runtime = self.store.connections.runtime();
        let runtime =
            runtime.map_err(|e| trouble::not_asked(&self.url, &e, "raise the limit on threads"))?;
        let group = &self.store.stop_group;
        let mut retries = Retries::new(self.client.network.retry);
        loop {
            self.wire.begin_try();
            let failed = match runtime.block_on(group.unless_stopped(ask())) {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(failed)) => failed,
                None => Failed::Stopped,
            };
            let pause = self.transient(&failed).and_then(|transient| {
                let now = self.wire.elapsed();
                let asked = self.wire.log().asked_pause;
                let pause = retries.after(transient, now, asked, chance())?;
                self.tell(retries.failing(now) + pause, retries.remaining(now));
                Some(pause)
            });
            match pause {
                None => return Err(self.trouble(failed)),
                Some(pause) if !group.pause(pause) => return Err(self.trouble(Failed::Stopped)),
                Some(_) => {}
            }
        }
    }

    /// What waiting may do about a failure; `None` where it does nothing.
    fn transient(&self, failed: &Failed) -> Option<Transient> {
        let log = self.wire.log();
        match (failed, log.last) {
            (Failed::Damaged(_), _) => Some(Transient::Wrong),
            (Failed::Broken(_) | Failed::Request(_), last) => match last {
                Some(Outcome::Status { status, .. }) => {
                    is_transient(status).then_some(Transient::Outage)
                }
                Some(Outcome::Failed(Failure::Slow(_))) => Some(Transient::Slow),
                Some(Outcome::Failed(_)) if !log.answers => Some(Transient::NeverAnswered),
                Some(Outcome::Failed(_)) => Some(Transient::Outage),
                Some(Outcome::Wrong(_)) => Some(Transient::Wrong),
                Some(Outcome::Html | Outcome::Redirect(_) | Outcome::Unusable(_)) => None,
                // Nothing went wrong on the wire: what came is not what was announced.
                None => matches!(failed, Failed::Broken(_)).then_some(Transient::Wrong),
            },
            _ => None,
        }
    }

    /// Tells the user why nothing happens.
    fn tell(&self, failing: Duration, remaining: Duration) {
        let log = self.wire.log();
        let problem = match &log.last {
            Some(Outcome::Status { status, .. }) => format!("answers {}", status.as_u16()),
            Some(Outcome::Failed(failure)) => failure.in_short().to_owned(),
            _ => "sends unexpected data".to_owned(),
        };
        let waits = &self.store.connections.waits;
        waits.report(&log.server, &problem, failing, remaining);
    }

    /// The object's size by its headers; `None` inside where the server answers, but not to this.
    async fn size_by_head(&self, path: &Path) -> Result<Option<Option<u64>>, Failed> {
        let head = GetOptions::new().with_head(true);
        match self.answer(path, head).await {
            Ok(got) => Ok(Some(got.map(|got| got.meta.size))),
            Err(e) => match self.wire.log().last {
                // It answers, but not to HEAD, or not with a size: a range's answer says it too.
                None => Ok(None),
                Some(Outcome::Status { status, .. })
                    if [
                        StatusCode::METHOD_NOT_ALLOWED,
                        StatusCode::NOT_IMPLEMENTED,
                        StatusCode::BAD_REQUEST,
                    ]
                    .contains(&status) =>
                {
                    Ok(None)
                }
                Some(_) => Err(Failed::Request(e)),
            },
        }
    }

    /// The object's size by the answer to a range of one byte.
    async fn size_by_range(&self, path: &Path) -> Result<Option<u64>, Failed> {
        let first = GetOptions::new().with_range(Some(GetRange::Bounded(0..1)));
        match self.answer(path, first).await {
            Ok(Some(_)) if self.wire.has_no_length() => Err(Failed::NoLength),
            Ok(got) => Ok(got.map(|got| got.meta.size)),
            Err(e) => match self.wire.log().last {
                Some(Outcome::Status {
                    status: StatusCode::RANGE_NOT_SATISFIABLE,
                    size: Some(size),
                    ..
                }) => Ok(Some(size)),
                _ => Err(Failed::Request(e)),
            },
        }
    }

    /// The answer to one request (and those that `object_store` repeats); `None` where there is no such object.
    async fn answer(
        &self,
        path: &Path,
        mut options: GetOptions,
    ) -> Result<Option<object_store::GetResult>, Error> {
        options.extensions.insert(Arc::clone(&self.wire));
        match self.client.store.get_opts(path, options).await {
            Ok(got) => Ok(Some(got)),
            Err(e @ Error::NotFound { .. }) => match self.wire.log().last {
                // `object_store` takes 405 for "not there", too.
                Some(Outcome::Status { status, .. })
                    if status == StatusCode::NOT_FOUND || status == StatusCode::GONE =>
                {
                    Ok(None)
                }
                _ => Err(e),
            },
            Err(e) => match self.wire.log().last {
                Some(Outcome::Status {
                    status: StatusCode::GONE,
                    ..
                }) => Ok(None),
                _ => Err(e),
            },
        }
    }

    /// One try.
    async fn ask_once(
        &self,
        path: &Path,
        into: &mut Vec<u8>,
        decode: Decode,
    ) -> Result<Option<Vec<Compression>>, Failed> {
        into.clear();
        let range = self.range.clone();
        let options = GetOptions::new().with_range(range.clone().map(GetRange::Bounded));
        let got = match self.answer(path, options).await {
            Ok(Some(got)) => got,
            Ok(None) => return Ok(None),
            Err(e) => {
                return Err(match (range, self.wire.log().last) {
                    (
                        Some(range),
                        Some(Outcome::Status {
                            status: StatusCode::RANGE_NOT_SATISFIABLE,
                            size,
                            ..
                        }),
                    ) => Failed::Short(size.unwrap_or(range.start).min(range.start)),
                    _ => Failed::Request(e),
                });
            }
        };
        let encoding = got.attributes.get(&Attribute::ContentEncoding);
        let encoding = encoding.map_or(String::new(), |names| names.to_ascii_lowercase());
        if let Some(range) = &range {
            if got.range != *range {
                return Err(Failed::Short(got.meta.size));
            }
            if let Some(name) = codings(&encoding).next() {
                return Err(Failed::Encoded(format!(
                    "the object is sent with Content-Encoding {name}, which cannot be decoded from a range"
                )));
            }
        }
        let no_length = self.wire.has_no_length();
        let announced = match no_length {
            true => 0,
            false => got.range.end - got.range.start,
        };
        if announced > self.limit_bytes {
            return Err(Failed::TooLarge(announced));
        }
        // The size is what the server claims; it is within the limit.
        into.reserve(announced as usize);
        let mut body = got.into_stream();
        while let Some(piece) = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            let piece = piece.map_err(|e| Failed::Broken(whole(&e)))?;
            let found = (into.len() + piece.len()) as u64;
            match no_length {
                true if found > self.limit_bytes => return Err(Failed::TooLarge(found)),
                false if found > announced => {
                    return Err(Failed::Broken(format!(
                        "more than the announced {announced} bytes were received"
                    )));
                }
                _ => into.extend_from_slice(&piece),
            }
        }
        let found = into.len() as u64;
        match &range {
            Some(range) if no_length && found < range.end - range.start => {
                return Err(Failed::Short(range.start + found));
            }
            _ if !no_length && found != announced => {
                return Err(Failed::Broken(format!(
                    "{found} of {announced} bytes were received"
                )));
            }
            _ => {}
        }
        let known = |name| {
            let unknown =
                || Failed::Encoded(format!("its Content-Encoding {name} is not supported"));
            Compression::from_content_encoding(name).ok_or_else(unknown)
        };
        let compressions = codings(&encoding).map(known).collect::<Result<_, _>>()?;
        decode(compressions, self.limit_bytes, into).map(Some)
    }
}

/// What is done to the bytes of an answer: see [`RemoteStore::fetch`].
type Decode = fn(Vec<Compression>, u64, &mut Vec<u8>) -> Result<Vec<Compression>, Failed>;

/// Undoes every compression. The last one was done last, and is undone first.
fn undo(
    compressions: Vec<Compression>,
    limit_bytes: u64,
    into: &mut Vec<u8>,
) -> Result<Vec<Compression>, Failed> {
    for compression in compressions.into_iter().rev() {
        let mut inflated = Vec::new();
        compression
            .undo(into, limit_bytes as usize, &mut inflated)
            .map_err(|e| {
                let problem = format!("its Content-Encoding {}: {e}", compression.name());
                match e {
                    InflateError::TooLong(_) => Failed::Inflates(problem),
                    InflateError::Damaged(_) => Failed::Damaged(problem),
                }
            })?;
        *into = inflated;
    }
    Ok(Vec::new())
}

/// Leaves every compression to the caller.
pub(super) fn keep(
    compressions: Vec<Compression>,
    _limit_bytes: u64,
    _into: &mut Vec<u8>,
) -> Result<Vec<Compression>, Failed> {
    Ok(compressions)
}

/// What a Content-Encoding says was done to the object. `aws-chunked` is a way to upload, which some tools leave
/// standing there.
fn codings(encoding: &str) -> impl Iterator<Item = &str> {
    encoding
        .split(',')
        .map(str::trim)
        .filter(|name| !matches!(*name, "" | "identity" | "aws-chunked"))
}

/// A random number from 0 to 1, so that many readers do not come back at once.
fn chance() -> f64 {
    // A hasher's random keys are all the chance that is needed.
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
