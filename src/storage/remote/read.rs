//! Reads of one object or a range of it, retried as the program's policy defines.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

use object_store::path::Path;

use super::attempt::{Decode, decompress};
use super::client::Client;
use super::connection_failure::ConnectionFailure;
use super::read_request::{ReadFailure, ReadRequest};
use super::request_error;
use super::request_log::{RequestLog, RequestOutcome, is_transient};
use super::{RemoteStore, StorageError};
use crate::storage::retry::{Retries, Transient};
use crate::storage::{Compression, Store};

impl RemoteStore {
    /// Reads the object's bytes, or those in `range`. Returns `false` if the object does not exist.
    pub(super) fn read_decoded(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        let encoding = self.read_with(key, range, limit_bytes, into, decompress)?;
        Ok(encoding.is_some())
    }

    /// As [`RemoteStore::read_decoded`], with `decode` for the object's Content-Encoding. Returns the compressions
    /// that `decode` left.
    pub(super) fn read_with(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        limit_bytes: u64,
        into: &mut Vec<u8>,
        decode: Decode,
    ) -> Result<Option<Vec<Compression>>, StorageError> {
        into.clear();
        let url = self.describe(key);
        let (client, path, query) = self.resolve(key, &url)?;
        let request = ReadRequest {
            method: "GET",
            url,
            store: self,
            client,
            limit_bytes,
            log: RequestLog::new(range.is_none(), query.as_deref()),
            range,
        };
        let result = request.retry(async || request.attempt(&path, into, decode).await);
        if result.is_err() {
            into.clear();
        }
        result
    }

    /// The object's size; `None` if the object does not exist.
    pub(super) fn object_size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let url = self.describe(key);
        let (client, path, query) = self.resolve(key, &url)?;
        let mut request = ReadRequest {
            method: "HEAD",
            url,
            store: self,
            client,
            range: None,
            limit_bytes: 0,
            log: RequestLog::new(true, query.as_deref()),
        };
        if let Some(size) = request.retry(async || request.size_by_head(&path).await)? {
            return Ok(size);
        }
        request.method = "GET";
        request.range = Some(0..1);
        request.log = RequestLog::new(false, query.as_deref());
        request.retry(async || request.size_by_range(&path).await)
    }

    /// The client, the path and the query for the object `key`.
    fn resolve(
        &self,
        key: &str,
        url: &str,
    ) -> Result<(&Client, Path, Option<String>), StorageError> {
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
        let path = path.map_err(|e| request_error::not_sent(url, &e, "check the URL"))?;
        Ok((client, path, location.query().map(str::to_owned)))
    }
}

impl ReadRequest<'_> {
    /// The result of `attempt`, retried as the program's policy defines.
    fn retry<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, ReadFailure>,
    ) -> Result<T, StorageError> {
        let runtime =
            self.store.connections.runtime.get().map_err(|e| {
                request_error::not_sent(&self.url, &e, "raise the limit on threads")
            })?;
        let group = &self.store.stop_group;
        let mut retries = Retries::new(self.client.network.retry);
        loop {
            self.log.begin_attempt();
            let failure = match runtime.block_on(group.unless_stopped(attempt())) {
                Some(Ok(result)) => return Ok(result),
                Some(Err(failure)) => failure,
                None => ReadFailure::Stopped,
            };
            let pause = self.transient(&failure).and_then(|transient| {
                let now = self.log.elapsed();
                let requested = self.log.entries().requested_pause;
                let pause = retries.after(transient, now, requested, random_fraction())?;
                self.report_pause(retries.failing(now) + pause, retries.remaining(now));
                Some(pause)
            });
            match pause {
                None => return Err(self.error(failure)),
                Some(pause) if !group.pause(pause) => return Err(self.error(ReadFailure::Stopped)),
                Some(_) => {}
            }
        }
    }

    /// The retry class of a failure; `None` if a retry cannot help.
    fn transient(&self, failure: &ReadFailure) -> Option<Transient> {
        let log = self.log.entries();
        match (failure, log.last) {
            (ReadFailure::CorruptEncoding(_), _) => Some(Transient::Wrong),
            (ReadFailure::BrokenResponse(_) | ReadFailure::Request(_), last) => match last {
                Some(RequestOutcome::Status { status, .. }) => {
                    is_transient(status).then_some(Transient::Outage)
                }
                Some(RequestOutcome::Failed(ConnectionFailure::TooSlow(_))) => {
                    Some(Transient::Slow)
                }
                Some(RequestOutcome::Failed(_)) if !log.has_responded => {
                    Some(Transient::NeverAnswered)
                }
                Some(RequestOutcome::Failed(_)) => Some(Transient::Outage),
                Some(RequestOutcome::Mismatch(_)) => Some(Transient::Wrong),
                Some(
                    RequestOutcome::Html
                    | RequestOutcome::Redirect(_)
                    | RequestOutcome::Unusable(_),
                ) => None,
                // The request succeeded, but the body does not have the announced length.
                None => {
                    matches!(failure, ReadFailure::BrokenResponse(_)).then_some(Transient::Wrong)
                }
            },
            _ => None,
        }
    }

    /// Reports to the user why the read is waiting.
    fn report_pause(&self, failing: Duration, remaining: Duration) {
        let log = self.log.entries();
        let problem = match &log.last {
            Some(RequestOutcome::Status { status, .. }) => format!("answers {}", status.as_u16()),
            Some(RequestOutcome::Failed(failure)) => failure.short_text().to_owned(),
            _ => "sends unexpected data".to_owned(),
        };
        let waits = &self.store.connections.waits;
        waits.report(&log.server, &problem, failing, remaining);
    }
}

/// A random number from 0 to 1, which spreads the retries of many readers.
fn random_fraction() -> f64 {
    // The random keys of a hasher are enough for this.
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
