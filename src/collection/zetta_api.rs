//! A collection on a server with zetta_utils' web API.
//!
//! Four requests: the collections, then the boxes, layer groups and layers. The answers have the same rows as a collection
//! file and are read by the same code. With several tags the API returns rows that have any of them, so rows are filtered
//! again here.

mod client;
mod error;
#[cfg(test)]
mod tests;

use reqwest::Url;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::lists::{ListOf, RowSink};
use super::rows::{AnnotationRows, CollectionRows, Rows, TypedRow};
use super::{Collection, CollectionError};
use crate::config::{ZettaApiConfig, nearest};
use crate::storage::{Location, MemoryBudget, OverBudget, Storage, parse_stream, redacted_source};
use client::{Client, RequestSettings};

pub use error::ApiError;

/// Reads the collection; layers with relative sources count from `base`.
pub(super) fn read(
    config: &ZettaApiConfig,
    base: &Location,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let settings = RequestSettings::of(storage.network());
    // A whole answer is in memory while its rows are read.
    let limit_bytes = settings
        .limit_bytes
        .min(storage.budget().lease_limit_bytes() / 2);
    let settings = RequestSettings {
        limit_bytes,
        ..settings
    };
    read_with(config, base, settings, storage)
}

fn read_with(
    config: &ZettaApiConfig,
    base: &Location,
    settings: RequestSettings,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let root = config.address().ok_or_else(|| ApiError::Address {
        url: redacted_source(&config.url).into_owned(),
        problem: "expected `https://HOST` or `https://HOST/PATH`".to_owned(),
    })?;
    let api = Api {
        client: Client::new(config, &root, settings, storage)?,
        root,
        budget: storage.budget(),
    };
    let id = api.collection_id(&config.collection)?;
    let in_collection = [("collection_ids", id.as_str())];
    let with_tags = config.tags.iter().map(|tag| ("tags", tag.as_str()));
    let query: Vec<_> = in_collection.into_iter().chain(with_tags).collect();
    let (of_collection, tags) = (id.clone(), config.tags.clone());
    let is_used =
        move |row: &Value| belongs(row, &of_collection) && tags.iter().all(|tag| has_tag(row, tag));
    let of_collection = id.clone();
    let (annotations_path, boxes) = api.rows(&query, is_used);
    let (groups_path, layer_groups) =
        api.rows(&in_collection, move |row| belongs(row, &of_collection));
    let (layers_path, layers) = api.rows(&[], |_| true);
    let mut rows = CollectionRows {
        base: base.clone(),
        annotations: AnnotationRows::new(boxes),
        layer_groups,
        layers,
    };
    api.read(&annotations_path, &mut rows.annotations)?;
    api.read(&groups_path, &mut rows.layer_groups)?;
    api.read(&layers_path, &mut rows.layers)?;
    rows.join(format!("{}, collection {id:?}", api.root))
}

/// Whether `bytes` are JSON, but neither a list nor an object.
fn is_scalar(bytes: &[u8]) -> bool {
    let first = bytes.trim_ascii_start().first();
    !matches!(first, Some(b'[' | b'{')) && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Whether a row belongs to the collection; a row that names no collection does.
fn belongs(row: &Value, collection: &str) -> bool {
    let named = row.get("collection").and_then(Value::as_str);
    named.is_none_or(|named| named == collection)
}

fn has_tag(row: &Value, tag: &str) -> bool {
    let tags = row.get("tags").and_then(Value::as_array);
    tags.into_iter().flatten().any(|t| t.as_str() == Some(tag))
}

struct Api<'b> {
    /// The address, with a slash at its end.
    root: Url,
    client: Client,
    budget: &'b MemoryBudget,
}

/// Ids and names of all collections.
struct Names {
    budget: MemoryBudget,
    rows: Vec<(Option<String>, Option<String>)>,
}

impl RowSink for Names {
    fn members(&self) -> &'static [&'static str] {
        &["id", "name"]
    }

    fn begin(&mut self) {
        self.rows.clear();
    }

    fn row(&mut self, _: usize, row: Value) -> Result<(), OverBudget> {
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        let (id, name) = (text("id"), text("name"));
        let texts: usize = [&id, &name].into_iter().flatten().map(String::len).sum();
        self.budget.keep((texts + ROW_BYTES) as u64)?;
        self.rows.push((id, name));
        Ok(())
    }
}

/// Memory of a collection's id and name in addition to their bytes.
const ROW_BYTES: usize = 120;

impl Api<'_> {
    /// The id of the collection with this id, or of the only one with this name.
    fn collection_id(&self, wanted: &str) -> Result<String, CollectionError> {
        let mut names = Names {
            budget: self.budget.clone(),
            rows: Vec::new(),
        };
        let path = self.path("collections", &[]);
        self.read(&path, &mut names)?;
        let ids = || names.rows.iter().filter_map(|(id, _)| id.as_deref());
        if ids().any(|id| id == wanted) {
            return Ok(wanted.to_owned());
        }
        let of_name = |(_, name): &&(_, Option<String>)| name.as_deref() == Some(wanted);
        let mut same_name = names
            .rows
            .iter()
            .filter(of_name)
            .filter_map(|(id, _)| id.as_ref());
        if let (Some(id), None) = (same_name.next(), same_name.next()) {
            return Ok(id.clone());
        }
        Err(ApiError::NoCollection {
            url: self.client.describe(&path),
            collection: wanted.to_owned(),
            count: ids().count(),
            hint: nearest(wanted, ids()).map(str::to_owned),
        }
        .into())
    }

    /// The path of the request for a list, and its rows for which `is_used` is true.
    fn rows<T: TypedRow>(
        &self,
        query: &[(&str, &str)],
        is_used: impl Fn(&Value) -> bool + 'static,
    ) -> (String, Rows<T>) {
        let path = self.path(T::LIST, query);
        let rows = Rows::new(self.client.describe(&path), self.budget, is_used);
        (path, rows)
    }

    /// The path of `NAME/multiple` below the API's address.
    fn path(&self, name: &str, query: &[(&str, &str)]) -> String {
        let path = format!("{name}/multiple");
        if query.is_empty() {
            return path;
        }
        let mut url = self.root.clone();
        url.query_pairs_mut().extend_pairs(query);
        format!("{path}?{}", url.query().unwrap_or_default())
    }

    /// Reads the rows at `path`: a list, or an object with a row per id, as older servers send it.
    fn read(&self, path: &str, sink: &mut dyn RowSink) -> Result<(), CollectionError> {
        let (bytes, url) = self.client.get(path)?;
        if is_scalar(&bytes) {
            let start = &bytes[..bytes.len().min(80)];
            return Err(ApiError::NotRows {
                url,
                found: String::from_utf8_lossy(start).into_owned(),
            }
            .into());
        }
        let mut over = None;
        let list = ListOf {
            sink,
            over: &mut over,
            by_id: true,
        };
        let expected = "an answer of zetta_utils' web API";
        let read = parse_stream(&bytes[..], &url, expected, list);
        read.map_err(|e| match over {
            None => e.into(),
            Some(over) => ApiError::TooLarge { url, over }.into(),
        })
    }
}
