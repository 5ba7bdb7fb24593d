//! Annotations inside boxes.
//!
//! The input is the source of a point layer and the boxes of a collection. The output has, for each box, every annotation
//! whose anchor is inside, once, ordered by id. Annotations that cannot be used are counted in a [`PointsReport`](report::PointsReport), and
//! contradictory data is an error.
//!
//! Sources are Neuroglancer's precomputed format (`precomputed`), viewer states (`state`, as a layer `in_memory`) and tables
//! (`table`), which produce batches of annotations that are merged (`merge`), CREMI files (`cremi`, as a layer `in_memory`), and the
//! objects of a segmentation (`objects`).
//! Several layers may be read as one (`several`).

mod annotation;
mod cremi;
mod error;
mod in_memory;
mod layer;
mod merge;
mod negatives;
mod objects;
mod open_volume;
mod position;
mod precomputed;
mod property;
mod property_kind;
mod property_number;
mod report;
mod several;
mod source;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use annotation::{Anchor, Annotation};
pub(crate) use cremi::has_partners;
pub use error::PointsError;
pub use layer::PointLayer;
pub(crate) use layer::RelatedObjects;
pub(crate) use negatives::{Negative, NegativeBox, NegativeMask, Surroundings, draw_negatives};
pub(crate) use open_volume::{open_layer_with_roots, read_layer_roots};
pub use property::PropertySpec;
pub use property_kind::PropertyKind;
pub(crate) use property_number::PropertyNumber;
pub use report::PointsInBoxes;
#[cfg(test)]
pub(crate) use report::PointsReport;
pub use source::PointSource;
pub(crate) use table::{
    TableError, TableRecords, supervoxels_without_root, table_column_names, table_delimiter,
};
