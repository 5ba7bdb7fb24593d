//! The dimensions of an N5 dataset in Neuroglancer: their names, in N5's order, and the downsampling factors.

use serde::Deserialize;
use serde_json::Value;

use crate::config::LayerConfig;
use crate::geometry::AXES;
use crate::storage::{Location, MAX_METADATA_BYTES, Storage, Store, parse_document};
use crate::volume::VolumeError;
use crate::volume::format_dimensions::FormatDimensions;

/// Default names of dimensions.
const DEFAULT_NAMES: [&str; 5] = ["x", "y", "z", "t", "c"];

/// Reads the dimensions of the dataset at `location`, or of the first level of the group there.
pub(in crate::volume) fn model_space(
    location: &Location,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<FormatDimensions, VolumeError> {
    let store = storage.open(location);
    let root = attributes(store.as_ref(), "attributes.json")?;
    let is_dataset = root.get("dimensions").is_some();
    let dataset = if is_dataset {
        root.clone()
    } else {
        attributes(store.as_ref(), "s0/attributes.json")?
    };
    let list = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned();
    let rank = list(&dataset, "dimensions").map_or(3, |d| d.len());
    let written = list(&dataset, "axes").or_else(|| list(&root, "axes"));
    let written = written.and_then(|names| Vec::<String>::deserialize(Value::Array(names)).ok());
    let config = layer.axes.as_ref();
    let config = config.map(|axes| axes.chars().map(String::from).collect::<Vec<_>>());
    let is_named = written.is_some() || config.is_some() || rank == 3;
    let default = |d: usize| {
        DEFAULT_NAMES
            .get(d)
            .map_or(format!("d{}", d + 1), |n| (*n).to_owned())
    };
    let names = written
        .or(config)
        .unwrap_or_else(|| (0..rank).map(default).collect());
    // Sizes in a viewer state are those of the voxels before downsampling.
    let own = list(&dataset, "downsamplingFactors").filter(|_| is_dataset);
    let factor = |axis: &str| {
        let position = names.iter().position(|n| n.eq_ignore_ascii_case(axis));
        let factor = own.as_ref()?.get(position?)?.as_f64();
        factor.filter(|f| f.is_finite() && *f > 0.0)
    };
    Ok(FormatDimensions {
        factors: AXES.map(|axis| factor(axis).unwrap_or(1.0)),
        names,
        is_named,
        begins_at_zero: true,
    })
}

/// Reads a document of attributes. Null if there is none.
fn attributes(store: &dyn Store, key: &str) -> Result<Value, VolumeError> {
    let mut bytes = Vec::new();
    if !store.read(key, MAX_METADATA_BYTES, &mut bytes)? {
        return Ok(Value::Null);
    }
    let object = store.describe(key);
    let expected = "the attributes of an N5 dataset";
    Ok(parse_document(&bytes, &object, expected)?)
}
