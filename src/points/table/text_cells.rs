//! The cells of a row of text: CSV and JSON.

use super::cells::{ID_EXPECTED, OBJECTS_EXPECTED, POSITION_EXPECTED, RowCells};
use super::id::{WholeNumber, may_be_rounded, small_whole_number, whole_number, whole_numbers};
use super::position_text::parse_position;
use super::text_blocks::TextBlock;
use super::text_record::TextRecord;
use crate::points::error::PointsError;
use crate::points::property::PropertySpec;

/// The cells of a row of text.
pub(super) struct TextCells<'r, T> {
    pub texts: T,
    /// The names of the columns.
    pub names: &'r [String],
    pub object: &'r str,
    /// What `number` counts: "line" or "row".
    pub word: &'static str,
    pub number: u64,
    pub row: u64,
}

/// The texts of a row's cells.
pub(super) trait CellTexts {
    /// The text in a column, without blanks around it.
    fn text(&self, column: usize) -> &str;
}

/// The texts of a record, and the positions of the columns in it.
pub(super) struct RecordTexts<'r> {
    pub block: &'r TextBlock,
    pub record: &'r TextRecord,
    pub positions: &'r [usize],
}

impl CellTexts for RecordTexts<'_> {
    fn text(&self, column: usize) -> &str {
        let position = self.positions.get(column);
        position.map_or("", |position| self.record.field(self.block, *position))
    }
}

impl CellTexts for &[String] {
    fn text(&self, column: usize) -> &str {
        self.get(column).map_or("", |text| text.trim())
    }
}

impl<T: CellTexts> RowCells for TextCells<'_, T> {
    fn number(&self) -> u64 {
        self.number
    }

    fn row(&self) -> u64 {
        self.row
    }

    fn whole_number(&self, column: usize) -> Result<WholeNumber, PointsError> {
        let number = whole_number(self.texts.text(column));
        number.ok_or_else(|| self.wrong(column, ID_EXPECTED))
    }

    fn whole_numbers(&self, column: usize) -> Result<Vec<WholeNumber>, PointsError> {
        let numbers = whole_numbers(self.texts.text(column));
        numbers.ok_or_else(|| self.wrong(column, OBJECTS_EXPECTED))
    }

    fn coordinate(&self, column: usize) -> Result<f64, PointsError> {
        let text = self.texts.text(column);
        if let Some(number) = small_whole_number(text) {
            return Ok(number as f64);
        }
        text.parse().map_err(|_| self.wrong(column, "a number"))
    }

    fn position(&self, column: usize) -> Result<[f64; 3], PointsError> {
        let position = parse_position(self.texts.text(column));
        position.ok_or_else(|| self.wrong(column, POSITION_EXPECTED))
    }

    fn write_property(
        &self,
        column: usize,
        spec: &PropertySpec,
        record: &mut [u8],
    ) -> Result<(), PointsError> {
        let written = spec.write(self.texts.text(column), record);
        written.map_err(|expected| self.wrong(column, &expected))
    }

    fn may_be_rounded(&self, column: usize) -> bool {
        may_be_rounded(self.texts.text(column))
    }

    fn describe(&self, column: usize) -> String {
        match self.texts.text(column) {
            "" => "empty".to_owned(),
            text => format!("{:?}", text.chars().take(80).collect::<String>()),
        }
    }

    fn wrong(&self, column: usize, expected: &str) -> PointsError {
        PointsError::Row {
            object: format!("{}: {} {}", self.object, self.word, self.number),
            field: self.names.get(column).cloned().unwrap_or_default(),
            found: self.describe(column),
            expected: expected.to_owned(),
        }
    }
}
