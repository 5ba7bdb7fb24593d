//! The cells of a row of a table of any format, in the columns that a reader wants.

use super::id::{NOT_ROUNDED, WholeNumber};
use crate::points::error::PointsError;
use crate::points::property::PropertySpec;

/// What is expected of an id.
pub(super) const ID_EXPECTED: &str =
    "a whole number from 0 to 18446744073709551615, such as 101 or 101.0";

/// What is expected of a position in one column.
pub(super) const POSITION_EXPECTED: &str = "a list of three numbers, such as [101, 202, 33]";

/// What is expected of related objects.
pub(super) const OBJECTS_EXPECTED: &str =
    "whole numbers from 0 to 18446744073709551615 in a list such as [101, 102], or one of them";

/// The cells of a row. Columns are numbered as in the list of names that the file was opened with.
pub(super) trait RowCells {
    /// The line of a text on which the row starts, or the number of the row in its file, from 0.
    fn number(&self) -> u64;

    /// The number of the row, from 0, after those in [`BlockPlace::first_row`].
    fn row(&self) -> u64;

    /// A whole number from 0 to 2^64 - 1.
    fn whole_number(&self, column: usize) -> Result<WholeNumber, PointsError>;

    /// Whole numbers from 0 to 2^64 - 1: those of a list, or one; none if the cell is empty.
    fn whole_numbers(&self, column: usize) -> Result<Vec<WholeNumber>, PointsError>;

    /// The ids of objects in a cell, as [`RowCells::whole_numbers`]. One that may have been rounded is an error.
    fn objects(&self, column: usize) -> Result<Vec<u64>, PointsError> {
        let numbers = self.whole_numbers(column)?;
        if numbers.iter().any(|number| number.may_be_rounded) {
            return Err(self.wrong(column, NOT_ROUNDED));
        }
        Ok(numbers.iter().map(|number| number.value).collect())
    }

    /// A number. A missing one may be NaN.
    fn coordinate(&self, column: usize) -> Result<f64, PointsError>;

    /// A list of three numbers.
    fn position(&self, column: usize) -> Result<[f64; 3], PointsError>;

    /// Writes the value of a property to its place in `record`.
    fn write_property(
        &self,
        column: usize,
        spec: &PropertySpec,
        record: &mut [u8],
    ) -> Result<(), PointsError>;

    /// Whether the cell has a whole number as a float that its writer may have rounded.
    fn may_be_rounded(&self, column: usize) -> bool;

    /// What the cell has, for messages.
    fn describe(&self, column: usize) -> String;

    /// The error that names the row, the column, and what the cell has instead of what is expected.
    fn wrong(&self, column: usize, expected: &str) -> PointsError;
}

/// Collects what it needs of the rows of a table. Rows of different blocks are added in parallel, those of one block in order.
pub(super) trait RowCollector: Sync {
    /// What is collected of a block.
    type Block: Default + Send;

    /// Adds a row.
    fn add(&self, cells: &impl RowCells, block: &mut Self::Block) -> Result<(), PointsError>;
}

/// Merges what was collected of the blocks of a table, in their order.
pub(super) type MergeBlock<'m, B> = dyn FnMut(B, BlockPlace) -> Result<(), PointsError> + Send + 'm;

/// Where a block is in its table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockPlace {
    /// What to add to the rows of the block.
    pub first_row: u64,
    /// What to add to the numbers of its rows.
    pub first_number: u64,
}

/// What was collected of a block until the first error.
pub(super) type Collected<B> = (B, Result<(), PointsError>);

/// Merges what was collected of a block, and then returns its error.
pub(super) fn merge_collected<B>(
    (block, done): Collected<B>,
    place: BlockPlace,
    merge: &mut MergeBlock<'_, B>,
) -> Result<(), PointsError> {
    merge(block, place)?;
    done
}
