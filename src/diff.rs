//! What differs between two datasets: config, boxes, annotations, columns, arrays, sources, and shards with the same samples.

mod annotations;
mod boxes;
mod keys;
mod order;
mod samples;
mod shards;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::dataset::{ArrayEntry, Dataset, DatasetError, Manifest, SourceEntry};

/// What two datasets differ in.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Diff {
    /// Whether there is no difference.
    pub equal: bool,
    pub differences: Vec<Difference>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub kind: DifferenceKind,
    /// The key, the box, the array, the layer or the file.
    pub name: String,
    /// What is different: the first dataset's value, then the second one's.
    pub message: String,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DifferenceKind {
    Config,
    Collection,
    Source,
    Array,
    Box,
    /// Samples of a box.
    Annotation,
    /// The order of the samples of a split.
    Order,
    /// Values of samples in a column.
    Column,
    /// A shard with the same samples.
    File,
}

impl DifferenceKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Collection => "collection",
            Self::Source => "source",
            Self::Array => "array",
            Self::Box => "box",
            Self::Annotation => "annotation",
            Self::Order => "order",
            Self::Column => "column",
            Self::File => "file",
        }
    }
}

impl Difference {
    fn new(kind: DifferenceKind, name: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            message: message.into(),
        }
    }
}

/// Compares two datasets.
///
/// # Errors
/// A column cannot be read.
pub(crate) fn compare(a: &Dataset, b: &Dataset) -> Result<Diff, DatasetError> {
    let (of_a, of_b) = (a.manifest(), b.manifest());
    let mut differences = Vec::new();
    compare_values("", &of_a.config, &of_b.config, &mut differences);
    if of_a.collection != of_b.collection {
        let message = format!("{:?}, {:?}", of_a.collection, of_b.collection);
        differences.push(Difference::new(
            DifferenceKind::Collection,
            "collection",
            message,
        ));
    }
    differences.extend(sources(of_a, of_b));
    differences.extend(arrays(of_a, of_b));
    differences.extend(boxes::compare(of_a, of_b));
    differences.extend(annotations::compare(a, b)?);
    let has_others =
        |d: &Difference| matches!(d.kind, DifferenceKind::Box | DifferenceKind::Annotation);
    if !differences.iter().any(has_others) {
        differences.extend(order::compare(a, b)?);
    }
    differences.extend(shards::compare(a, b)?);
    Ok(Diff {
        equal: differences.is_empty(),
        differences,
    })
}

/// The keys of the config below `path` whose values differ.
fn compare_values(path: &str, a: &Value, b: &Value, differences: &mut Vec<Difference>) {
    if a == b {
        return;
    }
    if let (Value::Object(of_a), Value::Object(of_b)) = (a, b) {
        let keys: BTreeSet<_> = of_a.keys().chain(of_b.keys()).collect();
        for key in keys {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            compare_values(&path, &a[key], &b[key], differences);
        }
        return;
    }
    let text = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    let message = format!("{}, {}", text(a), text(b));
    differences.push(Difference::new(DifferenceKind::Config, path, message));
}

/// Layers whose volumes differ. A layer may have several volumes; they are compared in their order.
fn sources(a: &Manifest, b: &Manifest) -> Vec<Difference> {
    let layers: BTreeSet<_> = a
        .sources
        .iter()
        .chain(&b.sources)
        .map(|s| &s.layer)
        .collect();
    let of_layer = |manifest: &Manifest, layer: &str| -> Vec<Value> {
        let of_layer = manifest.sources.iter().filter(|s| s.layer == layer);
        of_layer.map(comparable_source).collect()
    };
    let mut differences = Vec::new();
    for layer in layers {
        let (of_a, of_b) = (of_layer(a, layer), of_layer(b, layer));
        if of_a.len() != of_b.len() {
            let message = format!("{} volume(s), {} volume(s)", of_a.len(), of_b.len());
            differences.push(Difference::new(DifferenceKind::Source, layer, message));
            continue;
        }
        for (of_a, of_b) in of_a.iter().zip(&of_b) {
            differences.extend(members(DifferenceKind::Source, layer, of_a, of_b));
        }
    }
    differences
}

fn comparable_source(source: &SourceEntry) -> Value {
    json!({
        "location": source.location,
        "format": source.format,
        "metadata": source.info_digest,
        "resolution_nm": source.resolution_nm,
    })
}

fn arrays(a: &Manifest, b: &Manifest) -> Vec<Difference> {
    let names: BTreeSet<_> = a.arrays.keys().chain(b.arrays.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        match (a.arrays.get(name), b.arrays.get(name)) {
            (Some(of_a), Some(of_b)) => {
                let (of_a, of_b) = (comparable_array(of_a), comparable_array(of_b));
                differences.extend(members(DifferenceKind::Array, name, &of_a, &of_b));
            }
            (of_a, _) => differences.push(only_in(DifferenceKind::Array, name, of_a.is_some())),
        }
    }
    differences
}

fn comparable_array(array: &ArrayEntry) -> Value {
    json!({
        "layer": array.layer,
        "role": array.role,
        "transform": array.transform,
        "data_type": array.data_type.name(),
        "sample_shape": array.sample_shape,
        "codec": array.codec.map(|c| c.codec),
    })
}

/// The members of two objects that differ.
fn members(kind: DifferenceKind, name: &str, a: &Value, b: &Value) -> Vec<Difference> {
    let keys = a.as_object().into_iter().flat_map(|members| members.keys());
    let differing = keys.filter(|key| a[*key] != b[*key]);
    let of_key = |key: &String| {
        let message = format!("{key}: {}, {}", a[key], b[key]);
        Difference::new(kind, name, message)
    };
    differing.map(of_key).collect()
}

fn only_in(kind: DifferenceKind, name: &str, is_in_first: bool) -> Difference {
    let message = if is_in_first {
        "only in the first dataset"
    } else {
        "only in the second dataset"
    };
    Difference::new(kind, name, message)
}
