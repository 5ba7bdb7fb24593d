//! What a viewer knows of the dimensions of a Zarr array or OME-Zarr image: their names, in the array's own order.

use super::array::ZarrArray;
use super::node::{self, NodeKind};
use super::{ZarrVersion, ome};
use crate::config::LayerConfig;
use crate::storage::Location;
use crate::volume::VolumeError;
use crate::volume::space::Named;

/// The names of the dimensions of the array or image at `location`.
pub(in crate::volume) fn model_space(
    location: &Location,
    version: Option<ZarrVersion>,
    layer: &LayerConfig,
) -> Result<Named, VolumeError> {
    let node = node::read(location.open().as_ref(), "", version)?;
    let (names, is_named) = match &node.kind {
        NodeKind::Group => (ome::axis_names(&node)?, true),
        NodeKind::Array(_) => {
            let config = layer.axes.as_ref();
            let config = config.map(|axes| axes.chars().map(String::from).collect());
            match node.dimension_names().or(config) {
                Some(names) => (names, true),
                None => {
                    let prefix = match node.version {
                        ZarrVersion::V2 => "d",
                        ZarrVersion::V3 => "dim_",
                    };
                    let rank = ZarrArray::new("", &node)?.shape().len();
                    ((0..rank).map(|d| format!("{prefix}{d}")).collect(), false)
                }
            }
        }
    };
    Ok(Named {
        names,
        is_named,
        begins_at_zero: matches!(node.kind, NodeKind::Array(_)),
        factors: [1.0; 3],
    })
}
