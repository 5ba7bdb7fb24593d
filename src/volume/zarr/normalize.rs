//! Converts Zarr metadata to the form that zarrs parses.
//!
//! Some tools leave out members, or write values that decoding does not need: the level of a compressor, the byte order
//! of a one-byte type, a fill value of `0.0` for whole numbers. Other readers open such arrays. Each document is
//! rewritten here before zarrs parses it: members that decoding does not need are replaced by constants, and the others
//! are checked. An error contains the member, what was found and what is allowed.

mod codec;
mod flaw;
mod members;
mod scalar;

use serde_json::{Map, Value, json};

pub(super) use flaw::MetadataFlaw;
use members::{extension, lengths, same_rank, separator, whole_number};
use scalar::ScalarType;

/// Converts a `.zarray` document.
pub(super) fn v2_array(document: &Value) -> Result<Value, MetadataFlaw> {
    let object = members(document)?;
    format_version(object, 2)?;
    let shape = lengths(object.get("shape"), "shape", 0)?;
    let chunks = lengths(object.get("chunks"), "chunks", 1)?;
    same_rank(object.get("chunks"), "chunks", chunks.len(), shape.len())?;
    let (scalar, dtype) = ScalarType::from_dtype(object.get("dtype"))?;
    let fill_value = scalar.fill_value(object.get("fill_value"))?;
    let values = codec::ChunkValues {
        bytes: scalar.bytes(),
        rank: shape.len(),
    };
    let order = object.get("order");
    let order = match order.and_then(Value::as_str) {
        Some("C" | "c") => "C",
        Some("F" | "f") => "F",
        _ => return Err(MetadataFlaw::new("order", order, "\"C\" or \"F\"")),
    };
    let separator = separator(
        object.get("dimension_separator"),
        "dimension_separator",
        ".",
    )?;
    let compressor = match object.get("compressor") {
        None | Some(Value::Null) => Value::Null,
        Some(compressor) => codec::v2(compressor, "compressor", values)?,
    };
    let filters = match object.get("filters") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(filters)) => {
            let filters = filters.iter().enumerate();
            let filters = filters.map(|(i, f)| codec::v2(f, &format!("filters[{i}]"), values));
            filters.collect::<Result<_, _>>()?
        }
        other => {
            return Err(MetadataFlaw::new(
                "filters",
                other,
                "a list of codecs, or null",
            ));
        }
    };
    Ok(json!({
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype,
        "fill_value": fill_value,
        "order": order,
        "dimension_separator": separator,
        "compressor": compressor,
        "filters": filters,
    }))
}

/// Known members of a v3 array. `attributes` are read elsewhere.
const V3_MEMBERS: [&str; 11] = [
    "zarr_format",
    "node_type",
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "fill_value",
    "codecs",
    "attributes",
    "storage_transformers",
    "dimension_names",
];

/// Converts the `zarr.json` document of an array.
pub(super) fn v3_array(document: &Value) -> Result<Value, MetadataFlaw> {
    let object = members(document)?;
    format_version(object, 3)?;
    if object.get("node_type").and_then(Value::as_str) != Some("array") {
        let found = object.get("node_type");
        return Err(MetadataFlaw::new(
            "node_type",
            found,
            "\"array\" or \"group\"",
        ));
    }
    let shape = lengths(object.get("shape"), "shape", 0)?;
    let (scalar, data_type) = ScalarType::from_data_type(object.get("data_type"))?;
    let values = codec::ChunkValues {
        bytes: scalar.bytes(),
        rank: shape.len(),
    };
    let codecs = match object.get("codecs") {
        Some(Value::Array(codecs)) => codec::v3_chain(codecs, "codecs", values)?,
        other => return Err(MetadataFlaw::new("codecs", other, "a list of codecs")),
    };
    check_unknown_members(object)?;
    let mut normal = json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": data_type,
        "chunk_grid": chunk_grid(object.get("chunk_grid"), shape.len())?,
        "chunk_key_encoding": chunk_key_encoding(object.get("chunk_key_encoding"))?,
        "fill_value": scalar.fill_value(object.get("fill_value"))?,
        "codecs": codecs,
    });
    let no_transformers = |t: &Value| t.is_null() || t.as_array().is_some_and(Vec::is_empty);
    if let Some(found) = object
        .get("storage_transformers")
        .filter(|t| !no_transformers(t))
    {
        return Err(MetadataFlaw::new(
            "storage_transformers",
            Some(found),
            "none",
        ));
    }
    if let Some(names) = object.get("dimension_names").filter(|n| !n.is_null()) {
        let is_name = |n: &Value| n.is_null() || n.is_string();
        let list = names.as_array().filter(|list| list.iter().all(is_name));
        let list = list.ok_or_else(|| {
            MetadataFlaw::new("dimension_names", Some(names), "a list of strings, or null")
        })?;
        same_rank(Some(names), "dimension_names", list.len(), shape.len())?;
        normal["dimension_names"] = names.clone();
    }
    Ok(normal)
}

fn members(document: &Value) -> Result<&Map<String, Value>, MetadataFlaw> {
    document.as_object().ok_or_else(|| {
        MetadataFlaw::new(".", Some(document), "an object, the metadata of an array")
    })
}

fn format_version(object: &Map<String, Value>, version: u64) -> Result<(), MetadataFlaw> {
    let found = object.get("zarr_format");
    if found.and_then(whole_number) == Some(i128::from(version)) {
        return Ok(());
    }
    Err(MetadataFlaw::new(
        "zarr_format",
        found,
        &version.to_string(),
    ))
}

fn chunk_grid(found: Option<&Value>, rank: usize) -> Result<Value, MetadataFlaw> {
    let (name, configuration) = extension(found, "chunk_grid", "the grid \"regular\"")?;
    if name != "regular" {
        let name = Value::from(name);
        return Err(MetadataFlaw::new("chunk_grid", Some(&name), "\"regular\""));
    }
    let (path, found) = (
        "chunk_grid.configuration.chunk_shape",
        configuration.and_then(|c| c.get("chunk_shape")),
    );
    let chunk_shape = lengths(found, path, 1)?;
    same_rank(found, path, chunk_shape.len(), rank)?;
    Ok(json!({"name": "regular", "configuration": {"chunk_shape": chunk_shape}}))
}

fn chunk_key_encoding(found: Option<&Value>) -> Result<Value, MetadataFlaw> {
    let expected = "\"default\" or \"v2\"";
    let (name, configuration) = extension(found, "chunk_key_encoding", expected)?;
    let default = match name {
        "default" => "/",
        "v2" => ".",
        _ => return Err(MetadataFlaw::new("chunk_key_encoding", found, expected)),
    };
    let separator = separator(
        configuration.and_then(|c| c.get("separator")),
        "chunk_key_encoding.configuration.separator",
        default,
    )?;
    Ok(json!({"name": name, "configuration": {"separator": separator}}))
}

/// Fails on an unknown member, unless it is an object with `"must_understand": false`.
fn check_unknown_members(object: &Map<String, Value>) -> Result<(), MetadataFlaw> {
    for (name, value) in object {
        let ignored = value.get("must_understand") == Some(&Value::Bool(false)) || value.is_null();
        if !ignored && !V3_MEMBERS.contains(&name.as_str()) {
            let expected = "no such member, or one with \"must_understand\": false: it is an unsupported extension";
            return Err(MetadataFlaw::new(name.as_str(), Some(value), expected));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
