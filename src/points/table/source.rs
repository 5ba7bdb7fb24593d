//! Where the rows of a table are: in one file, or in one file per chunk of a volume.

use super::EXPECTED;
use super::cells::{MergeBlock, RowCollector};
use super::chunks::ChunkedTable;
use super::file::TableFile;
use super::near_boxes::NearBoxes;
use super::tabular::TabularLayer;
use crate::points::error::PointsError;
use crate::points::merge::BoxIndex;
use crate::storage::{Location, Storage};

/// An open table, in which some columns were found.
#[derive(Debug)]
pub(super) enum TableSource {
    File(TableFile),
    /// One file per chunk of a volume.
    Chunks(Box<ChunkedTable>),
}

impl TableSource {
    /// Opens the table at `location`, a file or the folder of a tabular layer, and finds the columns `names`.
    pub fn open(
        location: &Location,
        names: &[String],
        delimiter: Option<char>,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let not_a_file = match TableFile::open(location, names, delimiter, EXPECTED, storage) {
            Ok(file) => return Ok(Self::File(file)),
            Err(e) if e.is_about_columns() => return Err(e),
            Err(e) => e,
        };
        match TabularLayer::open(location, storage) {
            Ok(Some(layer)) => {
                let chunks = ChunkedTable::open(location, layer, names, delimiter, storage)?;
                Ok(Self::Chunks(Box::new(chunks)))
            }
            Err(e @ PointsError::Table { .. }) => Err(e),
            // The location has no info of a layer, or none that can be read.
            Ok(None) | Err(_) => Err(not_a_file),
        }
    }

    pub fn object(&self) -> String {
        match self {
            Self::File(file) => file.object().to_owned(),
            Self::Chunks(chunks) => chunks.object(),
        }
    }

    /// A warning about files that do not belong to the table.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Chunks(chunks) => chunks.warning(),
        }
    }

    /// The file and the line or row with this number.
    pub fn row_name(&self, number: u64) -> String {
        match self {
            Self::File(file) => format!("{}: {} {number}", file.object(), file.row_word()),
            Self::Chunks(chunks) => chunks.row_name(number),
        }
    }

    /// Collects all rows, or with `near` at least those that are near a box, and merges what was collected in the order of the rows.
    pub fn collect<C: RowCollector>(
        &self,
        near: Option<NearRows<'_>>,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        match self {
            Self::File(file) => {
                let near = near.and_then(|near| near.in_file);
                file.collect(near.as_ref(), collector, merge)
            }
            Self::Chunks(chunks) => chunks.collect(near.map(|near| near.boxes), collector, merge),
        }
    }
}

/// Which rows are near boxes.
pub(super) struct NearRows<'a> {
    pub boxes: &'a BoxIndex<'a>,
    /// What decides it in a file; `None` if its columns cannot.
    pub in_file: Option<NearBoxes<'a>>,
}
