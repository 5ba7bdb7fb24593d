//! The index columns that follow from the plan: the same ones when the plan is stored, and when the dataset is sealed.

use serde_json::json;

use crate::config::Transform;
use crate::dataset::{Column, ColumnValues, SampleIndex};
use crate::plan::{FinishedPlan, Sample};
use crate::points::PropertySpec;

/// An index column. Arrays and properties are given by their position in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::job) enum IndexColumn {
    AnnotationId,
    Box,
    CenterNm,
    /// The first end of the annotation.
    StartNm,
    /// Its last end.
    EndNm,
    StartVoxel,
    ResolutionNm,
    /// The first voxel of the array's own windows.
    OwnStartVoxel(usize),
    /// The object of each sample, in an array that shows one.
    ObjectId(usize),
    /// The objects of each sample, in an array that shows several.
    ObjectIds(usize),
    InsideFraction(usize),
    Property(usize),
}

impl IndexColumn {
    /// Every column of the plan's splits, in the order in which the dataset has them.
    pub(in crate::job) fn all(plan: &FinishedPlan) -> Vec<Self> {
        let table = &plan.table;
        let mut all = vec![Self::AnnotationId, Self::Box, Self::CenterNm];
        if table.has_ends {
            all.extend([Self::StartNm, Self::EndNm]);
        }
        all.extend([Self::StartVoxel, Self::ResolutionNm]);
        let configs = table.config.arrays.values();
        for (i, (array, config)) in table.arrays.iter().zip(configs).enumerate() {
            if array.window != table.config.window {
                all.push(Self::OwnStartVoxel(i));
            }
            if config.shows_several_objects() {
                all.push(Self::ObjectIds(i));
            } else if matches!(config.transform, Transform::ObjectAt(_)) {
                all.push(Self::ObjectId(i));
            }
            all.push(Self::InsideFraction(i));
        }
        all.extend((0..table.properties.len()).map(Self::Property));
        all
    }

    /// Its name in the group of a split.
    pub(in crate::job) fn name(self, plan: &FinishedPlan) -> String {
        let of_array = |i: usize, what: &str| format!("{}_{what}", plan.table.arrays[i].name);
        match self {
            Self::AnnotationId => "annotation_id".to_owned(),
            Self::Box => "box".to_owned(),
            Self::CenterNm => "center_nm".to_owned(),
            Self::StartNm => "start_nm".to_owned(),
            Self::EndNm => "end_nm".to_owned(),
            Self::StartVoxel => "start_voxel".to_owned(),
            Self::ResolutionNm => "resolution_nm".to_owned(),
            Self::OwnStartVoxel(array) => of_array(array, "start_voxel"),
            Self::ObjectId(array) => of_array(array, "object_id"),
            Self::ObjectIds(array) => of_array(array, "object_ids"),
            Self::InsideFraction(array) => of_array(array, "inside_fraction"),
            Self::Property(i) => format!("property_{}", plan.table.properties[i].id),
        }
    }

    /// The column of the split at position `split`.
    pub(in crate::job) fn column(self, plan: &FinishedPlan, split: usize) -> Column<'_> {
        let table = &plan.table;
        let of_split = &table.splits[split];
        let samples = &of_split.samples[..];
        match self {
            Self::AnnotationId => Column::new(
                ColumnValues::of("uint64", samples, |s| s.annotation_id.to_le_bytes()),
                "id of the annotation that the window is centred on",
            ),
            Self::Box => Column::new(
                ColumnValues::of("uint32", samples, |s| s.box_index.to_le_bytes()),
                "position of the sample's box in `boxes` of manifest.json",
            ),
            Self::CenterNm => in_nm(Column::new(
                ColumnValues::of("float64", samples, |s| floats(s.center_nm.0)),
                "the annotation's anchor: x, y, z",
            )),
            Self::StartNm => in_nm(Column::new(
                ColumnValues::of("float64", &of_split.ends, |ends| floats(ends[0].0)),
                "the annotation's first end: x, y, z",
            )),
            Self::EndNm => in_nm(Column::new(
                ColumnValues::of("float64", &of_split.ends, |ends| floats(ends[1].0)),
                "the annotation's last end: x, y, z",
            )),
            Self::StartVoxel => xyz(Column::new(
                ColumnValues::of("int64", samples, |s| whole(s.start_voxel)),
                "the window's first voxel: x, y, z",
            )),
            Self::ResolutionNm => in_nm(Column::new(
                ColumnValues::of("float64", samples, |s| floats(table.resolution_of(s).nm())),
                "size of the window's voxels: x, y, z",
            )),
            Self::OwnStartVoxel(array) => {
                let start = move |s: &Sample| whole(table.window_of(array, s).start);
                xyz(Column::new(
                    ColumnValues::of("int64", samples, start),
                    "the first voxel of this array's own window: x, y, z",
                ))
            }
            Self::ObjectId(array) => Column::new(
                ColumnValues::of("uint64", of_split.objects[array].one_of_each(), |id| {
                    id.to_le_bytes()
                }),
                "id of the object that the mask shows; 0 where there is none",
            ),
            Self::ObjectIds(array) => {
                let counts = table.arrays[array].objects;
                let width = counts.map_or(1, |counts| counts.most_per_sample);
                let objects = &of_split.objects[array];
                let column = Column::new(
                    ColumnValues::of_rows("uint64", objects.samples(), move |i, row| {
                        let ids = objects.of(i).iter().copied();
                        let ids = ids.chain(std::iter::repeat(0)).take(width);
                        row.extend(ids.flat_map(u64::to_le_bytes));
                    }),
                    "ids of the objects that the mask shows, ascending; 0 after the last one",
                );
                // No array can have the name of this dimension, and no column has it, because this array has several objects.
                column.rows(
                    format!("{}_object_id", table.arrays[array].name),
                    width as u64,
                )
            }
            Self::InsideFraction(array) => {
                let inside = plan.padding.inside_fractions(split, array);
                Column::new(
                    ColumnValues::of("float32", inside, |f| f.to_le_bytes()),
                    "share of the window's voxels that lie inside of the volume; the others are padding",
                )
            }
            Self::Property(i) => property(&table.properties[i], &of_split.properties[i]),
        }
    }
}

fn floats(values: [f64; 3]) -> [u8; 24] {
    bytemuck::cast(values.map(f64::to_le_bytes))
}

fn whole(values: [i64; 3]) -> [u8; 24] {
    bytemuck::cast(values.map(i64::to_le_bytes))
}

/// The columns of the split at position `split`.
pub(super) fn of_split(plan: &FinishedPlan, split: usize) -> SampleIndex<'_> {
    let columns = IndexColumn::all(plan).into_iter();
    SampleIndex {
        columns: columns
            .map(|c| (c.name(plan), c.column(plan, split)))
            .collect(),
    }
}

fn xyz(column: Column<'_>) -> Column<'_> {
    column.rows("xyz", 3)
}

fn in_nm(column: Column<'_>) -> Column<'_> {
    let mut column = xyz(column);
    column.attributes.insert("units".into(), json!("nm"));
    column
}

/// A property's column. The labels of enumerated values are attributes, following the CF conventions.
fn property<'a>(spec: &PropertySpec, values: &'a [u8]) -> Column<'a> {
    let components = spec.kind.components();
    let data_type = match components {
        1 => spec.kind.name(),
        _ => "uint8",
    };
    let description = spec
        .description
        .as_deref()
        .unwrap_or("a property of the annotation");
    let row_bytes = spec.kind.value_bytes();
    let column = Column::new(ColumnValues::raw(data_type, values, row_bytes), description);
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
