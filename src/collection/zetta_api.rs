//! A collection on a server with zetta_utils' web API.
//!
//! Four requests: is there such a collection; its boxes; its layer groups; the layers. What comes back is
//! what a collection file holds, and goes the same way. Where the API is asked for several tags it answers
//! with what bears any of them, so everything is filtered again here.

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
use client::{Asking, Client};

pub use error::ApiError;

/// Reads the collection; layers with relative sources count from `base`.
pub(super) fn read(
    config: &ZettaApiConfig,
    base: &Location,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let asking = Asking::of(storage.network());
    // An answer is in memory as a whole while its rows are read.
    let limit_bytes = asking
        .limit_bytes
        .min(storage.budget().lease_limit_bytes() / 2);
    let asking = Asking {
        limit_bytes,
        ..asking
    };
    read_with(config, base, asking, storage)
}

fn read_with(
    config: &ZettaApiConfig,
    base: &Location,
    asking: Asking,
    storage: &Storage,
) -> Result<Collection, CollectionError> {
    let root = config.address().ok_or_else(|| ApiError::Address {
        url: redacted_source(&config.url).into_owned(),
        problem: "expected `https://HOST` or `https://HOST/PATH`".to_owned(),
    })?;
    let api = Api {
        client: Client::new(config, &root, asking, storage)?,
        root,
        budget: storage.budget(),
    };
    let id = api.collection_id(&config.collection)?;
    let in_collection = [("collection_ids", id.as_str())];
    let with_tags = config.tags.iter().map(|tag| ("tags", tag.as_str()));
    let query: Vec<_> = in_collection.into_iter().chain(with_tags).collect();
    let (of_collection, tags) = (id.clone(), config.tags.clone());
    let is_wanted =
        move |row: &Value| belongs(row, &of_collection) && tags.iter().all(|tag| bears(row, tag));
    let of_collection = id.clone();
    let (annotations_path, boxes) = api.rows(&query, is_wanted);
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
fn is_no_list(bytes: &[u8]) -> bool {
    let first = bytes.trim_ascii_start().first();
    !matches!(first, Some(b'[' | b'{')) && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Whether a row says that it is in the collection, or does not say.
fn belongs(row: &Value, collection: &str) -> bool {
    let named = row.get("collection").and_then(Value::as_str);
    named.is_none_or(|named| named == collection)
}

fn bears(row: &Value, tag: &str) -> bool {
    let tags = row.get("tags").and_then(Value::as_array);
    tags.into_iter().flatten().any(|t| t.as_str() == Some(tag))
}

struct Api<'b> {
    /// With a slash at its end.
    root: Url,
    client: Client,
    budget: &'b MemoryBudget,
}

/// Ids and names of the collections that there are.
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

/// What a collection's id and name take beside their bytes.
const ROW_BYTES: usize = 120;

impl Api<'_> {
    /// The id of the collection of that id, or of the only one of that name.
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
        let mut called = names
            .rows
            .iter()
            .filter(of_name)
            .filter_map(|(id, _)| id.as_ref());
        if let (Some(id), None) = (called.next(), called.next()) {
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

    /// The rows of a list for which `counts` holds, and the path of the request for them.
    fn rows<T: TypedRow>(
        &self,
        query: &[(&str, &str)],
        counts: impl Fn(&Value) -> bool + 'static,
    ) -> (String, Rows<T>) {
        let path = self.path(T::LIST, query);
        let rows = Rows::new(self.client.describe(&path), self.budget, counts);
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

    /// Reads the rows at `path`: a list, or, from older servers, an object by id.
    fn read(&self, path: &str, sink: &mut dyn RowSink) -> Result<(), CollectionError> {
        let (bytes, url) = self.client.get(path)?;
        if is_no_list(&bytes) {
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
