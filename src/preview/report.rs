//! A report: one HTML page with facts, charts, tables and pictures of samples.
//!
//! The page is one file without network access, scripts or fonts. It works in light and dark mode, on paper and on small
//! screens. Text from outside is escaped.

mod axis;
mod chart;
mod content;
mod curve;
mod number;
mod page;
mod palette;
#[cfg(test)]
mod tests;

pub use content::{Chart, PictureRow, Report, Series, Table};
pub(super) use number::short;

/// The color of a split in a style sheet; splits after the sixth begin again.
pub(super) fn split_color(number: usize) -> String {
    palette::curve(number).0.in_css()
}

/// The style sheet that all pages share.
pub(super) fn base_style() -> String {
    format!("{}{}", palette::style(), page::STYLE)
}
