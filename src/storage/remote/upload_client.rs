//! The HTTP client for requests that send data.
//!
//! reqwest's read timeout would also count the time in which the request is sent, so a large part would fail on a slow
//! connection. Here a request fails if the connection takes no data, and no response ends, for the idle timeout.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse};

use super::http_client;
use crate::storage::Network;

/// Most bytes that are given to the connection at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Most bytes that the operating system is assumed to buffer: they are sent after the connection took them.
const BUFFERED_BYTES: u64 = 4 << 20;

/// The slowest rate at which buffered bytes are assumed to be sent.
const SLOWEST_BYTES_PER_S: u64 = 64 << 10;

/// Most bytes of a response.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Sends requests, and receives their responses completely.
#[derive(Debug)]
pub(super) struct UploadClient {
    options: ClientOptions,
    network: Network,
    /// Built for the first request, because most programs only read.
    client: OnceLock<reqwest::Client>,
}

/// A response that is too long.
#[derive(Debug, thiserror::Error)]
#[error("the response has more than {MAX_RESPONSE_BYTES} bytes")]
struct ResponseTooLong;

impl UploadClient {
    pub(super) fn new(options: &ClientOptions, network: Network) -> Self {
        Self {
            options: options.clone(),
            network,
            client: OnceLock::new(),
        }
    }

    /// The response to `request`, with its whole body.
    pub(super) async fn execute(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let buffered = BUFFERED_BYTES.min(request.body().content_length() as u64);
        let sending = Duration::from_millis(buffered * 1000 / SLOWEST_BYTES_PER_S);
        let idle = self.network.idle_timeout + sending;
        let taken = Arc::new(AtomicU64::new(0));
        let mut exchange = pin!(self.exchange(request, &taken));
        loop {
            let before = taken.load(Ordering::Relaxed);
            match tokio::time::timeout(idle, exchange.as_mut()).await {
                Ok(response) => return response,
                Err(e) if taken.load(Ordering::Relaxed) == before => {
                    return Err(HttpError::new(HttpErrorKind::Timeout, e));
                }
                Err(_) => {}
            }
        }
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        taken: &Arc<AtomicU64>,
    ) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = reqwest::Body::wrap(CountedBody {
            inner: body,
            piece: Bytes::new(),
            taken: Arc::clone(taken),
        });
        let request = self.client()?.request(parts.method, parts.uri.to_string());
        let request = request.headers(parts.headers).body(body);
        let mut response = request.send().await.map_err(failure)?;
        let mut received = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(failure)? {
            if received.len() + bytes.len() > MAX_RESPONSE_BYTES {
                return Err(HttpError::new(HttpErrorKind::Decode, ResponseTooLong));
            }
            received.extend_from_slice(&bytes);
        }
        let mut complete = HttpResponse::new(received.into());
        *complete.status_mut() = response.status();
        *complete.headers_mut() = response.headers().clone();
        Ok(complete)
    }

    fn client(&self) -> Result<&reqwest::Client, HttpError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = http_client::build(&self.options, &self.network, None);
        let built = built.map_err(|e| HttpError::new(HttpErrorKind::Request, e))?;
        Ok(self.client.get_or_init(|| built))
    }
}

/// The error without the URL, which may have secrets.
fn failure(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error.without_url())
}

/// A body that is given to the connection in pieces, and counts them.
struct CountedBody {
    inner: HttpRequestBody,
    /// The rest of a frame of `inner`.
    piece: Bytes,
    taken: Arc<AtomicU64>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.piece.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(frame) => match frame?.into_data() {
                    Ok(bytes) => self.piece = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let length = PIECE_BYTES.min(self.piece.len());
        let piece = self.piece.split_to(length);
        self.taken.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        if let Some(rest) = hint.exact() {
            hint.set_exact(rest + self.piece.len() as u64);
        }
        hint
    }
}
