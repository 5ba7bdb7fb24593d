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

mod array;
mod document;
mod likely_names;
mod names;
mod offset;
mod scale;
mod units;

use serde_json::Value;

use super::VolumeError;
use super::axes::ArrayAxes;
use crate::config::LayerConfig;
use crate::geometry::Resolution;

pub(super) use array::{DimensionOrder, ParentGroup, SpatialArray};
pub(super) use document::AttributesDocument;
use likely_names::likely_names;
pub(super) use names::{DimensionNames, NAME_KEYS, dimension_names};

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
    pub(super) fn position(
        &self,
        layer: &LayerConfig,
        named: Vec<DimensionNames>,
        assumed: Option<Vec<String>>,
    ) -> Result<ArrayPosition, VolumeError> {
        self.refuse_label_multisets()?;
        let names = dimension_names(self, layer, named)?.or(assumed);
        let shape_key = match self.order {
            DimensionOrder::C => "shape",
            DimensionOrder::F => "dimensions",
        };
        let invalid_shape = |problem| self.own.invalid(shape_key, problem);
        let names = match names {
            Some(names) => names,
            None => {
                let likely = likely_names(self.shape, self.order).map_err(invalid_shape)?;
                return Err(VolumeError::Incomplete {
                    object: self.own.object.to_owned(),
                    missing: self.describe_missing_names(),
                    example: format!("{{ \"axes\": \"{likely}\" }}"),
                });
            }
        };
        let axes = ArrayAxes::find(&names, self.shape).map_err(invalid_shape)?;
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
    fn describe_missing_names(&self) -> String {
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

    /// Label multisets of Paintera have a list of labels per voxel. Their bytes look like `uint8` voxels.
    fn refuse_label_multisets(&self) -> Result<(), VolumeError> {
        const KEY: &str = "isLabelMultiset";
        for document in self.documents() {
            if document.get(KEY) == Some(&Value::Bool(true)) {
                let problem = "found true: this is a Paintera label multiset, which has a list of labels and counts for each voxel and is not supported. Convert it to one label per voxel (`paintera-convert to-scalar` of paintera-conversion-helper writes uint64) and use the new dataset";
                return Err(document.invalid(KEY, problem.into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
