//! Zarr metadata of groups and sample arrays, made by zarrs, as JSON text that is always the same.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use zarrs::array::codec::{TransposeCodec, TransposeOrder};
use zarrs::array::{ArrayBuilder, FillValue};

use super::{DatasetError, Layout};
use crate::geometry::AxisOrder;

/// `zarr.json` of the array `array` of the split `split`.
pub(super) fn array_metadata(
    layout: &Layout,
    split: usize,
    array: usize,
    attributes: Map<String, Value>,
) -> Result<Vec<u8>, DatasetError> {
    let a = &layout.arrays[array];
    let s = &layout.splits[split];
    let with = |first: u64| -> Vec<u64> {
        std::iter::once(first)
            .chain(layout.sample_shape(array))
            .collect()
    };
    let name = a.data_type.name();
    let (shape, shard) = (with(s.samples), with(s.shard_samples));
    let fill_value = FillValue::new(a.fill_value.bytes(a.data_type.size_bytes()).to_vec());
    let mut builder = ArrayBuilder::new(shape, shard, name, fill_value);
    if layout.axis_order == AxisOrder::Cxyz {
        // Voxels are stored in one order whatever the axes': a reader turns them by this codec, for nothing.
        let order = TransposeOrder::new(&[0, 1, 4, 3, 2]);
        let order = order.map_err(|e| zarr_error(&a.name, e.to_string()))?;
        builder.array_to_array_codecs(vec![Arc::new(TransposeCodec::new(order))]);
    }
    let metadata = builder
        .subchunk_shape(with(1))
        .bytes_to_bytes_codecs(a.codec.codec.zarr(a.data_type.size_bytes())?)
        .dimension_names(Some(layout.dimensions(array)))
        .attributes(attributes)
        .build_metadata()
        .map_err(|e| zarr_error(&a.name, e.to_string()))?;
    to_json(&metadata, &a.name)
}

/// `zarr.json` of a group with the metadata of all its arrays inside (`consolidated_metadata`, as
/// zarr-python writes it).
pub(crate) fn group_metadata(
    attributes: Map<String, Value>,
    arrays: Map<String, Value>,
) -> Result<Vec<u8>, DatasetError> {
    let group = json!({
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": false,
            "metadata": arrays,
        },
    });
    to_json(&group, "the group")
}

pub(super) fn to_json<T: Serialize>(value: &T, object: &str) -> Result<Vec<u8>, DatasetError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|e| zarr_error(object, e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn zarr_error(object: &str, problem: String) -> DatasetError {
    DatasetError::Zarr {
        object: object.to_owned(),
        problem,
    }
}
