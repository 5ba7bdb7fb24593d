//! The index columns that follow from the plan and the bounds of its volumes.

use serde_json::json;

use crate::config::Transform;
use crate::dataset::{Column, ColumnValues, SampleIndex};
use crate::extract::{Sources, inside_fraction};
use crate::plan::Plan;
use crate::points::PropertySpec;

/// The columns of the split at position `split`.
pub(super) fn of_split(plan: &Plan, sources: &Sources, split: usize) -> SampleIndex {
    let mut index = SampleIndex::default();
    let columns = sample_columns(plan, split)
        .into_iter()
        .chain((0..plan.arrays.len()).flat_map(|a| array_columns(plan, sources, split, a)))
        .chain(property_columns(plan, split));
    index.columns.extend(columns);
    index
}

/// The columns that every dataset has.
fn sample_columns(plan: &Plan, split: usize) -> Vec<(String, Column)> {
    let samples = &plan.splits[split].samples;
    let annotation_id = Column::new(
        ColumnValues::u64(samples.iter().map(|s| s.annotation_id)),
        "id of the annotation that the window is centred on",
    );
    let box_index = Column::new(
        ColumnValues::u32(samples.iter().map(|s| s.box_index)),
        "position of the sample's box in `boxes` of manifest.json",
    );
    let center = Column::new(
        ColumnValues::f64(samples.iter().flat_map(|s| s.center_nm.0)),
        "the annotation's anchor: x, y, z",
    );
    let start = Column::new(
        ColumnValues::i64(samples.iter().flat_map(|s| s.start_voxel)),
        "the window's first voxel: x, y, z",
    );
    let resolution = Column::new(
        ColumnValues::f64(samples.iter().flat_map(|s| plan.resolution_of(s).nm())),
        "size of the window's voxels: x, y, z",
    );
    vec![
        ("annotation_id".into(), annotation_id),
        ("box".into(), box_index),
        ("center_nm".into(), in_nm(center.rows("xyz", 3))),
        ("start_voxel".into(), start.rows("xyz", 3)),
        ("resolution_nm".into(), in_nm(resolution.rows("xyz", 3))),
    ]
}

fn in_nm(mut column: Column) -> Column {
    column.attributes.insert("units".into(), json!("nm"));
    column
}

/// The columns of the array at position `array`.
fn array_columns(
    plan: &Plan,
    sources: &Sources,
    split: usize,
    array: usize,
) -> Vec<(String, Column)> {
    let samples = &plan.splits[split].samples;
    let planned = &plan.arrays[array];
    let mut columns = Vec::new();
    if planned.window != plan.config.window {
        let starts = samples.iter().flat_map(|s| plan.window_of(array, s).start);
        let description = "the first voxel of this array's own window: x, y, z";
        let column = Column::new(ColumnValues::i64(starts), description).rows("xyz", 3);
        columns.push((format!("{}_start_voxel", planned.name), column));
    }
    if matches!(plan.config.arrays[array].transform, Transform::ObjectAt(_)) {
        let ids = plan.splits[split].objects[array].iter().copied();
        let description = "id of the object that the mask shows; 0 where there is none";
        let column = Column::new(ColumnValues::u64(ids), description);
        columns.push((format!("{}_object_id", planned.name), column));
    }
    let inside = samples
        .iter()
        .map(|s| inside_fraction(plan, sources, array, s));
    let description =
        "share of the window's voxels that lie inside of the volume; the others are padding";
    let column = Column::new(ColumnValues::f32(inside), description);
    columns.push((format!("{}_inside_fraction", planned.name), column));
    columns
}

/// One column per annotation property.
fn property_columns(plan: &Plan, split: usize) -> impl Iterator<Item = (String, Column)> {
    let properties = plan.properties.iter().zip(&plan.splits[split].properties);
    properties.map(|(spec, values)| {
        let column = property(spec, values.clone());
        (format!("property_{}", spec.id), column)
    })
}

/// A property's column. The labels of enumerated values are attributes, following the CF conventions.
fn property(spec: &PropertySpec, values: Vec<u8>) -> Column {
    let components = spec.kind.components();
    let data_type = match components {
        1 => spec.kind.name(),
        _ => "uint8",
    };
    let description = spec
        .description
        .as_deref()
        .unwrap_or("a property of the annotation");
    let column = Column::new(ColumnValues::raw(data_type, values), description);
    let mut column = match components {
        1 => column,
        3 => column.rows("rgb", 3),
        _ => column.rows("rgba", 4),
    };
    if !spec.enum_values.is_empty() {
        column
            .attributes
            .insert("flag_values".into(), json!(spec.enum_values));
        column
            .attributes
            .insert("flag_meanings".into(), json!(spec.enum_labels));
    }
    column
}
