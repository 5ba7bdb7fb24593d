//! Collects the annotations in boxes, and the ids of all rows.

use super::cells::{RowCells, RowCollector};
use super::columns::AnnotationColumns;
use super::ids::RowKey;
use super::row::RoundedIds;
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;
use crate::points::merge::{BoxIndex, BoxedAnnotation};

/// Collects the annotations whose anchor is in a box.
pub(super) struct BoxRows<'t> {
    pub columns: &'t AnnotationColumns,
    pub boxes: &'t BoxIndex<'t>,
    pub anchor: Anchor,
}

/// What a block of rows has.
#[derive(Default)]
pub(super) struct BoxRowsBlock {
    /// Of every row, unless ids are the numbers of rows.
    pub keys: Vec<RowKey>,
    pub rows: u64,
    pub in_boxes: Vec<BoxedAnnotation>,
    pub not_finite_rows: u64,
    /// The lowest id of a row without a finite position, and the number of the row.
    pub not_finite: Option<(u64, u64)>,
    pub rounded: RoundedIds,
}

impl RowCollector for BoxRows<'_> {
    type Block = BoxRowsBlock;

    fn add(&self, cells: &impl RowCells, block: &mut BoxRowsBlock) -> Result<(), PointsError> {
        let row = self.columns.row(cells, &mut block.rounded)?;
        let (position, digest) = row.geometry.place(self.anchor);
        block.rows += 1;
        if self.columns.id.is_some() {
            block.keys.push((row.id, digest));
        }
        let Some(position) = position else {
            block.not_finite_rows += 1;
            if block.not_finite.is_none_or(|(id, _)| row.id < id) {
                block.not_finite = Some((row.id, row.number));
            }
            return Ok(());
        };
        if self.boxes.contains(&position.anchor) {
            let properties = self.columns.properties(cells)?;
            let boxed = self.boxes.place(row.id, &position, &properties);
            block.in_boxes.extend(boxed);
        }
        Ok(())
    }
}
