//! The index columns that follow from the plan and the bounds of its volumes.

use serde_json::json;

use crate::config::Transform;
use crate::dataset::{Column, ColumnValues, SampleIndex};
use crate::extract::{Sources, inside_fraction};
use crate::plan::Plan;
use crate::points::PropertySpec;

/// The columns of the split at position `split`.
pub(super) fn of_split(plan: &Plan, sources: &Sources, split: usize) -> SampleIndex {
    let samples = &plan.splits[split].samples;
    let mut index = SampleIndex::default();
    let mut add = |name: String, column| index.columns.insert(name, column);
    add(
        "annotation_id".into(),
        Column::new(
            ColumnValues::u64(samples.iter().map(|s| s.annotation_id)),
            "id of the annotation that the window is centred on",
        ),
    );
    add(
        "box".into(),
        Column::new(
            ColumnValues::u32(samples.iter().map(|s| s.box_index)),
            "position of the sample's box in `boxes` of manifest.json",
        ),
    );
    let mut center = Column::new(
        ColumnValues::f64(samples.iter().flat_map(|s| s.center_nm.0)),
        "the annotation's anchor: x, y, z",
    )
    .rows("xyz", 3);
    center.attributes.insert("units".into(), json!("nm"));
    add("center_nm".into(), center);
    add(
        "start_voxel".into(),
        Column::new(
            ColumnValues::i64(samples.iter().flat_map(|s| s.start_voxel)),
            "the window's first voxel: x, y, z",
        )
        .rows("xyz", 3),
    );
    let mut column = Column::new(
        ColumnValues::f64(samples.iter().flat_map(|s| plan.resolution_of(s).nm())),
        "size of the window's voxels: x, y, z",
    )
    .rows("xyz", 3);
    column.attributes.insert("units".into(), json!("nm"));
    add("resolution_nm".into(), column);
    for (array, planned) in plan.arrays.iter().enumerate() {
        if planned.window != plan.config.window {
            let starts = samples.iter().flat_map(|s| plan.window_of(array, s).start);
            let description = "the first voxel of this array's own window: x, y, z";
            let column = Column::new(ColumnValues::i64(starts), description).rows("xyz", 3);
            add(format!("{}_start_voxel", planned.name), column);
        }
        let objects = &plan.splits[split].objects[array];
        if matches!(plan.config.arrays[array].transform, Transform::ObjectAt(_)) {
            let ids = ColumnValues::u64(objects.iter().copied());
            let description = "id of the object that the mask shows; 0 where there is none";
            add(
                format!("{}_object_id", planned.name),
                Column::new(ids, description),
            );
        }
        let inside = samples
            .iter()
            .map(|s| inside_fraction(plan, sources, array, s));
        add(
            format!("{}_inside_fraction", planned.name),
            Column::new(
                ColumnValues::f32(inside),
                "share of the window's voxels that lie inside of the volume; the others are padding",
            ),
        );
    }
    for (spec, values) in plan.properties.iter().zip(&plan.splits[split].properties) {
        add(
            format!("property_{}", spec.id),
            property(spec, values.clone()),
        );
    }
    index
}

/// A property's column. Enumerated values carry their labels the way CF conventions write them.
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
