//! Annotations inside boxes.
//!
//! The input is the source of a point layer and the boxes of a collection. The output has, for each box, every annotation
//! whose anchor is inside, once, ordered by id. Annotations that cannot be used are counted in a [`PointsReport`](report::PointsReport), and
//! contradictory data is an error.
//!
//! Sources are Neuroglancer's precomputed format (`precomputed`), viewer states (`state`, as a layer `in_memory`) and
//! tables (`csv`). All of them produce batches of annotations, which are merged (`merge`).

mod annotation;
mod csv;
mod error;
mod in_memory;
mod layer;
mod merge;
mod position;
mod precomputed;
mod property;
mod report;
mod source;
mod state;
#[cfg(test)]
mod tests;

pub use annotation::{Anchor, Annotation};
pub(crate) use csv::{TableError, TableRecords, table_delimiter};
pub use error::PointsError;
pub use layer::PointLayer;
pub use property::{PropertyKind, PropertySpec};
pub use report::PointsInBoxes;
#[cfg(test)]
pub(crate) use report::PointsReport;
pub use source::PointSource;
