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

/// The style sheet that all pages share.
pub(super) fn base_style() -> String {
    format!("{}{}", palette::style(), page::STYLE)
}

pub use content::{Chart, PictureRow, Report, Series, Table};
