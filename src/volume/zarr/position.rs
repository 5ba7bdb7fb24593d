//! The position of an array, from the metadata of its image, its attributes or the config.

use super::node::Node;
use super::ome;
use crate::config::LayerConfig;
use crate::geometry::Resolution;
use crate::volume::VolumeError;
use crate::volume::axes::ArrayAxes;
use crate::volume::spatial_attributes::{
    self, AttributesDocument, DimensionNames, DimensionOrder, SpatialArray,
};

/// The position of a level of an image. The image defines its axes, resolution and offset.
pub(super) fn position_of_level(
    node: &Node,
    shape: &[u64],
    level: &ome::OmeLevel,
    layer: &LayerConfig,
) -> Result<(ArrayAxes, Resolution, [i64; 3]), VolumeError> {
    let names = spatial_attributes::dimension_names(
        &spatial_array(node, shape),
        layer,
        vec![DimensionNames {
            path: "multiscales[0].axes".to_owned(),
            names: level.axes.clone(),
        }],
    )?;
    let names = names.unwrap_or_else(|| level.axes.clone());
    let axes = ArrayAxes::find(&names, shape).map_err(|e| node.invalid("shape".into(), e))?;
    let first_voxel = layer.voxel_offset.unwrap_or(level.first_voxel);
    Ok((axes, level.resolution, first_voxel))
}

/// The position of a plain array, from the config or its attributes. Its resolution must be `wanted`.
pub(super) fn position_of_array(
    node: &Node,
    shape: &[u64],
    wanted: Option<&Resolution>,
    layer: &LayerConfig,
) -> Result<(ArrayAxes, Resolution, [i64; 3]), VolumeError> {
    let named = node.dimension_names().map(|names| DimensionNames {
        path: "dimension_names".to_owned(),
        names,
    });
    let position = spatial_array(node, shape).position(layer, named.into_iter().collect(), None)?;
    let resolution = position.resolution.ok_or_else(|| VolumeError::Incomplete {
        object: node.object.clone(),
        missing: "has no voxel size and no offset in its metadata".into(),
        example: "{ \"resolution\": [4, 4, 40], \"voxel_offset\": [0, 0, 0] }".into(),
    })?;
    match wanted {
        Some(wanted) if !resolution.matches(wanted) => Err(VolumeError::NoScale {
            object: node.object.clone(),
            wanted: *wanted,
            available: vec![resolution],
            config_may_set: true,
        }),
        _ => Ok((position.axes, resolution, position.first_voxel)),
    }
}

/// The array in `node`, with the attributes that may define its position.
pub(super) fn spatial_array<'a>(node: &'a Node, shape: &'a [u64]) -> SpatialArray<'a> {
    SpatialArray {
        own: AttributesDocument {
            object: &node.attributes_object,
            attributes: &node.attributes,
        },
        parent: None,
        order: DimensionOrder::C,
        shape,
    }
}
