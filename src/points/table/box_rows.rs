//! Collects the annotations in boxes, and the ids of all rows.

use super::TableLayer;
use super::cells::{RowCells, RowCollector};
use super::ids::RowKey;
use super::row::RoundedNumbers;
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;
use crate::points::merge::{BoxIndex, BoxedAnnotation};

/// Memory of annotations is counted in steps of this size.
const KEEP_STEP_BYTES: u64 = 256 << 10;

/// Collects the annotations in boxes. Their memory is counted before they are merged, because several blocks are
/// collected at the same time.
pub(super) struct BoxRows<'t> {
    pub table: &'t TableLayer,
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
    pub rounded: RoundedNumbers,
    /// Memory of the annotations that is not counted yet.
    pub uncounted_bytes: u64,
}

impl RowCollector for BoxRows<'_> {
    type Block = BoxRowsBlock;

    fn add(&self, cells: &impl RowCells, block: &mut BoxRowsBlock) -> Result<(), PointsError> {
        let columns = &self.table.columns;
        let row = columns.row(cells, &mut block.rounded)?;
        let (position, digest) = row.geometry.place(self.anchor);
        block.rows += 1;
        if columns.id.is_some() {
            block.keys.push((row.id, digest));
        }
        let Some(position) = position else {
            block.not_finite_rows += 1;
            if block.not_finite.is_none_or(|(id, _)| row.id < id) {
                block.not_finite = Some((row.id, row.number));
            }
            return Ok(());
        };
        if self.boxes.has(&position) {
            let properties = columns.properties(cells, &mut block.rounded)?;
            if let Some(boxed) = self.boxes.place(row.id, &position, &properties) {
                block.uncounted_bytes += boxed.memory_bytes();
                block.in_boxes.push(boxed);
            }
            if block.uncounted_bytes >= KEEP_STEP_BYTES {
                self.table
                    .keep(std::mem::take(&mut block.uncounted_bytes))?;
            }
        }
        Ok(())
    }
}
