//! Errors of requests: one line with method, URL, tries, elapsed time, the server's explanation, and what to do.

use object_store::Error;
use reqwest::StatusCode;

use super::action::Action;
use super::connection_failure::ConnectionFailure;
use super::error_text::{one_line, with_causes};
use super::object_request::{ObjectRequest, RequestFailure};
use super::request_log::{LogEntries, RequestOutcome, is_transient};
use crate::fault::FaultKind;
use crate::storage::StorageError;

/// What to do if a server lacks what outputs need.
const CONDITIONAL_WRITES: &str = "use a server with conditional writes (`If-None-Match: *`) and multipart uploads, without \
                                  AWS_CONDITIONAL_PUT=disabled";

/// What happened and what to do about it.
struct Explanation {
    status: Option<StatusCode>,
    problem: String,
    advice: String,
}

impl Explanation {
    fn new(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: None,
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

/// The error for a request that could not be sent.
pub(super) fn not_sent(action: Action, url: &str, problem: &str, advice: &str) -> StorageError {
    StorageError::Remote {
        action: action.verb(),
        url: url.to_owned(),
        status: None,
        problem: problem.to_owned(),
        advice: advice.to_owned(),
        kind: FaultKind::Data,
    }
}

impl ObjectRequest<'_> {
    /// The error for an operation that failed with `failure` in its last attempt.
    pub(super) fn error(&self, failure: RequestFailure) -> StorageError {
        let log = self.log.entries();
        let kind = fault_kind(self.action, &failure, log.last.as_ref());
        let object = self.url.clone();
        let explanation = match failure {
            RequestFailure::Request(_) | RequestFailure::BrokenResponse(_)
                if matches!(log.last, Some(RequestOutcome::Html)) =>
            {
                return StorageError::Html { object };
            }
            RequestFailure::TooLarge(found_bytes) => {
                return StorageError::TooLarge {
                    object,
                    found_bytes,
                    limit_bytes: self.limit_bytes,
                };
            }
            RequestFailure::InflatesTooLarge(problem) => {
                return StorageError::Inflates {
                    object,
                    problem,
                    limit_bytes: self.limit_bytes,
                };
            }
            RequestFailure::TooShort(found_bytes) => {
                let range = self.range.clone().unwrap_or_default();
                return StorageError::TooShort {
                    object,
                    found_bytes,
                    start: range.start,
                    end: range.end,
                };
            }
            RequestFailure::Stopped => return StorageError::Stopped { object },
            RequestFailure::UnsupportedEncoding(problem) => {
                Explanation::new(problem, self.encoding_advice())
            }
            RequestFailure::CorruptEncoding(problem) => Explanation::new(
                problem,
                "check the stored object, and how the server sends it",
            ),
            RequestFailure::NoLength => Explanation::new(
                "the response has no length",
                "use a server that sends Content-Length",
            ),
            RequestFailure::BrokenResponse(problem) => self.explain_broken_response(&problem, &log),
            RequestFailure::Request(e) => self.explain_request_error(&e, &log),
        };
        self.remote_error(explanation, log.tries, kind)
    }

    fn remote_error(&self, explanation: Explanation, tries: u32, kind: FaultKind) -> StorageError {
        let tries = match tries {
            1 => "1 try".to_owned(),
            n => format!("{n} tries"),
        };
        let elapsed = self.log.elapsed().as_secs_f64();
        let problem = explanation.problem;
        StorageError::Remote {
            action: self.action.verb(),
            url: self.url.clone(),
            status: explanation.status.map(|status| status.as_u16()),
            problem: format!("{} ({tries}, {elapsed:.1} s): {problem}", self.method),
            advice: explanation.advice,
            kind,
        }
    }

    fn encoding_advice(&self) -> &'static str {
        if self.range.is_some() {
            "store it without, or use a server that decodes it: shards are compressed inside"
        } else {
            "store it without, or with gzip, br, zstd or deflate"
        }
    }

    fn explain_broken_response(&self, problem: &str, log: &LogEntries) -> Explanation {
        match &log.last {
            Some(RequestOutcome::Failed(
                failure @ (ConnectionFailure::Idle | ConnectionFailure::TooSlow(_)),
            )) => self.explain_connection_failure(failure, &log.host),
            _ => {
                let problem = one_line(&self.log.without_secrets(problem));
                Explanation::new(
                    format!("the response broke off: {problem}"),
                    "rerun to resume: finished shards are kept",
                )
            }
        }
    }

    fn explain_request_error(&self, error: &Error, log: &LogEntries) -> Explanation {
        match &log.last {
            Some(RequestOutcome::Status {
                status,
                explanation,
                ..
            }) => self.explain_status(*status, explanation),
            Some(RequestOutcome::Failed(failure)) => {
                self.explain_connection_failure(failure, &log.host)
            }
            Some(RequestOutcome::Redirect(target)) => Explanation::new(
                format!(
                    "the server redirects {}, which is not followed",
                    one_line(target)
                ),
                "check the URL; use the final URL",
            ),
            Some(RequestOutcome::Unusable(problem)) => Explanation::new(
                problem,
                "copy the data to a local folder, or use another server (nginx, rclone)",
            ),
            Some(RequestOutcome::Mismatch(problem)) => Explanation::new(
                problem,
                "check the server, and any proxy or cache in between",
            ),
            None if matches!(error, Error::NotImplemented { .. }) => {
                Explanation::new(one_line(&with_causes(error)), CONDITIONAL_WRITES)
            }
            // `object_store` cannot interpret a response.
            None if log.requests > 0 => Explanation::new(
                one_line(&self.log.without_secrets(&with_causes(error))),
                "check the URL and the server",
            ),
            // Failed before a request for the object, usually while getting credentials.
            Some(RequestOutcome::Html) | None => Explanation::new(
                one_line(&self.log.without_secrets(&with_causes(error))),
                self.client.credentials_advice(),
            ),
        }
    }

    fn explain_status(&self, status: StatusCode, explanation: &str) -> Explanation {
        let mut problem = format!("the server answered {status}");
        let explanation = one_line(explanation);
        if !explanation.is_empty() {
            problem = format!("{problem}: {explanation}");
        }
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.client.access_advice(self.action, status)
            }
            StatusCode::NOT_FOUND if self.action == Action::Write => {
                "check the name of the bucket, and create it if it does not exist".to_owned()
            }
            StatusCode::NOT_FOUND => "check the URL".to_owned(),
            StatusCode::NOT_IMPLEMENTED if self.action == Action::Write => {
                CONDITIONAL_WRITES.to_owned()
            }
            StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT
                if self.url.starts_with("s3://") =>
            {
                "the bucket is in another region: set AWS_REGION".to_owned()
            }
            s if s == StatusCode::TOO_MANY_REQUESTS || s.is_server_error() => {
                "the server is overloaded or failing: rerun later to resume, with fewer --requests if it was overloaded; a longer \
                 --retry-for waits longer"
                    .to_owned()
            }
            _ => "check the URL and the server".to_owned(),
        };
        Explanation {
            status: Some(status),
            problem,
            advice,
        }
    }

    fn explain_connection_failure(&self, failure: &ConnectionFailure, host: &str) -> Explanation {
        let idle = self.client.network.idle_timeout.as_secs_f64();
        let (problem, advice) = match failure {
            ConnectionFailure::Idle => (
                format!("{host} sent no data for {idle} s"),
                "rerun to resume; a longer --idle-timeout or --retry-for waits longer, fewer --requests reduce the load",
            ),
            ConnectionFailure::ConnectTimeout => (
                format!("connecting to {host} timed out"),
                "check host, port, firewall and proxy",
            ),
            ConnectionFailure::UnknownHost => (
                format!("the host name {host} cannot be resolved"),
                "check the URL and the DNS settings of this machine",
            ),
            ConnectionFailure::Refused => (
                format!("{host} refused the connection: no server listens on this port"),
                "check host and port, and that the server is running",
            ),
            ConnectionFailure::Tls(reason) => (
                format!("no TLS connection to {host}: {}", one_line(reason)),
                "check that the host is right and supports https; set SSL_CERT_FILE to trust your own certificate authority",
            ),
            ConnectionFailure::TooSlow(bytes_per_s) => (
                format!(
                    "{host} sent {bytes_per_s:.0} bytes/s over {idle} s, fewer than the {} bytes/s of --min-rate",
                    self.client.network.min_bytes_per_s
                ),
                "rerun to resume; a smaller --min-rate accepts slower servers, fewer --requests reduce the load",
            ),
            ConnectionFailure::Other(reason) => (
                one_line(&self.log.without_secrets(reason)),
                "check the network, then rerun to resume",
            ),
        };
        Explanation::new(problem, advice)
    }
}

/// What is at fault. `last` is the outcome of the last request.
fn fault_kind(
    action: Action,
    failure: &RequestFailure,
    last: Option<&RequestOutcome>,
) -> FaultKind {
    match (failure, last) {
        (RequestFailure::BrokenResponse(_) | RequestFailure::Stopped, _)
        | (RequestFailure::Request(_), Some(RequestOutcome::Failed(_))) => FaultKind::Environment,
        (RequestFailure::Request(_), Some(RequestOutcome::Status { status, .. }))
            if is_transient(*status) =>
        {
            FaultKind::Environment
        }
        // The bucket does not exist, or the server cannot do what outputs need.
        (_, Some(RequestOutcome::Status { status, .. }))
            if action == Action::Write
                && matches!(*status, StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED) =>
        {
            FaultKind::Usage
        }
        (RequestFailure::Request(Error::NotImplemented { .. }), _) => FaultKind::Usage,
        _ if action.is_change() => FaultKind::Environment,
        _ => FaultKind::Data,
    }
}
