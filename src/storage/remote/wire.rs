//! What goes over the wire for one read, watched and put right.
//!
//! `object_store` hides its tries and the server's answers behind its errors, takes 405 for "not there", wants a
//! length in every answer, and refuses servers that ignore ranges. A [`Watched`] client stands between it and the
//! connection: it notes every try in the read's [`Wire`], cuts a range out of a whole answer, never lets another
//! range pass for the one asked for, and gives a silent server up after a few tries.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE,
    TRANSFER_ENCODING,
};
use reqwest::{Method, StatusCode, Version};

/// Tries of a read whose server stays silent, or has never answered at all.
pub(super) const UNANSWERED_TRIES: u32 = 4;

/// Most bytes of a whole answer that are read and thrown away to reach a range.
const MAX_SKIPPED_BYTES: u64 = 256 << 20;

/// Most bytes of an error's explanation that are read.
const MAX_SAID_BYTES: usize = 16 << 10;

/// The length told where a server tells none; the read knows by [`Wire::has_no_length`].
const NO_LENGTH: u64 = i64::MAX as u64;

/// What was noted of one read; its requests carry it.
#[derive(Debug)]
pub(super) struct Wire {
    /// Whether the whole object is asked for, so that it may come compressed.
    whole: bool,
    /// What stands behind the `?` of the URL.
    query: Option<String>,
    log: Mutex<Log>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The host asked.
    pub host: String,
    /// Requests made.
    pub tries: u32,
    /// How many of them met silence.
    pub silences: u32,
    /// What came of the last.
    pub last: Option<Outcome>,
    /// Whether its body's length was not told.
    no_length: bool,
}

/// What came of a try, where it was not a good answer.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// An answer that is an error.
    Status {
        status: StatusCode,
        /// The server's explanation, unedited.
        said: String,
        /// The object's size, where the server says it while it refuses a range.
        size: Option<u64>,
    },
    /// No connection, or one that broke.
    Failed(Failure),
    /// An answer that cannot be used.
    Unusable(String),
    /// An answer to another question: worth another try.
    Wrong(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came for as long as the server may be silent.
    Silent,
    /// No connection came about in time.
    Unreachable,
    /// The host's name is not known.
    UnknownHost,
    /// Nothing listens there.
    Refused,
    /// TLS could not be agreed on; why.
    Tls(String),
    /// Something else, in words.
    Other(String),
}

impl Wire {
    pub(super) fn new(whole: bool, query: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            whole,
            query: query.map(str::to_owned),
            log: Mutex::default(),
        })
    }

    pub(super) fn log(&self) -> Log {
        self.note(|log| log.clone())
    }

    /// Whether the length of the body that comes is not known.
    pub(super) fn has_no_length(&self) -> bool {
        self.note(|log| log.no_length)
    }

    /// Whether another try is worth the wait.
    pub(super) fn may_try_again(&self) -> bool {
        self.note(|log| log.silences < UNANSWERED_TRIES)
    }

    fn note<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, host: Option<&str>) {
        self.note(|log| {
            log.host = host.unwrap_or_default().to_owned();
            log.tries += 1;
            log.last = None;
            log.no_length = false;
        });
    }

    /// Notes a failure. Out comes the error that makes `object_store` try again, or not.
    fn failed(&self, error: HttpError, server_answers: bool) -> HttpError {
        let failure = failure(&error);
        let give_up = self.note(|log| {
            log.silences += u32::from(failure == Failure::Silent);
            log.last = Some(Outcome::Failed(failure.clone()));
            let unanswered = !server_answers && log.tries >= UNANSWERED_TRIES;
            unanswered || log.silences >= UNANSWERED_TRIES
        });
        match give_up {
            true => HttpError::new(HttpErrorKind::Unknown, error),
            false => error,
        }
    }

    /// Notes an answer that is no use. Out comes an error that `object_store` does not retry.
    fn unfit(&self, outcome: Outcome) -> HttpError {
        self.note(|log| log.last = Some(outcome));
        HttpError::new(HttpErrorKind::Decode, Unfit)
    }
}

/// Stands in for what the [`Wire`] has noted.
#[derive(Debug, thiserror::Error)]
#[error("the answer cannot be used")]
struct Unfit;

/// Makes [`Watched`] clients.
#[derive(Debug, Default)]
pub(super) struct WatchedConnector {
    /// Sent with every request for an object.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl HttpConnector for WatchedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched {
            inner: ReqwestConnector::default().connect(options)?,
            header: self.header.clone(),
            answers: AtomicBool::new(false),
        }))
    }
}

/// A client whose requests are watched where they carry a [`Wire`]; those for credentials do not.
#[derive(Debug)]
struct Watched {
    inner: HttpClient,
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
            return Err(HttpError::new(HttpErrorKind::Decode, Unfit));
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
            let url = format!("{}?{query}", request.uri());
            let url = url.parse();
            *request.uri_mut() = url.map_err(|e| HttpError::new(HttpErrorKind::Decode, e))?;
        }
        wire.begin(request.uri().host());
        let response = match self.inner.execute(request).await {
            Ok(response) => response,
            Err(e) => return Err(wire.failed(e, self.answers.load(Ordering::Relaxed))),
        };
        self.answers.store(true, Ordering::Relaxed);
        let (mut parts, body) = response.into_parts();
        let mut body = WatchedBody {
            inner: body,
            wire: Arc::clone(&wire),
            skip: 0,
            left: None,
        };
        if !parts.status.is_success() {
            body.left = Some(MAX_SAID_BYTES as u64);
            let said = HttpResponseBody::new(body).bytes().await;
            wire.note(|log| {
                log.last = Some(Outcome::Status {
                    status: parts.status,
                    said: said_in(&parts.headers, &said.unwrap_or_default()),
                    size: content_range(&parts.headers).and_then(|(_, size)| size),
                });
            });
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

/// A good answer, which is made to fit what was asked.
struct Answer<'a> {
    status: &'a mut StatusCode,
    headers: &'a mut HeaderMap,
    version: Version,
    body: &'a mut WatchedBody,
}

impl Answer<'_> {
    /// To a read of the whole object.
    fn be_whole(self, wire: &Wire) -> Result<(), HttpError> {
        if *self.status == StatusCode::PARTIAL_CONTENT {
            return Err(wire.unfit(Outcome::Wrong(
                "the server sends a part where the whole was asked for".into(),
            )));
        }
        if self.length(wire)?.is_none() {
            wire.note(|log| log.no_length = true);
            self.headers.insert(CONTENT_LENGTH, NO_LENGTH.into());
        }
        Ok(())
    }

    /// To a read of the range `asked`; of a whole object, the range is cut out.
    fn be_range(self, wire: &Wire, asked: Option<Range<u64>>) -> Result<(), HttpError> {
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
                "the server ignores ranges, and byte {} lies behind more than the {} MiB that are read to reach it",
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
                "the server does not say how long its answer is, so that one cut short could not be told".into(),
            ))),
        }
    }
}

/// A body whose failures are noted, from which a part may be cut.
struct WatchedBody {
    inner: HttpResponseBody,
    wire: Arc<Wire>,
    /// Bytes to throw away first.
    skip: u64,
    /// Bytes to let pass then; all where `None`. The connection is not read further.
    left: Option<u64>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.left != Some(0) {
            let mut bytes = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(e)) => {
                    // A server that has begun to answer is there.
                    let e = self.wire.failed(e, true);
                    return Poll::Ready(Some(Err(e)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            };
            let skipped = self.skip.min(bytes.len() as u64);
            bytes.advance(skipped as usize);
            self.skip -= skipped;
            if let Some(left) = &mut self.left {
                bytes.truncate((*left).min(bytes.len() as u64) as usize);
                *left -= bytes.len() as u64;
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }
}

/// The range in a request's header, as `object_store` writes it; `None` where it is open.
fn asked_range(header: &HeaderValue) -> Option<Range<u64>> {
    let (first, last) = header
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

/// The range and the object's size in an answer's header.
#[allow(clippy::type_complexity, reason = "two parts of one header")]
fn content_range(headers: &HeaderMap) -> Option<(Option<Range<u64>>, Option<u64>)> {
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
            "the server sends {found} where bytes {} to {} were asked for",
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
        _ => Err(wrong("a part that it does not place (no Content-Range)")),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What the server says for an explanation.
fn said_in(headers: &HeaderMap, body: &[u8]) -> String {
    let region = headers.get("x-amz-bucket-region");
    match region.and_then(|region| region.to_str().ok()) {
        Some(region) if body.is_empty() => format!("the bucket is in the region {region}"),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

fn failure(error: &HttpError) -> Failure {
    let mut connecting = false;
    let mut innermost: &dyn StdError = error;
    let mut io = None;
    while let Some(cause) = innermost.source() {
        connecting |= cause
            .downcast_ref::<reqwest::Error>()
            .is_some_and(reqwest::Error::is_connect);
        io = io.or(cause.downcast_ref::<std::io::Error>().map(innermost_kind));
        // hyper-util has no type for it.
        if cause.to_string() == "dns error" {
            return Failure::UnknownHost;
        }
        innermost = cause;
    }
    match (error.kind(), io) {
        (HttpErrorKind::Timeout, _) if connecting => Failure::Unreachable,
        (HttpErrorKind::Timeout, _) => Failure::Silent,
        (_, Some(ErrorKind::ConnectionRefused)) => Failure::Refused,
        // rustls hands its own errors on as invalid data, and calls a server that hangs up an early end.
        (_, Some(ErrorKind::InvalidData | ErrorKind::UnexpectedEof)) if connecting => {
            Failure::Tls(innermost.to_string())
        }
        _ => Failure::Other(innermost.to_string()),
    }
}

/// Connectors wrap an error of input and output in another of kind `Other`, which hides it from `source`.
fn innermost_kind(error: &std::io::Error) -> ErrorKind {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<std::io::Error>()) {
        Some(inner) => innermost_kind(inner),
        None => error.kind(),
    }
}
