//! Compares the geometries of rows that have the same id.

use super::TableLayer;
use super::cells::{RowCells, RowCollector};
use super::columns::AnnotationColumns;
use super::row::{RoundedNumbers, RowGeometry};
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;

/// Collects the rows with some ids.
pub(super) struct RowsOfIds<'t> {
    pub columns: &'t AnnotationColumns,
    /// Sorted.
    pub ids: &'t [u64],
    pub anchor: Anchor,
}

/// A row with one of the ids.
pub(super) struct RowOfId {
    /// The place of the id in the list.
    place: usize,
    pub number: u64,
    pub digest: u64,
    pub geometry: RowGeometry,
}

impl RowCollector for RowsOfIds<'_> {
    type Block = Vec<RowOfId>;

    fn add(&self, cells: &impl RowCells, block: &mut Vec<RowOfId>) -> Result<(), PointsError> {
        let row = self.columns.row(cells, &mut RoundedNumbers::default())?;
        if let Ok(place) = self.ids.binary_search(&row.id) {
            block.push(RowOfId {
                place,
                number: row.number,
                digest: row.geometry.place(self.anchor).1,
                geometry: row.geometry,
            });
        }
        Ok(())
    }
}

/// The lowest of `ids`, which are sorted, that has two geometries in `table`. Reads the table again.
pub(super) fn conflicting_id(
    ids: &[u64],
    table: &TableLayer,
    anchor: Anchor,
) -> Result<Option<u64>, PointsError> {
    let collector = RowsOfIds {
        columns: &table.columns,
        ids,
        anchor,
    };
    let mut digests: Vec<Option<u64>> = vec![None; ids.len()];
    let mut lowest: Option<usize> = None;
    table.collect(None, &collector, &mut |rows: Vec<RowOfId>, _| {
        for row in rows {
            let first = digests[row.place].get_or_insert(row.digest);
            if *first != row.digest && lowest.is_none_or(|place| row.place < place) {
                lowest = Some(row.place);
            }
        }
        Ok(())
    })?;
    Ok(lowest.map(|place| ids[place]))
}
