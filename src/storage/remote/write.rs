//! Writes and deletes of one object.

use object_store::{
    CopyMode, CopyOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use reqwest::StatusCode;

use super::action::Action;
use super::object_request::{ObjectRequest, RequestFailure};
use super::{RemoteLocation, RemoteStore, StorageError};
use crate::storage::Store;

impl RemoteStore {
    /// Writes the object `key`, and replaces an existing one.
    pub(super) fn put_object(&self, key: &str, payload: &PutPayload) -> Result<(), StorageError> {
        let (request, path) = self.request(Action::Write, "PUT", key, None)?;
        request.retry(async || {
            let options = request.put_options(PutMode::Overwrite);
            let put = request
                .client
                .store
                .put_opts(&path, payload.clone(), options);
            put.await.map(drop).map_err(RequestFailure::Request)
        })
    }

    /// Writes the object `key` unless it exists. Returns whether it was written.
    pub(super) fn put_new_object(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        let (request, path) = self.request(Action::Write, "PUT", key, None)?;
        let payload = PutPayload::from(bytes.to_vec());
        // Whether an attempt that failed may have written the object.
        let mut may_be_written = false;
        let written = request.retry(async || {
            let options = request.put_options(PutMode::Create);
            let put = request
                .client
                .store
                .put_opts(&path, payload.clone(), options);
            match put.await {
                Ok(_) => Ok(true),
                Err(_) if request.already_exists() => Ok(false),
                Err(e) => {
                    may_be_written |= request.may_have_succeeded();
                    Err(RequestFailure::Request(e))
                }
            }
        })?;
        if written || !may_be_written {
            return Ok(written);
        }
        // The object was written by the lost attempt, or by another writer.
        let mut found = Vec::new();
        match self.read(key, bytes.len() as u64, &mut found) {
            Ok(exists) => Ok(exists && found == bytes),
            Err(e) if e.too_large().is_some() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Copies the object `key` of the location `from` inside the bucket, and replaces an existing one. Returns `false` if it is in
    /// another bucket, or the server does not copy it: there is no such object, it is too large, or copying is not allowed.
    pub(super) fn copy_object(
        &self,
        from: &RemoteLocation,
        key: &str,
    ) -> Result<bool, StorageError> {
        if from.parts()[0] != self.location.parts()[0] {
            return Ok(false);
        }
        let (request, path) = self.request(Action::Write, "PUT", key, None)?;
        let Ok(source) = from.join(key).object_path() else {
            return Ok(false);
        };
        request.retry(async || {
            let options = CopyOptions {
                mode: CopyMode::Overwrite,
                extensions: request.extensions(),
            };
            let copied = request.client.store.copy_opts(&source, &path, options);
            match copied.await {
                Ok(()) => Ok(true),
                Err(_) if request.is_declined() => Ok(false),
                Err(e) => Err(RequestFailure::Request(e)),
            }
        })
    }

    /// Deletes the object `key`. It is no error if it does not exist.
    pub(super) fn delete_object(&self, key: &str) -> Result<(), StorageError> {
        let (request, path) = self.request(Action::Delete, "DELETE", key, None)?;
        request.retry(async || request.gone(request.client.store.delete(&path).await))
    }
}

impl ObjectRequest<'_> {
    fn put_options(&self, mode: PutMode) -> PutOptions {
        PutOptions {
            mode,
            extensions: self.extensions(),
            ..PutOptions::default()
        }
    }

    /// Whether the server refused to replace an existing object.
    fn already_exists(&self) -> bool {
        matches!(
            self.last_status(),
            Some(StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED)
        )
    }

    /// Whether the server declined the request, and would decline it again.
    fn is_declined(&self) -> bool {
        let is_final = |status: StatusCode| {
            let retried = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
            status == StatusCode::NOT_IMPLEMENTED
                || status.is_client_error() && !retried.contains(&status)
        };
        self.last_status().is_some_and(is_final)
    }

    /// The result of a deletion, which also succeeds if nothing is there.
    pub(super) fn gone(&self, deleted: Result<(), Error>) -> Result<(), RequestFailure> {
        match (deleted, self.last_status()) {
            (Err(_), Some(StatusCode::NOT_FOUND | StatusCode::GONE)) => Ok(()),
            (deleted, _) => deleted.map_err(RequestFailure::Request),
        }
    }
}
