//! The body of a response, monitored while it arrives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use object_store::client::{HttpError, HttpResponseBody};

use super::connection_failure::ConnectionFailure;
use super::request_log::{RequestLog, RequestOutcome};
use crate::storage::looks_like_html;
use crate::storage::retry::Rate;

/// A body, or a range of it. Failures are recorded in the log. The body ends with an error if it arrives too slowly
/// or is an HTML page.
pub(super) struct MonitoredBody {
    pub(super) inner: HttpResponseBody,
    pub(super) log: Arc<RequestLog>,
    /// Bytes to discard first.
    pub(super) skip: u64,
    /// Bytes to return after those; all if `None`. The rest of the body is not read.
    pub(super) remaining: Option<u64>,
    pub(super) rate: Rate,
    /// Whether the next bytes are the first of an object.
    pub(super) at_object_start: bool,
}

impl MonitoredBody {
    /// The problem with the bytes that arrived, if there is one.
    fn problem(&mut self, bytes: &[u8]) -> Option<RequestOutcome> {
        if std::mem::take(&mut self.at_object_start) && looks_like_html(bytes) {
            return Some(RequestOutcome::Html);
        }
        let bytes_per_s = self.rate.received(bytes.len() as u64, self.log.elapsed())?;
        Some(RequestOutcome::Failed(ConnectionFailure::TooSlow(
            bytes_per_s,
        )))
    }
}

impl Body for MonitoredBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.remaining != Some(0) {
            let mut bytes = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(e)) => {
                    let e = self.log.record_failure(e);
                    return Poll::Ready(Some(Err(e)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            };
            if let Some(problem) = self.problem(&bytes) {
                let e = self.log.reject(problem);
                return Poll::Ready(Some(Err(e)));
            }
            let skipped = self.skip.min(bytes.len() as u64);
            bytes.advance(skipped as usize);
            self.skip -= skipped;
            if let Some(remaining) = &mut self.remaining {
                bytes.truncate((*remaining).min(bytes.len() as u64) as usize);
                *remaining -= bytes.len() as u64;
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }
}
