//! Lists objects in a bucket: the folders and files directly below a location, or everything below it.

use std::future::poll_fn;
use std::ops::ControlFlow;

use object_store::path::Path;

use super::error_text::with_causes;
use super::request_error::not_sent;
use super::{RemoteLocation, RemoteStore, StorageError};
use crate::storage::ListedObject;
use crate::storage::listing::Listing;

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
        let location = self.location.join(folder);
        let url = location.to_string();
        let advice = "check that the credentials may list the bucket";
        let failed = |problem: String| not_sent(&url, &problem, advice);
        if self.location.is_http() {
            return Err(not_sent(
                &url,
                "http has no standard way to list files",
                "use the URL of a bucket (gs://, s3://) or a local copy",
            ));
        }
        let client = self.client(&url)?;
        let root = self.location.object_path().map_err(failed)?;
        let prefix = location.object_path().map_err(failed)?;
        let runtime = self.connections.runtime.get().map_err(failed)?;
        runtime.block_on(async {
            let mut listing = client.store.list(Some(&prefix));
            while let Some(object) = poll_fn(|cx| listing.as_mut().poll_next(cx)).await {
                let object = object.map_err(|e| failed(with_causes(&e)))?;
                if let Some(parts) = object.location.prefix_match(&root) {
                    let parts: Vec<_> = parts.collect();
                    let parts: Vec<_> = parts.iter().map(|p| p.as_ref()).collect();
                    let listed = ListedObject {
                        key: parts.join("/"),
                        size_bytes: Some(object.size),
                    };
                    if each(listed).is_break() {
                        break;
                    }
                }
            }
            Ok(())
        })
    }

    /// The folders and files directly below the location.
    pub(in crate::storage) fn list_folder(&self) -> Result<Listing, StorageError> {
        const ADVICE: &str =
            "check that the credentials may list the bucket, or give the URL of each layer instead";
        let url = self.location.to_string();
        let failed = |problem: String| not_sent(&url, &problem, ADVICE);
        let client = self.client(&url)?;
        let prefix = self.location.object_path().map_err(failed)?;
        let runtime = self.connections.runtime.get().map_err(failed)?;
        let listed = runtime.block_on(client.store.list_with_delimiter(Some(&prefix)));
        let listed = listed.map_err(|e| failed(with_causes(&e)))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        Ok(Listing {
            folders: listed.common_prefixes.iter().filter_map(name).collect(),
            files: listed
                .objects
                .iter()
                .filter_map(|o| name(&o.location))
                .collect(),
        })
    }
}
