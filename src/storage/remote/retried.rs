//! Retries an operation as the program's policy defines.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use reqwest::StatusCode;

use super::StorageError;
use super::action::Action;
use super::connection_failure::ConnectionFailure;
use super::object_request::{ObjectRequest, RequestFailure};
use super::request_error::not_sent;
use super::request_log::{RequestLog, RequestOutcome, is_transient};
use crate::storage::retry::{Retries, Transient};

impl ObjectRequest<'_> {
    /// The result of `attempt`, retried as the program's policy defines.
    pub(super) fn retry<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, RequestFailure>,
    ) -> Result<T, StorageError> {
        let runtime = self
            .store
            .connections
            .runtime
            .get()
            .map_err(|e| not_sent(self.action, &self.url, &e, "raise the limit on threads"))?;
        let group = &self.store.stop_group;
        let mut retries = Retries::new(self.retry_policy);
        loop {
            self.log.begin_attempt();
            let attempt = RequestLog::in_task(&self.log, group.unless_stopped(attempt()));
            let failure = match runtime.block_on(attempt) {
                Some(Ok(result)) => return Ok(result),
                Some(Err(failure)) => failure,
                None => RequestFailure::Stopped,
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
                Some(pause) if !group.pause(pause) => {
                    return Err(self.error(RequestFailure::Stopped));
                }
                Some(_) => {}
            }
        }
    }

    /// The retry class of a failure; `None` if a retry cannot help.
    fn transient(&self, failure: &RequestFailure) -> Option<Transient> {
        let log = self.log.entries();
        match (failure, log.last) {
            (RequestFailure::CorruptEncoding(_), _) => Some(Transient::Wrong),
            (RequestFailure::BrokenResponse(_) | RequestFailure::Request(_), last) => match last {
                Some(RequestOutcome::Status { status, .. }) => {
                    // A server rejects a conditional write beside another one, and asks to repeat it.
                    let conflict = status == StatusCode::CONFLICT && self.action == Action::Write;
                    (conflict || is_transient(status)).then_some(Transient::Outage)
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
                    matches!(failure, RequestFailure::BrokenResponse(_)).then_some(Transient::Wrong)
                }
            },
            _ => None,
        }
    }

    /// Reports to the user why the program is waiting.
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

/// A random number from 0 to 1, which spreads the retries of many threads.
fn random_fraction() -> f64 {
    // The random keys of a hasher are enough for this.
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
