//! The layers of a state, and the one source that each is read from.

use serde_json::{Map, Value};

use super::{Field, GeometryKind, StateError};
use crate::geometry::length_nm;
use crate::storage::redacted_source;

/// A layer as the state writes it.
#[derive(Debug)]
pub struct StateLayer {
    name: String,
    /// Its place in the document.
    pub(super) path: String,
    pub(super) members: Map<String, Value>,
    sources: Vec<Source>,
}

/// One of a layer's data sources.
#[derive(Debug)]
struct Source {
    url: String,
    transform: Option<Value>,
}

/// Where a layer's data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerSource {
    /// At a URL, as written in the state.
    At(String),
    /// In the state itself.
    Local,
    /// Nowhere that can be read; says why.
    Refused(String),
}

/// The layers under `layers`: a list, or, as old states have it, an object by name.
pub(super) fn parse_all(
    layers: Option<Value>,
    root: &Field,
) -> Result<Vec<StateLayer>, StateError> {
    let at = root.member("layers");
    let mut parsed: Vec<StateLayer> = Vec::new();
    let mut add = |at: Field, name: Option<String>, value: Value| {
        let Value::Object(members) = value else {
            return Err(at.is_not(&value, "a layer, which is an object"));
        };
        let name = match (name, members.get("name")) {
            (Some(name), _) => name,
            (None, Some(Value::String(name))) => name.clone(),
            (None, other) => {
                return Err(at
                    .member("name")
                    .is_not(other.unwrap_or(&Value::Null), "the layer's name"));
            }
        };
        if parsed.iter().any(|layer| layer.name == name) {
            return Err(at
                .member("name")
                .wrong(format!("{name:?} again"), "each name once"));
        }
        let sources = sources(members.get("source"), &at.member("source"))?;
        parsed.push(StateLayer {
            name,
            path: at.path,
            members,
            sources,
        });
        Ok(())
    };
    match layers {
        Some(Value::Array(list)) => {
            for (i, value) in list.into_iter().enumerate() {
                add(at.item(i), None, value)?;
            }
        }
        Some(Value::Object(by_name)) => {
            for (name, value) in by_name {
                let value = match value {
                    Value::String(_) => serde_json::json!({ "source": value }),
                    value => value,
                };
                add(at.member(&name), Some(name), value)?;
            }
        }
        other => return Err(at.is_not(&other.unwrap_or(Value::Null), "the list of layers")),
    }
    Ok(parsed)
}

/// A source is a string, an object with a `url`, or a list of such.
fn sources(value: Option<&Value>, at: &Field) -> Result<Vec<Source>, StateError> {
    let one = |value: &Value, at: &Field| match value {
        Value::String(url) => Ok(Source {
            url: url.clone(),
            transform: None,
        }),
        Value::Object(members) => match members.get("url") {
            Some(Value::String(url)) => Ok(Source {
                url: url.clone(),
                transform: members.get("transform").filter(|t| !t.is_null()).cloned(),
            }),
            other => Err(at
                .member("url")
                .is_not(other.unwrap_or(&Value::Null), "a URL")),
        },
        other => Err(at.is_not(other, "a URL, or an object with a `url`")),
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .enumerate()
            .map(|(i, value)| one(value, &at.item(i)))
            .collect(),
        Some(value) => Ok(vec![one(value, at)?]),
    }
}

impl StateLayer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its data are read from: the first source that is not inside the state. (Meshes and skeletons
    /// of a segmentation stand behind it.)
    pub fn source(&self) -> LayerSource {
        if self.is_local() {
            return LayerSource::Local;
        }
        let Some(source) = self.sources.iter().find(|s| !is_inside(s)) else {
            return LayerSource::Refused("it has no source in the viewer state".to_owned());
        };
        match source.transform.as_ref().and_then(|t| moves(t, false)) {
            Some(how) => LayerSource::Refused(format!(
                "the viewer state shows {} elsewhere than it lies: {how}, which is not read; \
                 name the layer's source in a collection file instead",
                redacted_source(&source.url)
            )),
            None => LayerSource::At(source.url.clone()),
        }
    }

    /// Whether it is a layer of annotations, which lie in the state or elsewhere.
    pub fn is_annotations(&self) -> bool {
        self.is_local() || self.members.get("type").is_some_and(|t| t == "annotation")
    }

    /// Whether its annotations stand in the state.
    pub(super) fn is_local(&self) -> bool {
        match self.sources.is_empty() {
            true => self.members.contains_key("annotations"),
            false => self
                .sources
                .iter()
                .all(|s| s.url.trim_end_matches('/') == "local://annotations"),
        }
    }

    /// Whether one of its annotations is of these kinds.
    pub(super) fn holds_any(&self, kinds: &[GeometryKind]) -> bool {
        let rows = self.members.get("annotations").and_then(Value::as_array);
        rows.into_iter().flatten().any(|row| {
            let kind = row.get("type").and_then(Value::as_str);
            kind.and_then(GeometryKind::from_name)
                .is_some_and(|kind| kinds.contains(&kind))
        })
    }

    /// How its local annotations are moved, if they are; nothing moves them where units alone are given.
    pub(super) fn transform(&self) -> Option<&Value> {
        self.sources.iter().find_map(|s| s.transform.as_ref())
    }
}

fn is_inside(source: &Source) -> bool {
    source.url.starts_with("local://")
}

/// What `transform` does to coordinates, in words, if it does anything. Of data that lie elsewhere nobody
/// knows here the units that they come with: `outputDimensions` alone may scale them, unless `is_local`.
pub(super) fn moves(transform: &Value, is_local: bool) -> Option<String> {
    let Some(members) = transform.as_object() else {
        return Some("its `transform` is not an object".to_owned());
    };
    let given = |name: &str| members.get(name).filter(|v| !v.is_null());
    if given("matrix").is_some_and(|matrix| !is_identity(matrix)) {
        return Some("its `transform` has a `matrix` other than the identity".to_owned());
    }
    match (given("inputDimensions"), given("outputDimensions")) {
        (Some(from), Some(to)) if !same_units(from, to) => {
            Some("its `transform` has `outputDimensions` other than `inputDimensions`".to_owned())
        }
        (None, Some(_)) if !is_local => Some(
            "its `transform` has `outputDimensions` without the `inputDimensions` that they replace"
                .to_owned(),
        ),
        _ => None,
    }
}

fn is_identity(matrix: &Value) -> bool {
    let Some(rows) = matrix.as_array() else {
        return false;
    };
    rows.iter().enumerate().all(|(i, row)| {
        row.as_array().is_some_and(|row| {
            row.len() == rows.len() + 1
                && row
                    .iter()
                    .enumerate()
                    .all(|(j, value)| value.as_f64() == Some(if i == j { 1.0 } else { 0.0 }))
        })
    })
}

/// Whether two coordinate spaces have the same units in the same order; names may differ.
fn same_units(a: &Value, b: &Value) -> bool {
    let units = |space: &Value| -> Option<Vec<(f64, String)>> {
        let members = space.as_object()?.values();
        members
            .map(|pair| {
                let scale = pair.get(0)?.as_f64()?;
                let unit = pair.get(1)?.as_str()?;
                Some(match length_nm(scale, unit) {
                    Some(nm) => (nm, "nm".to_owned()),
                    None => (scale, unit.to_owned()),
                })
            })
            .collect()
    };
    units(a).is_some() && units(a) == units(b)
}
