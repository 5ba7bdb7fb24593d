//! The dimensions of a Zarr array or OME-Zarr image in Neuroglancer: their names, in the array's own order.

use super::array::ZarrArray;
use super::node::{self, NodeKind};
use super::ome;
use super::position::spatial_array;
use super::version::ZarrVersion;
use crate::config::LayerConfig;
use crate::storage::{Location, Storage};
use crate::volume::format_dimensions::FormatDimensions;
use crate::volume::{VolumeError, spatial_attributes};

/// Reads the dimensions of the array or image at `location`.
pub(in crate::volume) fn model_space(
    location: &Location,
    version: Option<ZarrVersion>,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<FormatDimensions, VolumeError> {
    let node = node::read(storage.open(location).as_ref(), "", version)?;
    let (names, is_named) = match &node.kind {
        NodeKind::Group => (ome::axis_names(&node)?, true),
        NodeKind::Array(_) => {
            let array = ZarrArray::new("", &node)?;
            let shape = array.shape();
            let named = node
                .dimension_names()
                .map(|names| spatial_attributes::DimensionNames {
                    path: "dimension_names".to_owned(),
                    names,
                });
            let named = named.into_iter().collect();
            match spatial_attributes::dimension_names(&spatial_array(&node, shape), layer, named)? {
                Some(names) => (names, true),
                None => {
                    let prefix = match node.version {
                        ZarrVersion::V2 => "d",
                        ZarrVersion::V3 => "dim_",
                    };
                    (
                        (0..shape.len()).map(|d| format!("{prefix}{d}")).collect(),
                        false,
                    )
                }
            }
        }
    };
    Ok(FormatDimensions {
        names,
        is_named,
        begins_at_zero: matches!(node.kind, NodeKind::Array(_)),
        factors: [1.0; 3],
    })
}
