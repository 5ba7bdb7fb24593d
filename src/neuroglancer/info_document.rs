//! Reads the `info` file of a precomputed layer, follows its `redirect`, and determines what it describes.
//!
//! The `redirect` of a layer that has moved is the URL of another layer. Neuroglancer (`DataSourceRegistry.get`) and
//! CloudVolume (`redirectable_fetch_info`) read that layer instead, whatever else the info contains. A redirect from a
//! server to local files is an error.

use serde_json::Value;

use crate::storage::{
    DocumentError, Location, MAX_METADATA_BYTES, SourceUrl, Storage, StorageError, parse_document,
};

/// Largest number of consecutive redirects.
const MAX_REDIRECTS: usize = 10;

/// An info file.
#[derive(Debug)]
pub(crate) struct InfoDocument {
    /// Its contents.
    pub(crate) value: Value,
    /// The folder that contains it. Keys in the info are relative to this folder.
    pub(crate) location: Location,
    /// Its name for messages. After redirects, also contains the name of the first info.
    pub(crate) object: String,
    /// Whether a redirect was followed.
    pub(crate) is_redirected: bool,
}

/// Why an info file cannot be read.
#[derive(Debug)]
pub(crate) enum InfoError {
    /// It does not exist, or is not JSON.
    Document(DocumentError),
    /// Its `redirect` cannot be followed.
    Redirect { object: String, problem: String },
}

impl From<DocumentError> for InfoError {
    fn from(e: DocumentError) -> Self {
        Self::Document(e)
    }
}

impl From<StorageError> for InfoError {
    fn from(e: StorageError) -> Self {
        Self::Document(e.into())
    }
}

/// Reads the info file in the folder `location`, or the one that it redirects to. `expected` describes the layer.
pub(crate) fn read_info(
    location: &Location,
    expected: &'static str,
    storage: &Storage,
) -> Result<InfoDocument, InfoError> {
    let mut visited = Vec::new();
    let mut here = location.clone();
    loop {
        let store = storage.open(&here);
        let object = match visited.first() {
            None => store.describe("info"),
            Some(first) => format!("{} (redirected from {first})", store.describe("info")),
        };
        let mut bytes = Vec::new();
        if !store.read("info", MAX_METADATA_BYTES, &mut bytes)? {
            return Err(DocumentError::Missing { object, expected }.into());
        }
        let value: Value = parse_document(&bytes, &object, expected)?;
        visited.push(here.clone());
        match redirect_target(&value, &visited) {
            Ok(Some(target)) => here = target,
            Ok(None) => {
                return Ok(InfoDocument {
                    value,
                    location: here,
                    object,
                    is_redirected: visited.len() > 1,
                });
            }
            Err(problem) => return Err(InfoError::Redirect { object, problem }),
        }
    }
}

/// The target of the redirect in the info file in the last of the folders `visited`. The error is a description for the
/// user.
fn redirect_target(info: &Value, visited: &[Location]) -> Result<Option<Location>, String> {
    let text = match info.get("redirect") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => {
            return Err(format!(
                "found {other}, expected the URL of the layer to read instead"
            ));
        }
    };
    let Some(here) = visited.last() else {
        return Ok(None);
    };
    let target = SourceUrl::parse(text, here).map_err(|e| e.to_string())?;
    match target.format.as_deref() {
        None | Some("precomputed" | "neuroglancer-precomputed") => {}
        Some(format) => {
            return Err(format!(
                "it redirects to {}, a layer of the format `{format}`, expected `precomputed`: use that layer as the source",
                target.location
            ));
        }
    }
    let target = target.location;
    // CloudVolume reads a layer that redirects to itself. If the info contains nothing else, that is an endless loop.
    if target == *here && info.as_object().is_some_and(|members| members.len() > 1) {
        return Ok(None);
    }
    if let (Location::Remote(_), Location::Local(path)) = (here, &target) {
        return Err(format!(
            "it redirects from a server to the local path {}, which is not allowed: use that path as the source if it is right",
            path.display()
        ));
    }
    let chain = || {
        let places = visited.iter().chain([&target]).map(Location::to_string);
        places.collect::<Vec<_>>().join(" -> ")
    };
    if visited.contains(&target) {
        return Err(format!(
            "it redirects in a loop: {}; use the location where the layer is stored as the source",
            chain()
        ));
    }
    if visited.len() > MAX_REDIRECTS {
        return Err(format!(
            "found more than {MAX_REDIRECTS} redirects in a row: {}; use the location where the layer is stored as the source",
            chain()
        ));
    }
    Ok(Some(target))
}

/// What an info describes, from its `@type`, or else from its members. `None` if it is unknown.
pub(crate) fn info_kind(info: &Value) -> Option<&'static str> {
    let has = |name: &str| info.get(name).is_some_and(|v| !v.is_null());
    match info.get("@type").and_then(Value::as_str) {
        Some("neuroglancer_multiscale_volume") => Some(VOLUME),
        Some("neuroglancer_annotations_v1") => Some(ANNOTATIONS),
        Some("neuroglancer_multilod_draco" | "neuroglancer_legacy_mesh") => Some("meshes"),
        Some("neuroglancer_skeletons") => Some("skeletons"),
        Some("neuroglancer_segment_properties") => Some("properties of segments"),
        Some(_) => None,
        None if info.get("type").and_then(Value::as_str) == Some("volumetric_tabular") => {
            Some("a volumetric tabular layer")
        }
        None if has("annotation_type") || has("spatial") => Some(ANNOTATIONS),
        None if has("scales") => Some(VOLUME),
        None if has("vertex_attributes") => Some("skeletons"),
        None => None,
    }
}

/// The result of [`info_kind`] for a volume.
pub(crate) const VOLUME: &str = "a volume";
/// The result of [`info_kind`] for annotations.
pub(crate) const ANNOTATIONS: &str = "an annotation layer";

#[cfg(test)]
mod tests;
