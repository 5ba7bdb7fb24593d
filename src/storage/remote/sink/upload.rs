//! An object that is written piece by piece. One that fits into a part is written at once, a larger one by a multipart
//! upload.

use std::fmt;

use object_store::PutPayload;
use object_store::multipart::PartId;

use super::super::action::Action;
use super::super::object_request::RequestFailure;
use super::RemoteSink;
use super::kept::KeptObject;
use crate::storage::sink::PendingObject;
use crate::storage::{StorageError, Store};

/// What to do if the server does not know an upload.
const UPLOAD_IS_GONE: &str = "the unfinished upload was removed by another process or by a rule of the bucket: rerun to write the object again";

/// An object that is being written.
pub(super) struct PendingUpload {
    sink: RemoteSink,
    key: String,
    /// Bytes that are not uploaded yet, less than a part.
    buffer: Vec<u8>,
    upload: Option<Upload>,
    size_bytes: u64,
    /// Of all bytes, to recognize the object if the server's last response is lost.
    digest: blake3::Hasher,
}

/// The upload of an object that is larger than a part.
struct Upload {
    id: String,
    record: KeptObject,
    parts: Vec<PartId>,
}

impl PendingUpload {
    pub(super) fn new(sink: RemoteSink, key: &str) -> Self {
        Self {
            sink,
            key: key.to_owned(),
            buffer: Vec::new(),
            upload: None,
            size_bytes: 0,
            digest: blake3::Hasher::new(),
        }
    }

    /// The memory that this holds.
    #[cfg(test)]
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The size of the next part.
    fn part_bytes(&self) -> usize {
        let index = self.upload.as_ref().map_or(0, |upload| upload.parts.len());
        self.sink.part_size.of_part(index)
    }

    /// Uploads the buffer as a part.
    fn upload_part(&mut self) -> Result<(), StorageError> {
        if self.upload.is_none() {
            let (id, record) = self.sink.begin_upload(&self.key)?;
            let parts = Vec::new();
            self.upload = Some(Upload { id, record, parts });
        }
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        let store = &self.sink.store;
        let (request, path) = store.request(Action::Write, "PUT", &self.key, None)?;
        let bucket = store.bucket(&self.key)?;
        let part = request.retry(async || {
            let (index, payload) = (upload.parts.len(), payload.clone());
            let part = bucket.uploads.put_part(&path, &upload.id, index, payload);
            part.await.map_err(RequestFailure::Request)
        });
        upload.parts.push(part.map_err(explain_missing_upload)?);
        Ok(())
    }

    /// Joins the parts into the object.
    fn complete(&self, upload: &Upload) -> Result<(), StorageError> {
        let store = &self.sink.store;
        let (request, path) = store.request(Action::Write, "POST", &self.key, None)?;
        let bucket = store.bucket(&self.key)?;
        let mut may_be_complete = false;
        let completed = request.retry(async || {
            let parts = upload.parts.clone();
            let completed = bucket.uploads.complete_multipart(&path, &upload.id, parts);
            completed.await.map(drop).map_err(|e| {
                may_be_complete |= request.may_have_succeeded();
                RequestFailure::Request(e)
            })
        });
        match completed {
            Err(e) if may_be_complete && self.is_stored() => {
                drop(e);
                Ok(())
            }
            completed => completed.map_err(explain_missing_upload),
        }
    }

    /// Whether the object has all bytes that were written.
    fn is_stored(&self) -> bool {
        let store = &self.sink.cleaner;
        if !matches!(store.size(&self.key), Ok(Some(size)) if size == self.size_bytes) {
            return false;
        }
        let (mut digest, mut piece) = (blake3::Hasher::new(), Vec::new());
        let length = self.sink.part_size.of_part(0);
        for start in (0..self.size_bytes).step_by(length) {
            let end = self.size_bytes.min(start + length as u64);
            if !matches!(
                store.read_range(&self.key, start..end, &mut piece),
                Ok(true)
            ) {
                return false;
            }
            digest.update(&piece);
        }
        digest.finalize() == self.digest.finalize()
    }
}

impl PendingObject for PendingUpload {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.digest.update(bytes);
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let part_bytes = self.part_bytes();
            if self.buffer.len() >= part_bytes {
                self.upload_part()?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(part_bytes - self.buffer.len()));
            if self.buffer.len() + now.len() > self.buffer.capacity() {
                // `Vec` would double its capacity, beyond a part.
                let doubled = (2 * self.buffer.capacity()).min(part_bytes);
                let capacity = doubled.max(self.buffer.len() + now.len());
                self.buffer.reserve_exact(capacity - self.buffer.len());
            }
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        if self.upload.is_none() {
            let payload = PutPayload::from(std::mem::take(&mut self.buffer));
            return self.sink.store.put_object(&self.key, &payload);
        }
        if !self.buffer.is_empty() {
            self.upload_part()?;
        }
        if let Some(upload) = self.upload.take() {
            let completed = self.complete(&upload);
            if completed.is_err() {
                self.upload = Some(upload);
            }
            completed?;
        }
        Ok(())
    }
}

impl Drop for PendingUpload {
    /// Aborts an upload that is not finished.
    fn drop(&mut self) {
        if let Some(Upload { id, record, .. }) = self.upload.take()
            && self.sink.abort_upload(&self.key, &id).is_err()
        {
            // Another process aborts the upload later.
            record.leave();
        }
    }
}

impl fmt::Debug for PendingUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingUpload({})", self.sink.store.describe(&self.key))
    }
}

/// Adds the cause to a response that an upload does not exist.
fn explain_missing_upload(error: StorageError) -> StorageError {
    match error.status() {
        Some(404) => error.with_advice(UPLOAD_IS_GONE),
        _ => error,
    }
}
