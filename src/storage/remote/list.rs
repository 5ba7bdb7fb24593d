//! Lists the folders and files directly below a location in a bucket.

use object_store::path::Path;

use super::error_text::with_causes;
use super::request_error::not_sent;
use super::{RemoteLocation, RemoteStore, StorageError};
use crate::storage::listing::Listing;

impl RemoteLocation {
    /// Whether the location is in a bucket, not on an http(s) server.
    pub(in crate::storage) fn is_bucket(&self) -> bool {
        !self.is_http()
    }
}

impl RemoteStore {
    /// The folders and files directly below the location.
    pub(in crate::storage) fn list(&self) -> Result<Listing, StorageError> {
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
