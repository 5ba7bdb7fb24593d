//! Unfinished uploads, which a bucket keeps, and charges for, until they are aborted.
//!
//! Each is recorded in an object before its first part is uploaded. The record is deleted after the upload is finished or
//! aborted.

use std::ops::ControlFlow;

use object_store::PutMultipartOptions;
use serde::{Deserialize, Serialize};

use super::super::RemoteStore;
use super::super::action::Action;
use super::super::client::Bucket;
use super::super::object_request::RequestFailure;
use super::super::request_error::not_sent;
use super::RemoteSink;
use super::kept::{KeptObject, unique_name};
use super::process::ProcessIdentity;
use super::writers::MAX_KEPT_BYTES;
use crate::storage::{Depth, StorageError, Store};

/// The folder of the records.
const UPLOADS: &str = ".pointshard/uploads";

/// A record of an upload.
#[derive(Debug, Serialize, Deserialize)]
struct UploadRecord {
    key: String,
    upload: String,
    writer: ProcessIdentity,
}

impl RemoteSink {
    /// Begins an upload for `key`. Returns its id and its record.
    pub(super) fn begin_upload(&self, key: &str) -> Result<(String, KeptObject), StorageError> {
        let (request, path) = self.store.request(Action::Write, "POST", key, None)?;
        let bucket = self.store.bucket(key)?;
        let upload = request.retry(async || {
            let options = PutMultipartOptions {
                extensions: request.extensions(),
                ..PutMultipartOptions::default()
            };
            let begun = bucket.uploads.create_multipart_opts(&path, options);
            begun.await.map_err(RequestFailure::Request)
        })?;
        let record = UploadRecord {
            key: key.to_owned(),
            upload,
            writer: ProcessIdentity::current(),
        };
        let contents = serde_json::to_vec(&record).unwrap_or_default();
        let record_key = format!("{UPLOADS}/{}", unique_name());
        match self.kept.keep(&self.store, record_key, contents) {
            Ok(kept) => Ok((record.upload, kept)),
            Err(e) => {
                let _ = self.abort_upload(key, &record.upload);
                Err(e)
            }
        }
    }

    /// Aborts an upload. It is no error if it does not exist.
    pub(super) fn abort_upload(&self, key: &str, upload: &str) -> Result<(), StorageError> {
        let (request, path) = self.cleaner.request(Action::Delete, "DELETE", key, None)?;
        let bucket = self.cleaner.bucket(key)?;
        let upload = upload.to_owned();
        request.retry(async || request.gone(bucket.uploads.abort_multipart(&path, &upload).await))
    }

    /// Aborts the recorded uploads of objects in `folder` whose writers are dead.
    pub(super) fn remove_abandoned_uploads(
        &self,
        folder: &str,
        depth: Depth,
    ) -> Result<(), StorageError> {
        let mut has_records = false;
        self.store.list_objects(UPLOADS, &mut |_| {
            has_records = true;
            ControlFlow::Break(())
        })?;
        if !has_records {
            return Ok(());
        }
        // A record of no upload, which shows the time by the server's clock.
        let (_clock, now_ms, records) = self.keep_and_list(UPLOADS, "clock-", &())?;
        for object in records {
            let mut contents = Vec::new();
            if !self
                .store
                .read(&object.key, MAX_KEPT_BYTES, &mut contents)?
            {
                continue;
            }
            let may_live = self.liveness.may_live(&object, now_ms);
            match serde_json::from_slice::<UploadRecord>(&contents) {
                Ok(record) if !is_in(&record.key, folder, depth) => {}
                Ok(record) if may_live && !record.writer.has_ended() => {}
                Ok(record) => {
                    self.abort_upload(&record.key, &record.upload)?;
                    self.store.delete_object(&object.key)?;
                }
                Err(_) if may_live => {}
                Err(_) => self.store.delete_object(&object.key)?,
            }
        }
        Ok(())
    }
}

impl RemoteStore {
    /// The part of the client that only buckets have.
    pub(super) fn bucket(&self, key: &str) -> Result<&Bucket, StorageError> {
        let url = self.describe(key);
        let bucket = self.client(Action::Write, &url)?.bucket.as_ref();
        bucket.ok_or_else(|| {
            not_sent(
                Action::Write,
                &url,
                "http(s) servers cannot be written to",
                "write to a local folder, or to a bucket (s3://, gs://)",
            )
        })
    }
}

fn is_in(key: &str, folder: &str, depth: Depth) -> bool {
    let name = if folder.is_empty() {
        Some(key)
    } else {
        let rest = key.strip_prefix(folder);
        rest.and_then(|rest| rest.strip_prefix('/'))
    };
    name.is_some_and(|name| depth == Depth::All || !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_begins_like_the_folder_is_not_in_it() {
        let all = |key, folder| is_in(key, folder, Depth::All);
        assert!(all("a/b/c", "a/b") && all("a/b", "a") && all("a", "") && all("a/b", ""));
        assert!(!all("a/bc", "a/b") && !all("a", "a/b"));
        let one = |key, folder| is_in(key, folder, Depth::Folder);
        assert!(one("a", "") && one("a/b", "a"));
        assert!(!one("a/b", "") && !one("a/b/c", "a") && !one("ab", "a"));
    }
}
