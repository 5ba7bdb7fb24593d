//! A table without borders. Text in a cell cannot break out of it: control characters and line ends are escaped.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::storage::redacted;

use super::control_chars;

/// A table with a header.
pub struct Rows {
    table: Table,
}

impl Rows {
    /// A table of numbers: the first column is left-aligned, all others right-aligned.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(header);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self { table }
    }

    pub fn add_row<S: AsRef<str>>(&mut self, row: impl IntoIterator<Item = S>) {
        let cells = row.into_iter();
        let cells =
            cells.map(|cell| control_chars::escape_line(&redacted(cell.as_ref())).into_owned());
        self.table.add_row(cells);
    }

    /// The lines of the table.
    pub(super) fn lines(&self) -> String {
        self.table.to_string()
    }
}

/// The name without its middle, if it has more than `width` characters. Most of the end stays: it has the number of a shard.
pub(super) fn shortened(name: &str, width: usize) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= width {
        return name.to_owned();
    }
    let kept = width.saturating_sub(3);
    let begin = characters[..kept / 3].iter();
    let end = characters[characters.len() - (kept - kept / 3)..].iter();
    begin.chain(&['.'; 3]).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(
            shortened("b3db51e0-fecf-52cb-9205-d82e953ca853", 20),
            "b3db5...d82e953ca853"
        );
        assert_eq!(shortened("left", 4), "left");
        assert_eq!(shortened("lefts", 4), "...s");
        assert_eq!(shortened("éééééééé", 6), "é...éé");
    }

    #[test]
    fn a_line_end_in_a_cell_does_not_start_a_row() {
        let mut rows = Rows::new(["box", "n"]);
        rows.add_row(["a\nforged  1", "2"]);
        let lines = rows.lines();
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.contains(r"a\nforged"), "{lines}");
    }
}
