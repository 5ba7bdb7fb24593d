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

/// A connection that took no data, and had no response, for too long.
#[derive(Debug, thiserror::Error)]
#[error("the connection is idle")]
struct Idle;

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
        let exchange = self.exchange(request, &taken);
        let response = unless_idle(idle, &taken, exchange).await;
        response.unwrap_or_else(|| Err(HttpError::new(HttpErrorKind::Timeout, Idle)))
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

/// The output of `work`; `None` if it is not done and `progress` does not change for the time `idle`.
async fn unless_idle<T>(
    idle: Duration,
    progress: &AtomicU64,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let before = progress.load(Ordering::Relaxed);
        match tokio::time::timeout(idle, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if progress.load(Ordering::Relaxed) == before => return None,
            Err(_) => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_without_progress_is_idle() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let idle = Duration::from_millis(200);
        let work = async |progress: &AtomicU64, steps: u64| {
            for _ in 0..steps {
                progress.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(idle / 4).await;
            }
            tokio::time::sleep(idle / 4).await;
            steps
        };
        runtime.block_on(async {
            let progress = AtomicU64::new(0);
            let done = unless_idle(idle, &progress, work(&progress, 12)).await;
            assert_eq!(done, Some(12));
            let stuck = unless_idle(idle, &progress, async {
                work(&progress, 6).await;
                tokio::time::sleep(idle * 20).await;
            });
            assert_eq!(stuck.await, None);
        });
    }

    #[test]
    fn a_body_is_given_in_pieces_that_are_counted() {
        let all: Vec<u8> = (0..200_000).map(|i| i as u8).collect();
        let taken = Arc::new(AtomicU64::new(0));
        let mut body = CountedBody {
            inner: all.clone().into(),
            piece: Bytes::new(),
            taken: Arc::clone(&taken),
        };
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut received = Vec::new();
        assert_eq!(body.size_hint().exact(), Some(200_000));
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
            let bytes = frame.unwrap().into_data().unwrap();
            assert!(bytes.len() <= PIECE_BYTES);
            received.extend_from_slice(&bytes);
            let rest = 200_000 - received.len() as u64;
            assert_eq!(body.size_hint().exact(), Some(rest));
            assert_eq!(taken.load(Ordering::Relaxed), received.len() as u64);
        }
        assert!(received == all && body.is_end_stream());
    }
}
