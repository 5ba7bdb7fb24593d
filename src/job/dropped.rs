//! The table of annotations in boxes that are no samples: why each was dropped. It is written with the plan, and copied into the
//! dataset when that is sealed.

use serde_json::json;

use super::plan_files::PlanHeader;
use crate::config::DROPPED_ANNOTATIONS;
use crate::dataset::{
    Column, ColumnValues, DatasetError, FileEntry, Output, group_path, plan_folder,
};
use crate::plan::{DropReason, DroppedAnnotation};
use crate::storage::MAX_DOCUMENT_BYTES;

/// The columns of the table, by name.
pub(super) fn columns(dropped: &[DroppedAnnotation]) -> [(&'static str, Column<'_>); 4] {
    let mut center_nm = Column::new(
        ColumnValues::of("float64", dropped, |d| {
            bytemuck::cast::<_, [u8; 24]>(d.center_nm.0.map(f64::to_le_bytes))
        }),
        "the annotation's anchor: x, y, z",
    )
    .rows("xyz", 3);
    center_nm.attributes.insert("units".into(), json!("nm"));
    let mut reason = Column::new(
        ColumnValues::of("uint8", dropped, |d| [d.reason as u8]),
        "why it is no sample",
    );
    let numbers: Vec<_> = DropReason::ALL.iter().map(|r| *r as u8).collect();
    let names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
    reason
        .attributes
        .insert("flag_values".into(), json!(numbers));
    reason
        .attributes
        .insert("flag_meanings".into(), json!(names.join(" ")));
    let annotation_id = Column::new(
        ColumnValues::of("uint64", dropped, |d| d.annotation_id.to_le_bytes()),
        "id of the annotation",
    );
    let box_index = Column::new(
        ColumnValues::of("uint32", dropped, |d| d.box_index.to_le_bytes()),
        "position of the annotation's box in `boxes` of manifest.json",
    );
    let columns = [
        ("annotation_id", annotation_id),
        ("box", box_index),
        ("center_nm", center_nm),
        ("drop_reason", reason),
    ];
    columns.map(|(name, column)| (name, column.along("annotation")))
}

/// The folder of the table in the plan.
pub(super) fn folder(plan_digest: &str) -> String {
    format!("{}/{DROPPED_ANNOTATIONS}", plan_folder(plan_digest))
}

/// The files of the table, as the plan has them, with their keys in the dataset.
pub(super) fn files<'o>(
    header: &'o PlanHeader,
    output: &'o Output,
) -> impl Iterator<Item = Result<(String, Vec<u8>), DatasetError>> + 'o {
    let folder = folder(header.plan_digest());
    let group = group_path(DROPPED_ANNOTATIONS);
    header.files().iter().filter_map(move |file| {
        let below = file.path.strip_prefix(&folder)?;
        Some(read(output, file).map(|bytes| (format!("{group}{below}"), bytes)))
    })
}

/// The bytes of a file of the plan, which must be those that the plan lists.
fn read(output: &Output, file: &FileEntry) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    let is_found = output
        .store()
        .read(&file.path, MAX_DOCUMENT_BYTES, &mut bytes)?;
    let is_right =
        bytes.len() as u64 == file.bytes && blake3::hash(&bytes).to_string() == file.blake3;
    if is_found && is_right {
        return Ok(bytes);
    }
    Err(DatasetError::Damaged {
        path: output.store().describe(&file.path),
        problem: "it is missing, or its bytes have changed: run `pointshard check OUT --repair`"
            .to_owned(),
    })
}
