//! Pictures, charts and pages that show a dataset or a training run.
//!
//! Voxels and series of numbers come in; RGB bitmaps and one self-contained HTML page go out.

mod picture;
mod report;

pub use picture::{ContactSheet, Picture};
pub use report::{Chart, PictureRow, Report, Series, Table};
