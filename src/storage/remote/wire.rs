//! What goes over the wire for one read, watched and put right.
//!
//! `object_store` hides its tries and the server's answers behind its errors, takes 405 for "not there", wants a
//! length in every answer, and refuses servers that ignore ranges. A [`Watched`] client stands between it and the
//! connection: it notes every try in the read's [`Wire`], follows redirects, cuts a range out of a whole answer, and
//! never lets another range pass for the one asked for. Whether a read is tried again is decided above both.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::header::{
    ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, StatusCode};

use super::body::WatchedBody;
use super::connection;
use super::failure::{Failure, failure};
use super::fit::{Answer, asked_range, content_range};
use super::redirect;
use crate::storage::Network;
use crate::storage::redact::Secrets;
use crate::storage::retry::{Rate, retry_after};

/// Most bytes of an error's explanation that are read.
const MAX_SAID_BYTES: usize = 16 << 10;

/// Times that `object_store` may go on with a body that broke off before the whole read is tried again.
const MAX_RESUMED: u32 = 4;

/// What was noted of one read; its requests carry it.
pub(super) struct Wire {
    /// Whether the whole object is asked for, so that it may come compressed.
    whole: bool,
    /// What stands behind the `?` of the URL.
    query: Option<String>,
    start: Instant,
    log: Mutex<Log>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The host asked.
    pub host: String,
    /// The host with its port.
    pub server: String,
    /// Requests made.
    pub tries: u32,
    /// Requests of this try: beyond the first, `object_store` goes on with a body that broke off.
    requests: u32,
    /// What came of the last.
    pub last: Option<Outcome>,
    /// Whether the server has answered any request since the program began.
    pub answers: bool,
    /// What the server wants to be waited for, where it says so.
    pub asked_pause: Option<Duration>,
    /// Whether its body's length was not told.
    pub no_length: bool,
    /// What must not be shown of what the server says.
    secrets: Secrets,
}

/// What came of a try, where it was not a good answer.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// An answer that is an error.
    Status {
        status: StatusCode,
        /// The server's explanation, without secrets.
        said: String,
        /// The object's size, where the server says it while it refuses a range.
        size: Option<u64>,
    },
    /// No connection, or one that broke.
    Failed(Failure),
    /// A redirect that is not followed: what continues "the server redirects ...".
    Redirect(String),
    /// A page for people.
    Html,
    /// An answer that cannot be used.
    Unusable(String),
    /// An answer to another question: worth another try.
    Wrong(String),
}

impl Wire {
    pub(super) fn new(whole: bool, query: Option<&str>) -> Arc<Self> {
        let mut log = Log::default();
        if let Some(query) = query {
            log.secrets.add_query(query);
        }
        Arc::new(Self {
            whole,
            query: query.map(str::to_owned),
            start: Instant::now(),
            log: Mutex::new(log),
        })
    }

    pub(super) fn log(&self) -> Log {
        self.note(|log| log.clone())
    }

    /// How long ago the read began.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether the length of the body that comes is not known.
    pub(super) fn has_no_length(&self) -> bool {
        self.note(|log| log.no_length)
    }

    /// Whether the URL has a query.
    pub(super) fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// `text`, which comes from the server, without secrets.
    pub(super) fn shown(&self, text: &str) -> String {
        self.note(|log| log.secrets.hide(text))
    }

    pub(super) fn note<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a try.
    pub(super) fn begin_try(&self) {
        self.note(|log| {
            log.requests = 0;
            log.last = None;
            log.asked_pause = None;
        });
    }

    /// Begins a request; `false` where it makes no sense, because it would go on with what should not be gone on with.
    fn begin(&self, request: &HttpRequest, answers: bool) -> bool {
        self.note(|log| {
            let hopeless = matches!(
                log.last,
                Some(Outcome::Html | Outcome::Failed(Failure::Slow(_) | Failure::Silent))
            );
            if log.requests > 0 && (hopeless || log.requests > MAX_RESUMED) {
                return false;
            }
            let uri = request.uri();
            log.host = uri.host().unwrap_or_default().to_owned();
            log.server = uri.authority().map(|a| a.to_string()).unwrap_or_default();
            log.tries += 1;
            log.requests += 1;
            log.last = None;
            log.answers = answers;
            log.no_length = false;
            for secret in redirect::secret_headers(request.headers()) {
                log.secrets.add(secret);
                let token = secret.split_once(' ').map_or("", |(_, token)| token);
                log.secrets.add(token);
            }
            true
        })
    }

    /// Notes a failure. Out comes an error that `object_store` does not retry.
    pub(super) fn failed(&self, error: HttpError) -> HttpError {
        let failure = failure(&error);
        self.note(|log| log.last = Some(Outcome::Failed(failure)));
        HttpError::new(HttpErrorKind::Unknown, error)
    }

    /// Notes an answer that is no use. Out comes an error that `object_store` does not retry.
    pub(super) fn unfit(&self, outcome: Outcome) -> HttpError {
        self.note(|log| log.last = Some(outcome));
        unfit()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({:?})", self.log())
    }
}

/// Stands in for what the [`Wire`] has noted.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be used")]
struct Unfit;

fn unfit() -> HttpError {
    HttpError::new(HttpErrorKind::Decode, Unfit)
}

/// Makes [`Watched`] clients.
#[derive(Debug)]
pub(super) struct WatchedConnector {
    pub network: Network,
    /// Sent with every request for an object.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl HttpConnector for WatchedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched {
            inner: HttpClient::new(connection::client(options, &self.network)?),
            network: self.network,
            header: self.header.clone(),
            answers: AtomicBool::new(false),
        }))
    }
}

/// A client whose requests are watched where they carry a [`Wire`]; those for credentials do not.
#[derive(Debug)]
struct Watched {
    inner: HttpClient,
    network: Network,
    header: Option<(HeaderName, HeaderValue)>,
    /// Whether the server has ever answered: then it is worth waiting for.
    answers: AtomicBool,
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(wire) = request.extensions().get::<Arc<Wire>>().cloned() else {
            return self.inner.execute(request).await;
        };
        let asked = request.headers().get(RANGE).map(asked_range);
        if wire.whole && asked.is_some() {
            // `object_store` would have the rest of a body that broke off. It may have been compressed on the
            // way, and the rest might be of something else: the whole is asked for again instead.
            return Err(unfit());
        }
        let is_head = request.method() == Method::HEAD;
        let headers = request.headers_mut();
        let encoding = match wire.whole && !is_head {
            true => "gzip",
            false => "identity",
        };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.extend(self.header.clone());
        if let Some(query) = &wire.query {
            let url = format!("{}?{}", request.uri(), encoded(query)).parse();
            *request.uri_mut() = url.map_err(|_| unfit())?;
        }
        if !wire.begin(&request, self.answers.load(Ordering::Relaxed)) {
            return Err(unfit());
        }
        let response = redirect::execute(&self.inner, request, &wire).await?;
        self.answers.store(true, Ordering::Relaxed);
        wire.note(|log| log.answers = true);
        let (mut parts, body) = response.into_parts();
        let mut body = WatchedBody {
            inner: body,
            wire: Arc::clone(&wire),
            skip: 0,
            left: None,
            rate: Rate::new(
                self.network.min_bytes_per_s,
                self.network.idle_timeout,
                wire.elapsed(),
            ),
            at_start: parts.status == StatusCode::OK,
        };
        if !parts.status.is_success() {
            body.left = Some(MAX_SAID_BYTES as u64);
            let said = HttpResponseBody::new(body).bytes().await;
            let said = said_in(&parts.headers, &said.unwrap_or_default());
            let outcome = Outcome::Status {
                status: parts.status,
                said: wire.shown(&said),
                size: content_range(&parts.headers).and_then(|(_, size)| size),
            };
            let pause = parts.headers.get(RETRY_AFTER);
            wire.note(|log| {
                log.last = Some(outcome);
                log.asked_pause =
                    pause.and_then(|wish| retry_after(wish.to_str().ok()?, SystemTime::now()));
            });
            // `object_store` would try all of these again itself.
            if is_transient(parts.status) || parts.status.is_server_error() {
                return Err(unfit());
            }
            parts.headers.remove(LOCATION);
            return Ok(HttpResponse::from_parts(parts, Vec::new().into()));
        }
        let answer = Answer {
            status: &mut parts.status,
            headers: &mut parts.headers,
            version: parts.version,
            body: &mut body,
        };
        match asked {
            _ if is_head => {}
            None => answer.be_whole(&wire)?,
            Some(asked) => answer.be_range(&wire, asked)?,
        }
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// Whether an answer may become another one by waiting.
pub(super) fn is_transient(status: StatusCode) -> bool {
    let never = [
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    ];
    (status.is_server_error() && !never.contains(&status))
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The query as it can stand in a request.
fn encoded(query: &str) -> String {
    let fits = |b: u8| b.is_ascii_graphic() && !b"\"<>#`{}|\\^".contains(&b);
    query.bytes().fold(String::new(), |mut out, b| {
        match fits(b) {
            true => out.push(char::from(b)),
            false => out.push_str(&format!("%{b:02X}")),
        }
        out
    })
}

/// What the server says for an explanation.
fn said_in(headers: &HeaderMap, body: &[u8]) -> String {
    let region = headers.get("x-amz-bucket-region");
    match region.and_then(|region| region.to_str().ok()) {
        Some(region) if body.is_empty() => format!("the bucket is in the region {region}"),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}
