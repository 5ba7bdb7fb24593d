//! Lists objects in a bucket: the folders and files directly below a location, or everything below a folder.

use std::ops::ControlFlow;

use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::action::Action;
use super::object_request::RequestFailure;
use super::request_error::not_sent;
use super::{RemoteLocation, RemoteStore, StorageError};
use crate::storage::ListedObject;
use crate::storage::listing::Listing;

/// An object in a bucket.
pub(super) struct BucketObject {
    /// Its key, relative to the store.
    pub key: String,
    pub size_bytes: u64,
    /// When it was written, in milliseconds by the server's clock.
    pub modified_ms: i64,
}

impl RemoteLocation {
    /// Whether the location is in a bucket, not on an http(s) server.
    pub(in crate::storage) fn is_bucket(&self) -> bool {
        !self.is_http()
    }
}

impl RemoteStore {
    /// Calls `each` for every object below `folder`.
    pub(super) fn list_all(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.list_objects(folder, &mut |object| {
            each(ListedObject {
                key: object.key,
                size_bytes: Some(object.size_bytes),
                modified_ms: Some(object.modified_ms),
            })
        })
    }

    /// Like [`RemoteStore::list_all`], with the times of the objects.
    pub(super) fn list_objects(
        &self,
        folder: &str,
        each: &mut dyn FnMut(BucketObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let root = self.location.object_path();
        let root = root.map_err(|e| {
            not_sent(
                Action::List,
                &self.location.to_string(),
                &e,
                "check the URL",
            )
        })?;
        self.list_pages(folder, false, &mut |page| {
            let objects = page.objects.into_iter();
            let mut objects = objects.filter_map(|meta| BucketObject::below(&root, &meta));
            objects.try_for_each(&mut *each)
        })
    }

    /// The folders and files directly below the location.
    pub(in crate::storage) fn list_folder(&self) -> Result<Listing, StorageError> {
        const ADVICE: &str =
            "check that the credentials may list the bucket, or give the URL of each layer instead";
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut listing = Listing::default();
        let listed = self.list_pages("", true, &mut |page| {
            let (folders, objects) = (&page.common_prefixes, &page.objects);
            listing.folders.extend(folders.iter().filter_map(name));
            let files = objects.iter().filter_map(|o| name(&o.location));
            listing.files.extend(files);
            ControlFlow::Continue(())
        });
        // Errors of the server have their own advice.
        listed.map_err(|e| match e.status() {
            Some(403) => e.with_advice(ADVICE),
            _ => e,
        })?;
        Ok(listing)
    }

    /// Calls `each` for every page of a listing, each of which is a request of its own.
    fn list_pages(
        &self,
        folder: &str,
        stop_at_folders: bool,
        each: &mut dyn FnMut(ListResult) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut page_token = None;
        loop {
            let (request, path) = self.request(Action::List, "GET", folder, None)?;
            let Some(bucket) = &request.client.bucket else {
                return Err(not_sent(
                    Action::List,
                    &request.url,
                    "http has no standard way to list files",
                    "use the URL of a bucket (gs://, s3://) or a local copy",
                ));
            };
            let prefix = Some(format!("{path}/")).filter(|prefix| prefix != "/");
            let options = PaginatedListOptions {
                delimiter: stop_at_folders.then(|| "/".into()),
                page_token: page_token.clone(),
                extensions: request.extensions(),
                ..PaginatedListOptions::default()
            };
            let page = request.retry(async || {
                let page = bucket
                    .pages
                    .list_paginated(prefix.as_deref(), options.clone());
                page.await.map_err(RequestFailure::Request)
            })?;
            let next = page
                .page_token
                .filter(|next| Some(next) != page_token.as_ref());
            if each(page.result).is_break() || next.is_none() {
                return Ok(());
            }
            page_token = next;
        }
    }
}

impl BucketObject {
    /// The object, if it is below `root`.
    fn below(root: &Path, meta: &ObjectMeta) -> Option<Self> {
        let parts: Vec<_> = meta.location.prefix_match(root)?.collect();
        let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
        // Some tools write an object for a folder.
        (!parts.is_empty()).then(|| Self {
            key: parts.join("/"),
            size_bytes: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        })
    }
}
