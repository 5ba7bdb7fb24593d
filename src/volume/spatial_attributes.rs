//! The position of an array, from the attributes of the array and of the group that contains it.
//!
//! N5 and Zarr don't define attributes for this. Each family of tools writes others:
//!
//! | key | written by | meaning |
//! |---|---|---|
//! | `resolution`, `offset` | daisy, funlib.persistence to 0.4, CNNectome, Paintera | size of a voxel, and lower corner of the first voxel |
//! | `voxel_size`, `offset`, `units`, `axis_names` | funlib.persistence from 0.5 | the same; `^` marks a channel |
//! | `pixelResolution`, `downsamplingFactors`, `scales` | N5Viewer, Neuroglancer, BigDataViewer | size of a voxel of level 0, and how many of them make one |
//! | `transform` | CellMap, COSEM | scale, and the CENTRE of the first voxel, per named axis |
//!
//! Lengths without a unit are in nm, as daisy, funlib.persistence and CellMap write them and Neuroglancer reads them.
//! Lists have the order of the array's dimensions; in N5 that is the order of `dimensions` (daisy and funlib.persistence
//! to 0.4 reverse their lists for N5). funlib.persistence from 0.5 does not reverse, so its lists (`voxel_size`,
//! `axis_names` and related ones) have the reverse order in N5. `transform` defines its own order.
//! Ambiguous attributes are an error that suggests a config key.

mod names;
mod offset;
mod scale;

use serde_json::{Map, Value};

use super::VolumeError;
use super::axes::ArrayAxes;
use super::zarr::unit_symbol;
use crate::config::LayerConfig;
use crate::geometry::{Resolution, length_nm};

pub(super) use names::{DimensionNames, names};

/// The attributes in one metadata document.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttributesDocument<'a> {
    /// Path or URL of the document.
    pub object: &'a str,
    pub attributes: &'a Map<String, Value>,
}

/// The order in which a format lists dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DimensionOrder {
    /// Slowest first: Zarr, numpy.
    C,
    /// Fastest first: N5.
    F,
}

/// The group that contains an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParentGroup<'a> {
    pub document: AttributesDocument<'a>,
    /// Name of the array in the group.
    pub name: &'a str,
    /// The attributes of the group's level `s0`, if they are known.
    pub base: Option<AttributesDocument<'a>>,
}

impl ParentGroup<'_> {
    /// The level number in the array's name, for example 2 for `s2`.
    fn level(&self) -> Option<usize> {
        self.name.strip_prefix('s')?.parse().ok()
    }
}

/// An array with its attributes and those of its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpatialArray<'a> {
    pub own: AttributesDocument<'a>,
    pub parent: Option<ParentGroup<'a>>,
    pub order: DimensionOrder,
    /// Length of each dimension.
    pub shape: &'a [u64],
}

/// The position of an array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ArrayPosition {
    pub axes: ArrayAxes,
    /// `None` if neither the attributes nor the config define it.
    pub resolution: Option<Resolution>,
    pub first_voxel: [i64; 3],
}

impl SpatialArray<'_> {
    /// The position from the config, or else from the attributes. `named` are names of the dimensions from elsewhere in
    /// the metadata. `assumed` are the names for dimensions without names, if there are defaults.
    pub(super) fn place(
        &self,
        layer: &LayerConfig,
        named: Vec<DimensionNames>,
        assumed: Option<Vec<String>>,
    ) -> Result<ArrayPosition, VolumeError> {
        self.refuse_label_multisets()?;
        let names = names(self, layer, named)?.or(assumed);
        let names = names.ok_or_else(|| VolumeError::Incomplete {
            object: self.own.object.to_owned(),
            lacks: self.lacks_names(),
            example: match self.order {
                DimensionOrder::C => "{ \"axes\": \"zyx\" }",
                DimensionOrder::F => "{ \"axes\": \"xyzc\" }",
            },
        })?;
        let axes = ArrayAxes::find(&names, self.shape);
        let shape_key = match self.order {
            DimensionOrder::C => "shape",
            DimensionOrder::F => "dimensions",
        };
        let axes = axes.map_err(|problem| self.own.bad(shape_key, problem))?;
        let stated = match layer.resolution {
            None => scale::resolution(self, &axes)?,
            // The config decides if the attributes contradict each other.
            Some(_) => scale::resolution(self, &axes).unwrap_or_default(),
        };
        let first_voxel = offset::first_voxel(self, &axes, layer, stated)?;
        Ok(ArrayPosition {
            axes,
            resolution: layer.resolution.or(stated),
            first_voxel,
        })
    }

    /// Describes that the dimensions have no names, and which attributes need them.
    fn lacks_names(&self) -> String {
        let (rank, shape) = (self.shape.len(), self.shape);
        let lists = ["resolution", "voxel_size", "offset"];
        let lists = lists.into_iter().filter(|key| self.own.get(key).is_some());
        let lists: Vec<_> = lists.map(|key| format!("`{key}`")).collect();
        let unreadable = if lists.is_empty() {
            String::new()
        } else {
            format!(", which are needed to read {}", lists.join(" and "))
        };
        format!("has {rank} dimensions {shape:?} without the names x, y and z{unreadable}")
    }

    /// The documents of the array and of its group.
    fn documents(&self) -> impl Iterator<Item = AttributesDocument<'_>> {
        let parent = self.parent.as_ref().map(|p| p.document);
        std::iter::once(self.own).chain(parent)
    }

    /// Label multisets of Paintera have a list of labels per voxel. Their bytes look like `uint8` voxels.
    fn refuse_label_multisets(&self) -> Result<(), VolumeError> {
        const KEY: &str = "isLabelMultiset";
        for document in self.documents() {
            if document.get(KEY) == Some(&Value::Bool(true)) {
                let problem = "found true: this is a Paintera label multiset, which has a list of labels and counts for each voxel and is not supported. Convert it to one label per voxel (`paintera-convert to-scalar` of paintera-conversion-helper writes uint64) and use the new dataset";
                return Err(document.bad(KEY, problem.into()));
            }
        }
        Ok(())
    }

    /// The items of `list` for x, y, z. The list has an item for each dimension, or only for x, y, z.
    fn pick<T: Clone>(&self, list: &[T], axes: &ArrayAxes) -> Option<[T; 3]> {
        if list.len() == self.shape.len() {
            return Some(axes.xyz.map(|d| list[d].clone()));
        }
        let before = |d: usize| axes.xyz.iter().filter(|other| **other < d).count();
        (list.len() == 3).then(|| axes.xyz.map(|d| list[before(d)].clone()))
    }
}

impl<'a> AttributesDocument<'a> {
    fn bad(&self, path: &str, problem: String) -> VolumeError {
        VolumeError::InvalidMetadata {
            object: self.object.to_owned(),
            path: path.to_owned(),
            problem,
        }
    }

    /// The member `key`, if it is not null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.attributes.get(key).filter(|v| !v.is_null())
    }

    /// The member `key` as a list of numbers.
    fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, VolumeError> {
        let value = self.get(key);
        value.map(|v| self.as_numbers(key, v)).transpose()
    }

    fn as_numbers(&self, path: &str, value: &Value) -> Result<Vec<f64>, VolumeError> {
        let list = value.as_array();
        let numbers = list.and_then(|l| l.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| self.bad(path, format!("found {value}, expected a list of numbers")))
    }

    /// The units in the member `key`: one for all, or a list.
    fn units(&self, key: &str) -> Result<Option<Units>, VolumeError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let units = match value {
            Value::String(unit) => Some(Units::One(unit.clone())),
            Value::Array(list) => {
                // Channels have no unit.
                let unit = |v: &Value| match v {
                    Value::Null => Some(String::new()),
                    other => other.as_str().map(str::to_owned),
                };
                list.iter()
                    .map(unit)
                    .collect::<Option<_>>()
                    .map(Units::Each)
            }
            _ => None,
        };
        let units = units.ok_or_else(|| {
            self.bad(
                key,
                format!("found {value}, expected a unit or a list of units"),
            )
        })?;
        Ok(Some(units))
    }
}

/// Units of a list of lengths.
#[derive(Clone, Debug)]
enum Units {
    One(String),
    Each(Vec<String>),
}

/// A length in nm. The default unit is nm.
fn nm(value: f64, unit: &str) -> Result<f64, String> {
    let symbol = match unit.trim() {
        "" => "nm",
        unit => unit_symbol(unit),
    };
    length_nm(value, symbol).ok_or_else(|| {
        format!("found the unit {unit:?}, expected a unit of length, such as \"nm\"")
    })
}

/// Formats lengths along x, y, z: `[4.0, 4.0, 40.0] nm (x y z)`.
fn in_nm(lengths: &[f64; 3]) -> String {
    format!("{lengths:?} nm (x y z)")
}

#[cfg(test)]
mod tests;
