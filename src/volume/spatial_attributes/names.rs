//! The names of an array's dimensions, from the config, its metadata and its attributes.

use serde_json::Value;

use super::array::{DimensionOrder, SpatialArray};
use super::document::AttributesDocument;
use crate::config::LayerConfig;
use crate::volume::VolumeError;

/// The attributes that are lists of names: Neuroglancer's and CellMap's, xarray's, funlib's.
pub(in crate::volume) const NAME_KEYS: [&str; 3] = ["axes", "_ARRAY_DIMENSIONS", "axis_names"];

/// Names of all dimensions in the array's order, and the path of the member that has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::volume) struct DimensionNames {
    pub path: String,
    pub names: Vec<String>,
}

/// The names of the dimensions, or `None` if nothing defines them. The config may define names that the file does not
/// define. If both define them, they must agree.
pub(in crate::volume) fn dimension_names(
    array: &SpatialArray<'_>,
    layer: &LayerConfig,
    mut named: Vec<DimensionNames>,
) -> Result<Option<Vec<String>>, VolumeError> {
    for document in array.documents() {
        named.extend(names_in_attributes(&document, array.order));
        if let Some(names) = names_in_transform(&document, array.order) {
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
        return match named.iter().find(|other| !names_agree(&first.names, &other.names)) {
            None => Ok(Some(first.names.clone())),
            Some(other) => Err(array.own.invalid(
                &first.path,
                format!(
                    "it names the dimensions {:?}, but `{}` names them {:?}: set the right names as `axes` in the config's `layers`",
                    first.names, other.path, other.names
                ),
            )),
        };
    };
    if config.len() != array.shape.len() || named.iter().any(|n| names_agree(&n.names, &config)) {
        return Ok(Some(config));
    }
    let order = match array.order {
        DimensionOrder::C => "in the order of `shape`",
        DimensionOrder::F => "in the order of `dimensions`",
    };
    Err(array.own.invalid(
        &first.path,
        format!(
            "the file names the dimensions {:?}, but `axes` in the config's `layers` names them {:?} ({order}): remove `axes` there, or correct it",
            first.names,
            config.concat()
        ),
    ))
}

/// The lists of names in the attributes.
fn names_in_attributes(
    document: &AttributesDocument<'_>,
    order: DimensionOrder,
) -> Vec<DimensionNames> {
    let mut found = Vec::new();
    for key in NAME_KEYS {
        let Some(mut names) = document.get(key).and_then(strings) else {
            continue;
        };
        // Python tools write the slowest dimension first, in N5 too.
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

/// The names in `transform`. They are listed from the slowest dimension unless `order` is `F`.
fn names_in_transform(
    document: &AttributesDocument<'_>,
    order: DimensionOrder,
) -> Option<DimensionNames> {
    let transform = document.get("transform")?;
    let mut names = strings(transform.get("axes")?)?;
    let fastest_first = transform.get("order").and_then(Value::as_str) == Some("F");
    if fastest_first != (order == DimensionOrder::F) {
        names.reverse();
    }
    Some(DimensionNames {
        path: "transform.axes".to_owned(),
        names,
    })
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?;
    list.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Removes funlib's mark of channels: `channel^` becomes `channel`, `c0^` becomes `c`.
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

/// Whether two lists of names can both be right. Generic names such as `dim_0` agree with any name.
fn names_agree(a: &[String], b: &[String]) -> bool {
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
