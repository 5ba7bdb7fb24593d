//! The job description: JSON in, a validated [`Config`] out.
//!
//! Every default lives here. Unknown keys, wrong types and impossible values end in one error that names
//! the file, the JSON path, what was found and what is allowed.

mod array;
mod choice;
mod collection;
mod error;
mod layer;
mod nearest;
mod points;
mod split;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{AxisOrder, Resolution, Window};

pub use array::{
    ArrayConfig, Interpolation, MissingObject, ObjectAt, ObjectPoint, Role, Scale, Transform,
};
pub use choice::{ChoiceConfig, PropertyFilter, PropertyValue, Repeats};
pub use collection::{
    BoxLayerConfig, CollectionConfig, CollectionSource, StateBoxesConfig, ZettaApiConfig,
};
pub use error::ConfigError;
pub use layer::{Forbidden, LayerConfig};
pub(crate) use nearest::nearest;
pub use points::{CsvConfig, CsvUnit, PointsConfig, PointsFrom, StatePointsConfig};
pub use split::SplitConfig;

/// A job: which windows to cut, out of which layers, into which splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The collection of bounding boxes: the path of a file or folder, or an object that names another
    /// kind of source. Relative paths count from the config's folder.
    pub collection: CollectionConfig,
    /// Size of a voxel of the windows in nm, x y z. Every layer must have a scale of this resolution.
    #[schemars(with = "[f64; 3]", extend("items" = serde_json::json!({"type": "number", "exclusiveMinimum": 0})))]
    pub resolution: Resolution,
    /// Size of a window in voxels, x y z.
    #[schemars(with = "[u32; 3]", extend("items" = serde_json::json!({"type": "integer", "minimum": 1, "maximum": 65536})))]
    pub window: Window,
    /// Which annotations are samples.
    pub points: PointsConfig,
    /// The arrays to write: output name, then the layer that it is cut out of.
    #[schemars(length(min = 1))]
    pub arrays: IndexMap<String, ArrayConfig>,
    /// What the sources of volume layers do not say about themselves: the layer's name, as in `arrays`, then
    /// its resolution, offset and axes, and what its server means by 403.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub layers: IndexMap<String, LayerConfig>,
    /// The splits to write: name, then the tags that a box must all bear to belong to it, or an object
    /// with `all`, `any` and `none`.
    #[schemars(length(min = 1))]
    pub splits: IndexMap<String, SplitConfig>,
    /// Whether the z of `resolution` gives way, per layer group, to the smallest that all its layers have. A window
    /// keeps its number of voxels.
    #[serde(default)]
    pub flexible_z: bool,
    /// Whether the corners of boxes are moved before points are held against them.
    #[serde(default)]
    pub snap: Snap,
    /// What becomes of samples whose window leaves the volume of a layer.
    #[serde(default)]
    pub outside: Outside,
    /// The order of the arrays' axes after `sample`.
    #[serde(default)]
    pub axis_order: AxisOrder,
    /// What happens when windows of two splits share voxels.
    #[serde(default)]
    pub leaks: Leaks,
    /// What a source chunk that is not stored means.
    #[serde(default)]
    pub missing: Missing,
    /// Samples per shard file. Without it, as many as make the largest array's shard about 128 MiB
    /// before compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub shard_samples: Option<u32>,
}

/// What happens when windows of two splits share voxels of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaks {
    /// Stop before anything is written.
    #[default]
    Error,
    /// Say so, and go on.
    Warn,
    /// Do not look.
    Allow,
    /// Drop the samples of this split that share voxels with another one's, and count them.
    DropFrom(String),
}

/// Whether the corners of boxes are moved before points are held against them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Snap {
    /// They stay as given.
    #[default]
    None,
    /// As in zetta_utils: cut to whole nm, then down to whole voxels.
    Zetta,
}

/// What becomes of samples whose window leaves the volume of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// The voxels outside read as the fill value.
    #[default]
    Pad,
    /// They are dropped, and counted.
    Drop,
}

/// What a source chunk that is not stored means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It reads as the layer's fill value, which is 0 but for Zarr arrays that say otherwise, and is counted.
    #[default]
    Zeros,
    /// It is an error.
    Error,
}

/// Names that an array cannot have: the index columns stand beside the arrays.
const COLUMN_NAMES: [&str; 5] = [
    "annotation_id",
    "box",
    "center_nm",
    "start_voxel",
    "resolution_nm",
];

impl Config {
    /// Reads and validates the config file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Read {
            file: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Parses and validates `text`, the contents of the file `file` (for messages).
    pub fn parse(text: &[u8], file: &Path) -> Result<Self, ConfigError> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let config: Config = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|e| ConfigError::from_json(file, e))?;
        deserializer
            .end()
            .map_err(|e| ConfigError::invalid(file, ".", e.to_string()))?;
        config.validate(file)?;
        Ok(config)
    }

    /// The JSON Schema of the config.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Config).to_value()
    }

    fn validate(&self, file: &Path) -> Result<(), ConfigError> {
        let invalid =
            |path: String, problem: String| Err(ConfigError::invalid(file, path, problem));
        if let Some((path, problem)) = self.collection.problem() {
            return invalid(format!("collection{path}"), problem);
        }
        if self.arrays.is_empty() {
            return invalid(
                "arrays".into(),
                "found no array, expected at least one".into(),
            );
        }
        for name in self.arrays.keys() {
            if let Some(problem) = bad_name(name) {
                return invalid(format!("arrays.{name}"), problem);
            }
            if COLUMN_NAMES.contains(&name.as_str())
                || name.starts_with("property_")
                || ["_nonzero_fraction", "_start_voxel", "_object_id"]
                    .iter()
                    .any(|end| name.ends_with(end))
            {
                return invalid(
                    format!("arrays.{name}"),
                    format!("the name `{name}` is taken by an index column, expected another name"),
                );
            }
        }
        for (name, array) in &self.arrays {
            if let Some((key, problem)) = array.problem() {
                return invalid(format!("arrays.{name}{key}"), problem);
            }
            let masked = name
                .strip_suffix("_mask")
                .filter(|t| self.arrays.contains_key(*t));
            if array.role == Some(Role::Mask) && masked.is_none() {
                return invalid(
                    format!("arrays.{name}.role"),
                    "a mask is named after the array that it masks, expected the name of another array and `_mask`".into(),
                );
            }
        }
        for (name, layer) in &self.layers {
            let mut used = self.arrays.values().map(|a| a.layer.as_str());
            if !used.any(|l| l == name) {
                let used = || self.arrays.values().map(|a| a.layer.as_str());
                let hint = nearest(name, used());
                let hint = hint.map_or(String::new(), |h| format!("; did you mean `{h}`?"));
                let names: Vec<_> = used().collect();
                return invalid(
                    format!("layers.{name}"),
                    format!(
                        "no array is cut out of a layer `{name}`, expected one of {}{hint}",
                        names.join(", ")
                    ),
                );
            }
            if let Some((key, problem)) = layer.problem() {
                return invalid(format!("layers.{name}.{key}"), problem);
            }
        }
        if self.splits.is_empty() {
            return invalid(
                "splits".into(),
                "found no split, expected at least one".into(),
            );
        }
        for (name, split) in &self.splits {
            if let Some(problem) = bad_name(name) {
                return invalid(format!("splits.{name}"), problem);
            }
            if split.tags().next().is_none() {
                return invalid(
                    format!("splits.{name}"),
                    "found no tag, expected the tags that a box of this split must bear".into(),
                );
            }
        }
        if let Leaks::DropFrom(split) = &self.leaks
            && !self.splits.contains_key(split)
        {
            return invalid(
                "leaks.drop_from".into(),
                format!("found {split:?}, expected the name of a split"),
            );
        }
        if let Some(samples @ (0 | 1_048_577..)) = self.shard_samples {
            return invalid(
                "shard_samples".into(),
                format!("found {samples}, expected a whole number from 1 to 1048576"),
            );
        }
        Ok(())
    }
}

/// What is wrong with `name` as the name of a folder in the output, if anything.
fn bad_name(name: &str) -> Option<String> {
    let ok = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    (!ok).then(|| {
        format!("found the name {name:?}, expected 1 to 64 of A-Z a-z 0-9 _ - . that start with a letter or digit")
    })
}

/// A config and the file that it came from.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// The file; relative paths in the config count from its folder.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Anchor;
    use serde_json::{Value, json};

    fn example() -> Value {
        json!({
            "collection": "collection.json",
            "resolution": [4.6, 4.6, 45.0],
            "window": [64, 64, 16],
            "points": { "layer": "points" },
            "arrays": { "img": { "layer": "img" } },
            "splits": { "train": ["train"], "val": ["val"] },
        })
    }

    fn error_of(change: impl FnOnce(&mut Value)) -> String {
        let mut value = example();
        change(&mut value);
        Config::parse(value.to_string().as_bytes(), Path::new("job.json"))
            .expect_err("the config should be refused")
            .to_string()
    }

    #[test]
    fn a_short_config_gets_its_defaults() {
        let config =
            Config::parse(example().to_string().as_bytes(), Path::new("job.json")).unwrap();
        assert_eq!(config.leaks, Leaks::Error);
        assert_eq!(config.missing, Missing::Zeros);
        assert_eq!(config.points.anchor, Anchor::Midpoint);
        assert_eq!(config.shard_samples, None);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_path_and_the_nearest_key() {
        let e = error_of(|v| v["windw"] = json!([1, 1, 1]));
        assert!(
            e.contains("job.json") && e.contains("`windw`") && e.contains("did you mean `window`"),
            "{e}"
        );
        let e = error_of(|v| v["arrays"]["img"]["layr"] = json!("img"));
        assert!(
            e.contains("arrays.img") && e.contains("did you mean `layer`"),
            "{e}"
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        let e = error_of(|v| v["window"][1] = json!("64"));
        assert!(
            e.contains("`window[1]`") && e.contains("string \"64\""),
            "{e}"
        );
        let e = error_of(|v| v["splits"]["train"] = json!("train"));
        assert!(e.contains("`splits.train`"), "{e}");
        let e = error_of(|v| v["points"]["anchor"] = json!("end_"));
        assert!(
            e.contains("`points.anchor`") && e.contains("did you mean `end`"),
            "{e}"
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        let e = error_of(|v| {
            v.as_object_mut().unwrap().remove("resolution");
        });
        assert!(e.contains("`resolution`"), "{e}");
    }

    #[test]
    fn impossible_values_are_refused() {
        let e = error_of(|v| v["window"] = json!([0, 64, 16]));
        assert!(
            e.contains("`window`") && e.contains("[0, 64, 16]") && e.contains("from 1"),
            "{e}"
        );
        let e = error_of(|v| v["resolution"] = json!([4.6, -4.6, 45]));
        assert!(
            e.contains("`resolution`") && e.contains("greater than 0"),
            "{e}"
        );
        let e = error_of(|v| v["arrays"] = json!({}));
        assert!(e.contains("`arrays`"), "{e}");
        let e = error_of(|v| v["arrays"] = json!({"../x": {"layer": "img"}}));
        assert!(e.contains("../x"), "{e}");
        let e = error_of(|v| v["arrays"] = json!({"box": {"layer": "img"}}));
        assert!(e.contains("index column"), "{e}");
        let e = error_of(|v| v["splits"]["train"] = json!([]));
        assert!(e.contains("`splits.train`"), "{e}");
        let e = error_of(|v| v["shard_samples"] = json!(0));
        assert!(e.contains("`shard_samples`"), "{e}");
    }

    #[test]
    fn every_kind_of_source_is_read_and_written_as_it_was() {
        for (key, value) in [
            (
                "collection",
                json!({"neuroglancer_state": {"source": "state.json", "layer": "boxes"}}),
            ),
            (
                "collection",
                json!({"zetta_api": {"url": "https://host", "collection": "c", "token_env": "T"}}),
            ),
            (
                "collection",
                json!({"boxes": {"source": "boxes", "layers": {"img": "./img"}, "tags": ["train"]}}),
            ),
            (
                "points",
                json!({"neuroglancer_state": {"source": "https://h/#!{}"}, "anchor": "start"}),
            ),
            (
                "points",
                json!({"csv": {"file": "a.csv", "unit": "voxel", "resolution": [4.0, 4.0, 40.0],
                "point": ["x", "y", "z"], "properties": {"n": "uint8"}}, "anchor": "midpoint"}),
            ),
        ] {
            let mut config = example();
            config[key] = value.clone();
            let config =
                Config::parse(config.to_string().as_bytes(), Path::new("job.json")).unwrap();
            assert_eq!(json!(config)[key], value);
        }
    }

    #[test]
    fn a_wrong_source_is_named_with_its_path_and_what_is_allowed() {
        let e = error_of(|v| v["collection"] = json!(7));
        assert!(
            e.contains("`collection`") && e.contains("a path, or an object"),
            "{e}"
        );
        let e = error_of(|v| v["collection"] = json!({"zeta_api": {}}));
        assert!(
            e.contains("`collection") && e.contains("did you mean `zetta_api`"),
            "{e}"
        );
        let e = error_of(|v| v["collection"] = json!({"boxes": {}, "zetta_api": {}}));
        assert!(e.contains("`collection"), "{e}");
        let e = error_of(|v| v["collection"] = json!({}));
        assert!(e.contains("`collection"), "{e}");
        let e = error_of(|v| v["collection"] = json!({"zetta_api": {"url": "https://h"}}));
        assert!(
            e.contains("`collection.zetta_api`") && e.contains("`collection`"),
            "{e}"
        );
        let e = error_of(|v| {
            v["collection"] = json!({"neuroglancer_state": {"source": "s", "layr": "x"}})
        });
        assert!(e.contains("did you mean `layer`"), "{e}");
        let e = error_of(|v| {
            v["collection"] = json!({"zetta_api": {"url": "host", "collection": "c"}})
        });
        assert!(
            e.contains("`collection.zetta_api.url`") && e.contains("\"host\""),
            "{e}"
        );
        let e = error_of(|v| {
            v["collection"] =
                json!({"zetta_api": {"url": "https://h", "collection": "c", "token_env": "ey.J0"}});
        });
        assert!(e.contains("token_env`") && !e.contains("ey.J0"), "{e}");
        let e = error_of(|v| v["collection"] = json!({"boxes": {"source": "s", "layers": {}}}));
        assert!(e.contains("`collection.boxes.layers`"), "{e}");
    }

    #[test]
    fn annotations_come_from_one_source_whose_columns_make_sense() {
        let e = error_of(|v| v["points"] = json!({}));
        assert!(e.contains("`points`") && e.contains("`csv`"), "{e}");
        let e = error_of(|v| v["points"]["neuroglancer_state"] = json!({"source": "s"}));
        assert!(e.contains("several sources"), "{e}");
        let csv = |change: fn(&mut Value)| {
            error_of(|v| {
                v["points"] =
                    json!({"csv": {"file": "a.csv", "unit": "nm", "point": ["x", "y", "z"]}});
                change(&mut v["points"]["csv"]);
            })
        };
        let e = csv(|c| c["unit"] = json!("voxels"));
        assert!(
            e.contains("`points.csv.unit`") && e.contains("did you mean `voxel`"),
            "{e}"
        );
        assert!(csv(|c| c["unit"] = json!("voxel")).contains("`resolution`"));
        assert!(csv(|c| c["resolution"] = json!([1, 1, 1])).contains("needs none"));
        assert!(csv(|c| c["end"] = json!(["a", "b", "c"])).contains("`start` and `end`"));
        assert!(csv(|c| c["delimiter"] = json!("a")).contains("`csv.delimiter`"));
        let e = csv(|c| c["properties"] = json!({"n": "int64"}));
        assert!(
            e.contains("`points.csv.properties.n`") && e.contains("uint32"),
            "{e}"
        );
        let e = csv(|c| c["point"] = json!(["x", "y"]));
        assert!(e.contains("`points.csv.point"), "{e}");
    }

    #[test]
    fn what_a_layer_lacks_is_strict_too() {
        let e = error_of(|v| v["layers"] = json!({"imgs": {}}));
        assert!(
            e.contains("`layers.imgs`") && e.contains("did you mean `img`"),
            "{e}"
        );
        let e = error_of(|v| v["layers"] = json!({"img": {"offset": [0, 0, 0]}}));
        assert!(
            e.contains("`offset`") && e.contains("`voxel_offset`"),
            "{e}"
        );
        for axes in ["zy", "zyxx", "ZYX", "z y x", "zyxabcdefg", "éxyz", ""] {
            let e = error_of(|v| v["layers"] = json!({"img": {"axes": axes}}));
            assert!(e.contains("`layers.img.axes`") && e.contains("zyx"), "{e}");
        }
        let e = error_of(|v| v["layers"] = json!({"img": {"voxel_offset": [i64::MAX, 0, 0]}}));
        assert!(e.contains("`layers.img.voxel_offset`"), "{e}");
        let e = error_of(|v| v["layers"] = json!({"img": {"resolution": [0, 1, 1]}}));
        assert!(e.contains("`layers.img.resolution`"), "{e}");
    }

    #[test]
    fn the_schema_lists_every_key() {
        let schema = Config::schema();
        let full = json!({"leaks": 0, "missing": 0, "layers": 0, "shard_samples": 0});
        for key in example()
            .as_object()
            .unwrap()
            .keys()
            .chain(full.as_object().unwrap().keys())
        {
            assert!(schema["properties"][key].is_object(), "{key}");
        }
    }
}
