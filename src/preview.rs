//! Pictures, charts and pages that show a dataset or a training run.
//!
//! Voxels and series of numbers come in; RGB bitmaps and one self-contained HTML page go out.

mod picture;
mod report;

pub use picture::{Picture, View};
pub use report::{Chart, PictureRow, Report, Series, Table};
