//! A run as one page: what was run, its curves, its scores, and samples with what was predicted.
//!
//! Facts, charts, tables and pictures come in, one HTML file goes out that needs nothing beside it: no network, no
//! scripts, no fonts. It reads in light and dark, on paper and on small screens. Words from outside are escaped.

mod axis;
mod chart;
mod curve;
mod number;
mod page;
mod palette;
#[cfg(test)]
mod tests;

use super::picture::{Picture, View};

/// What a page says, from top to bottom.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// Names and values, as the run's settings are.
    pub facts: Vec<(String, String)>,
    /// Curves.
    pub charts: Vec<Chart>,
    /// Numbers.
    pub tables: Vec<Table>,
    /// Samples.
    pub pictures: Vec<PictureRow>,
}

/// Curves over a common axis.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What is from left to right.
    pub x: String,
    /// What is from bottom to top.
    pub y: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points (x, y), by ascending x. Those that are NaN or infinite are gaps.
    pub points: Vec<(f64, f64)>,
}

/// A table. Numbers stand to the right of their columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// A picture with a heading over each of its equally wide columns.
#[derive(Clone, Debug)]
pub struct PictureRow {
    /// What is said below it.
    pub caption: String,
    /// Headings, from left to right.
    pub titles: Vec<String>,
    /// The picture.
    pub picture: Picture,
}

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        page::page(self).into_string()
    }
}

impl From<&View<'_>> for PictureRow {
    /// The contact sheet with its headings; the caption says which sections it shows.
    fn from(view: &View<'_>) -> Self {
        let sections = view.sections();
        let shown: Vec<_> = sections.iter().map(usize::to_string).collect();
        let shown = match shown.as_slice() {
            [one] => format!("section {one} of {}", view.shape[0]),
            all => format!(
                "sections {} of {}, from the top",
                all.join(", "),
                view.shape[0]
            ),
        };
        let parts = [view.caption.as_str(), &shown];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self {
            caption: parts.join(" · "),
            titles: view.titles(),
            picture: view.picture(),
        }
    }
}
