//! Names of an array's dimensions: from the config, from its metadata, from its attributes.

use serde_json::Value;

use super::{AttributesDocument, DimensionOrder, SpatialArray};
use crate::config::LayerConfig;
use crate::volume::VolumeError;

/// Names of all dimensions, in the array's order, and where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::volume) struct DimensionNames {
    pub path: String,
    pub names: Vec<String>,
}

/// The names of the dimensions; `None` where nothing says them. The config may name what the file does not; where
/// both do, they must agree.
pub(in crate::volume) fn names(
    array: &SpatialArray<'_>,
    layer: &LayerConfig,
    mut named: Vec<DimensionNames>,
) -> Result<Option<Vec<String>>, VolumeError> {
    for document in array.documents() {
        named.extend(of_attributes(&document, array.order));
        if let Some(names) = of_transform(&document, array.order) {
            named.push(names);
        }
    }
    named.retain(|n| n.names.len() == array.shape.len() && n.names.iter().any(|n| is_axis(n)));
    let config = layer.axes.as_ref();
    let config = config.map(|axes| axes.chars().map(String::from).collect::<Vec<_>>());
    let Some(first) = named.first() else {
        return Ok(config);
    };
    let Some(config) = config else {
        return match named.iter().find(|other| !agree(&first.names, &other.names)) {
            None => Ok(Some(first.names.clone())),
            Some(other) => Err(array.own.bad(
                &first.path,
                format!(
                    "it names the dimensions {:?}, but `{}` names them {:?}: say which is right as `axes` in the config's `layers`",
                    first.names, other.path, other.names
                ),
            )),
        };
    };
    if config.len() != array.shape.len() || named.iter().any(|n| agree(&n.names, &config)) {
        return Ok(Some(config));
    }
    let order = match array.order {
        DimensionOrder::C => "in the order of `shape`",
        DimensionOrder::F => "in the order of `dimensions`",
    };
    Err(array.own.bad(
        &first.path,
        format!(
            "the file names the dimensions {:?}, but `axes` in the config's `layers` names them {:?} ({order}): remove `axes` there, or correct it",
            first.names,
            config.concat()
        ),
    ))
}

/// Lists of names among the attributes: Neuroglancer's and CellMap's `axes`, funlib's `axis_names`, xarray's.
fn of_attributes(document: &AttributesDocument<'_>, order: DimensionOrder) -> Vec<DimensionNames> {
    let mut found = Vec::new();
    for key in ["axes", "_ARRAY_DIMENSIONS", "axis_names"] {
        let Some(mut names) = document.get(key).and_then(texts) else {
            continue;
        };
        // What Python writes into N5 it counts from the slowest.
        if key != "axes" && order == DimensionOrder::F {
            names.reverse();
        }
        found.push(DimensionNames {
            path: key.to_owned(),
            names: names.iter().map(|n| without_mark(n)).collect(),
        });
    }
    found
}

/// The names in `transform`, which counts from the slowest unless its `order` says `F`.
fn of_transform(
    document: &AttributesDocument<'_>,
    order: DimensionOrder,
) -> Option<DimensionNames> {
    let transform = document.get("transform")?;
    let mut names = texts(transform.get("axes")?)?;
    let fastest_first = transform.get("order").and_then(Value::as_str) == Some("F");
    if fastest_first != (order == DimensionOrder::F) {
        names.reverse();
    }
    Some(DimensionNames {
        path: "transform.axes".to_owned(),
        names,
    })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?;
    list.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

/// funlib's `channel^` as `channel`, its `c0^` as `c`.
fn without_mark(name: &str) -> String {
    match name.strip_suffix('^') {
        Some(channel) if channel.trim_end_matches(|c: char| c.is_ascii_digit()) == "c" => {
            "c".into()
        }
        Some(name) => name.to_owned(),
        None => name.to_owned(),
    }
}

fn is_axis(name: &str) -> bool {
    ["x", "y", "z"].contains(&name.to_lowercase().as_str())
}

/// Whether two lists of names can both be right: names that say nothing, such as `dim_0`, agree with any.
fn agree(a: &[String], b: &[String]) -> bool {
    let meaning = |name: &String| match name.to_lowercase().as_str() {
        "x" => Some('x'),
        "y" => Some('y'),
        "z" => Some('z'),
        "t" | "time" => Some('t'),
        "c" | "ch" | "channel" | "channels" => Some('c'),
        _ => None,
    };
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| match (meaning(a), meaning(b)) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            })
}
