//! Creates the request for an operation on an object.

use std::ops::Range;

use object_store::path::Path;

use super::action::Action;
use super::client::Client;
use super::object_request::ObjectRequest;
use super::request_error::not_sent;
use super::request_log::RequestLog;
use super::{RemoteStore, StorageError};

impl RemoteStore {
    /// An operation on the object `key` or the bytes `range` of it, and the object's path.
    pub(super) fn request(
        &self,
        action: Action,
        method: &'static str,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<(ObjectRequest<'_>, Path), StorageError> {
        let url = self.location.join(key).to_string();
        let (client, path, query) = self.resolve(action, key, &url)?;
        let whole_object = action == Action::Read && range.is_none();
        let request = ObjectRequest {
            action,
            method,
            url,
            store: self,
            client,
            retry_policy: self.retry_policy.unwrap_or(client.network.retry),
            range,
            limit_bytes: 0,
            log: RequestLog::new(whole_object, query.as_deref()),
        };
        Ok((request, path))
    }

    /// Checks that the object `key` is below the location, and that requests for it can be sent.
    pub(super) fn check_key(&self, key: &str) -> Result<(), StorageError> {
        self.request(Action::Write, "PUT", key, None).map(drop)
    }

    /// The client, the path and the query for the object `key`.
    fn resolve(
        &self,
        action: Action,
        key: &str,
        url: &str,
    ) -> Result<(&Client, Path, Option<String>), StorageError> {
        let name = match key.split_once('?') {
            Some((name, _query)) if self.location.is_http() => name,
            _ => key,
        };
        let is_root = name.is_empty() && action == Action::List;
        let inside = name.split('/').all(|step| !matches!(step, "" | "." | ".."));
        if !inside && !is_root {
            return Err(StorageError::KeyLeavesRoot {
                key: key.to_owned(),
                root: self.location.to_string(),
            });
        }
        let client = self.client(action, url)?;
        let location = self.location.join(key);
        let path = location.object_path();
        let path = path.map_err(|e| not_sent(action, url, &e, "check the URL"))?;
        Ok((client, path, location.query().map(str::to_owned)))
    }
}
