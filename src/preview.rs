//! Pictures, charts and pages that show a dataset or a training run, and links to viewers.
//!
//! Voxels, index columns and series of numbers come in; RGB bitmaps, self-contained HTML pages and viewer states go out.

mod error;
mod link;
mod linked;
mod montage;
mod overview;
mod page;
mod picture;
mod report;
mod sample;
mod shown;

pub use error::PreviewError;
pub use link::{LinkTarget, UrlMapping, ViewerUrl};
pub use linked::{LinkOptions, LinkedSample, link};
pub use picture::{ContactSheet, Picture};
pub use report::{Chart, PictureRow, Report, Series, Table};
pub use sample::SampleChoice;
pub use shown::{PreviewOptions, preview};
