//! The log of one operation: its requests, the result of the last one, and the secrets that messages must not show.
//!
//! `object_store` hides its requests and the server's responses behind its own errors. Each request carries the log
//! of its operation as an extension, and [`super::http_adapter`] records what happened.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::client::{HttpError, HttpErrorKind, HttpRequest};
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap};
use reqwest::{Method, StatusCode};

use super::connection_failure::ConnectionFailure;
use crate::storage::redact::Secrets;

tokio::task_local! {
    /// The log of the operation that this task works on.
    static TASK_LOG: Arc<RequestLog>;
}

/// How often `object_store` may continue an interrupted body before the whole operation is retried.
const MAX_CONTINUATIONS: u32 = 4;

/// The log of one operation, shared by all its requests.
pub(super) struct RequestLog {
    /// Whether the whole object is requested. The server may compress it then.
    pub(super) whole_object: bool,
    /// The query of the URL, without the `?`.
    pub(super) query: Option<String>,
    start: Instant,
    entries: Mutex<LogEntries>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LogEntries {
    /// The host of the last request.
    pub host: String,
    /// The host with its port.
    pub server: String,
    /// Requests so far.
    pub tries: u32,
    /// Requests of this attempt. All but the first continue an interrupted body.
    pub requests: u32,
    /// The result of the last request, unless it was a usable response.
    pub last: Option<RequestOutcome>,
    /// Whether the server has responded to any request since the program started.
    pub has_responded: bool,
    /// The pause that the server requested with Retry-After.
    pub requested_pause: Option<Duration>,
    /// Whether the length of the body is unknown.
    pub no_length: bool,
    secrets: Secrets,
}

/// The result of a request without a usable response.
#[derive(Clone, Debug)]
pub(super) enum RequestOutcome {
    /// A response with an error status.
    Status {
        status: StatusCode,
        /// The server's explanation, without secrets.
        explanation: String,
        /// The object's size, if a server that rejects a range includes it.
        size: Option<u64>,
    },
    /// No connection, or an interrupted one.
    Failed(ConnectionFailure),
    /// A redirect that is not followed. The text continues "the server redirects ...".
    Redirect(String),
    /// An HTML page instead of data.
    Html,
    /// A response that cannot be used. A retry would give the same.
    Unusable(String),
    /// A response that does not match the request. A retry may succeed.
    Mismatch(String),
}

/// Whether the request copies an object inside its bucket.
pub(super) fn is_copy(request: &HttpRequest) -> bool {
    let names = ["x-amz-copy-source", "x-goog-copy-source"];
    names
        .iter()
        .any(|name| request.headers().contains_key(*name))
}

impl RequestLog {
    pub(super) fn new(whole_object: bool, query: Option<&str>) -> Arc<Self> {
        let mut entries = LogEntries::default();
        if let Some(query) = query {
            entries.secrets.add_query(query);
        }
        Arc::new(Self {
            whole_object,
            query: query.map(str::to_owned),
            start: Instant::now(),
            entries: Mutex::new(entries),
        })
    }

    /// `work`, with `log` as the log of its requests.
    pub(super) fn in_task<F: Future>(log: &Arc<Self>, work: F) -> impl Future<Output = F::Output> {
        TASK_LOG.scope(Arc::clone(log), work)
    }

    /// The log of the operation to which `request` belongs; `None` if it is a request for credentials.
    pub(super) fn of(request: &HttpRequest) -> Option<Arc<Self>> {
        let passed = request.extensions().get::<Arc<Self>>().cloned();
        // `object_store` passes no extensions with these. Requests for credentials look different.
        let query = request.uri().query().unwrap_or_default();
        let has_upload = query.split('&').any(|part| part.starts_with("uploadId="));
        let is_change = request.method() == Method::DELETE || has_upload || is_copy(request);
        passed.or_else(|| {
            is_change
                .then(|| TASK_LOG.try_with(Arc::clone).ok())
                .flatten()
        })
    }

    pub(super) fn entries(&self) -> LogEntries {
        self.update(|entries| entries.clone())
    }

    /// The time since the operation started.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn has_no_length(&self) -> bool {
        self.update(|entries| entries.no_length)
    }

    /// `text` from the server, without secrets.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.update(|entries| entries.secrets.hide(text))
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut LogEntries) -> T) -> T {
        change(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn begin_attempt(&self) {
        self.update(|entries| {
            entries.requests = 0;
            entries.last = None;
            entries.requested_pause = None;
        });
    }

    /// Records the start of a request. Returns `false` if the request would continue a body that must not be
    /// continued, or has been continued too often.
    pub(super) fn begin_request(&self, request: &HttpRequest, has_responded: bool) -> bool {
        self.update(|entries| {
            let hopeless = matches!(
                entries.last,
                Some(
                    RequestOutcome::Html
                        | RequestOutcome::Failed(
                            ConnectionFailure::TooSlow(_) | ConnectionFailure::Idle
                        )
                )
            );
            if entries.requests > 0 && (hopeless || entries.requests > MAX_CONTINUATIONS) {
                return false;
            }
            let uri = request.uri();
            entries.host = uri.host().unwrap_or_default().to_owned();
            entries.server = uri.authority().map(|a| a.to_string()).unwrap_or_default();
            entries.tries += 1;
            entries.requests += 1;
            entries.last = None;
            entries.has_responded = has_responded;
            entries.no_length = false;
            for secret in secret_headers(request.headers()) {
                entries.secrets.add(secret);
                let token = secret.split_once(' ').map_or("", |(_, token)| token);
                entries.secrets.add(token);
            }
            true
        })
    }

    /// Records a connection failure. Returns an error that `object_store` does not retry.
    pub(super) fn record_failure(&self, error: HttpError) -> HttpError {
        let failure = ConnectionFailure::from_error(&error);
        self.update(|entries| entries.last = Some(RequestOutcome::Failed(failure)));
        HttpError::new(HttpErrorKind::Unknown, error)
    }

    /// Records `outcome`. Returns an error that `object_store` does not retry.
    pub(super) fn reject(&self, outcome: RequestOutcome) -> HttpError {
        self.update(|entries| entries.last = Some(outcome));
        unusable_response()
    }
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestLog({:?})", self.entries())
    }
}

/// A placeholder for the outcome in the [`RequestLog`].
#[derive(Debug, thiserror::Error)]
#[error("the response cannot be used")]
struct UnusableResponse;

/// An error that `object_store` does not retry.
pub(super) fn unusable_response() -> HttpError {
    HttpError::new(HttpErrorKind::Decode, UnusableResponse)
}

/// The values of headers with credentials.
pub(super) fn secret_headers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let secret = headers.iter().filter(|(name, _)| {
        **name == AUTHORIZATION || **name == COOKIE || name.as_str() == "x-amz-security-token"
    });
    secret.filter_map(|(_, value)| value.to_str().ok())
}

/// Whether a later request may succeed after a response with this status.
pub(super) fn is_transient(status: StatusCode) -> bool {
    let permanent = [
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    ];
    (status.is_server_error() && !permanent.contains(&status))
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}
