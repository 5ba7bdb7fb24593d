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
use serde_json::Value;

use super::rows::{List, Lists, join};
use super::{Collection, CollectionError};
use crate::config::{ZettaApiConfig, nearest};
use crate::storage::{Location, parse_document, redacted_source};
use client::{Asking, Client};

pub use error::ApiError;

/// Reads the collection; layers with relative sources count from `base`.
pub(super) fn read(
    config: &ZettaApiConfig,
    base: &Location,
) -> Result<Collection, CollectionError> {
    read_with(config, base, Asking::chosen())
}

fn read_with(
    config: &ZettaApiConfig,
    base: &Location,
    asking: Asking,
) -> Result<Collection, CollectionError> {
    let root = config.address().ok_or_else(|| ApiError::Address {
        url: redacted_source(&config.url).into_owned(),
        problem: "expected `https://HOST` or `https://HOST/PATH`".to_owned(),
    })?;
    let api = Api {
        client: Client::new(config, &root, asking)?,
        root,
    };
    let id = api.collection_id(&config.collection)?;
    let in_collection = [("collection_ids", id.as_str())];
    let with_tags = config.tags.iter().map(|tag| ("tags", tag.as_str()));
    let query: Vec<_> = in_collection.into_iter().chain(with_tags).collect();
    let mut annotations = api.list("annotations", &query)?;
    annotations
        .rows
        .retain(|row| belongs(row, &id) && config.tags.iter().all(|tag| bears(row, tag)));
    let mut layer_groups = api.list("layer_groups", &in_collection)?;
    layer_groups.rows.retain(|row| belongs(row, &id));
    let lists = Lists {
        base: base.clone(),
        layer_groups,
        layers: api.list("layers", &[])?,
        annotations,
    };
    join(&lists, format!("{}, collection {id:?}", api.root))
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

struct Api {
    /// With a slash at its end.
    root: Url,
    client: Client,
}

impl Api {
    /// The id of the collection of that id, or of the only one of that name.
    fn collection_id(&self, wanted: &str) -> Result<String, CollectionError> {
        let list = self.list("collections", &[])?;
        let text =
            |row: &Value, name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        let ids: Vec<String> = list.rows.iter().filter_map(|row| text(row, "id")).collect();
        if ids.iter().any(|id| id == wanted) {
            return Ok(wanted.to_owned());
        }
        let mut called = list
            .rows
            .iter()
            .filter(|row| text(row, "name").as_deref() == Some(wanted))
            .filter_map(|row| text(row, "id"));
        if let (Some(id), None) = (called.next(), called.next()) {
            return Ok(id);
        }
        Err(ApiError::NoCollection {
            url: list.file,
            collection: wanted.to_owned(),
            count: ids.len(),
            hint: nearest(wanted, ids.iter().map(String::as_str)).map(str::to_owned),
        }
        .into())
    }

    /// The rows of `NAME/multiple`: a list, or, from older servers, an object by id.
    fn list(&self, name: &'static str, query: &[(&str, &str)]) -> Result<List, CollectionError> {
        let mut path = format!("{name}/multiple");
        if !query.is_empty() {
            let mut url = self.root.clone();
            url.query_pairs_mut().extend_pairs(query);
            path = format!("{path}?{}", url.query().unwrap_or_default());
        }
        let (bytes, url) = self.client.get(&path)?;
        let rows: Value = parse_document(&bytes, &url, "an answer of zetta_utils' web API")?;
        let rows = match rows {
            Value::Array(rows) => rows,
            Value::Object(rows) => rows
                .into_iter()
                .map(|(id, mut row)| {
                    if let Some(members) = row.as_object_mut() {
                        members.entry("id").or_insert(Value::String(id));
                    }
                    row
                })
                .collect(),
            other => {
                return Err(ApiError::NotRows {
                    url,
                    found: other.to_string().chars().take(80).collect(),
                }
                .into());
            }
        };
        Ok(List {
            file: url,
            name,
            rows,
        })
    }
}
