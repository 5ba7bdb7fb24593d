//! The contents of a report.

use crate::preview::picture::{ContactSheet, Picture};

/// The contents of a page, from top to bottom.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// Names and values, such as the settings of a run.
    pub facts: Vec<(String, String)>,
    /// Curves.
    pub charts: Vec<Chart>,
    /// Numbers.
    pub tables: Vec<Table>,
    /// Samples.
    pub pictures: Vec<PictureRow>,
    /// Titles and texts of fixed width, such as a config.
    pub texts: Vec<(String, String)>,
}

/// Curves with common axes.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// Title.
    pub title: String,
    /// Name of the horizontal axis.
    pub x: String,
    /// Name of the vertical axis.
    pub y: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points (x, y) by ascending x. NaN and infinite points are gaps.
    pub points: Vec<(f64, f64)>,
}

/// A table. Numbers are right-aligned.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Title.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// A picture with a heading above each of its columns, which have the same width.
#[derive(Clone, Debug)]
pub struct PictureRow {
    /// Caption below the picture.
    pub caption: String,
    /// Headings, from left to right.
    pub titles: Vec<String>,
    /// The picture.
    pub picture: Picture,
}

impl From<&ContactSheet<'_>> for PictureRow {
    /// Draws the contact sheet; the caption names the sections it shows.
    fn from(sheet: &ContactSheet<'_>) -> Self {
        let sections = sheet.sections();
        let shown: Vec<_> = sections.iter().map(usize::to_string).collect();
        let shown = match shown.as_slice() {
            [one] => format!("section {one} of {}", sheet.shape[0]),
            all => format!(
                "sections {} of {}, from the top",
                all.join(", "),
                sheet.shape[0]
            ),
        };
        let bar = sheet.scale_bar();
        let bar = bar.map_or(String::new(), |bar| format!("scale bar {bar}"));
        let parts = [sheet.caption.as_str(), &shown, &bar];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self {
            caption: parts.join(" · "),
            titles: sheet.titles(),
            picture: sheet.picture(),
        }
    }
}
