//! The body of an answer, watched while it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use object_store::client::{HttpError, HttpResponseBody};

use super::failure::Failure;
use super::wire::{Outcome, Wire};
use crate::storage::looks_like_html;
use crate::storage::retry::Rate;

/// A body whose failures are noted, from which a part may be cut. It ends with an error where it comes too slowly, or
/// is a page for people.
pub(super) struct WatchedBody {
    pub(super) inner: HttpResponseBody,
    pub(super) wire: Arc<Wire>,
    /// Bytes to throw away first.
    pub(super) skip: u64,
    /// Bytes to let pass then; all where `None`. The connection is not read further.
    pub(super) left: Option<u64>,
    pub(super) rate: Rate,
    /// Whether the next bytes are the first of an object.
    pub(super) at_start: bool,
}

impl WatchedBody {
    /// What is wrong with the bytes that came, if anything is.
    fn problem(&mut self, bytes: &[u8]) -> Option<Outcome> {
        if std::mem::take(&mut self.at_start) && looks_like_html(bytes) {
            return Some(Outcome::Html);
        }
        let slow = self.rate.came(bytes.len() as u64, self.wire.elapsed())?;
        Some(Outcome::Failed(Failure::Slow(slow)))
    }
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
                    let e = self.wire.failed(e);
                    return Poll::Ready(Some(Err(e)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            };
            if let Some(problem) = self.problem(&bytes) {
                let e = self.wire.unfit(problem);
                return Poll::Ready(Some(Err(e)));
            }
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
