//! What the description of a file's first page states: which page is which section and channel, and the voxel size.
//!
//! There is no standard for stacks. OME-TIFF has an XML document, ImageJ has lines of `key=value`, tifffile has JSON with
//! the shape of the array. Without any of them, each page is a section.

mod image_j;
mod ome;
mod shaped;

use super::directory::{Directory, TiffReader, tag};
use super::error::TiffError;
use super::page::Page;
use crate::geometry::length_nm;
use crate::storage::MemoryBudget;
use crate::volume::unit_names::unit_symbol;

/// Memory for a parsed description, per byte of its text.
const BYTES_OF_MEMORY: u64 = 4;

/// What a description states.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Description {
    pub planes: Planes,
    /// Along x, y, z; `None` where it is not stated.
    pub voxel_nm: [Option<f64>; 3],
    /// Number of pages that follow the first one without directories of their own.
    pub raw_pages: Option<u64>,
}

/// Which page is which section and channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Planes {
    /// Each page is a section.
    #[default]
    Sections,
    /// Pages in a regular order.
    Grid(PlaneGrid),
    /// The page of each channel and section, the section fastest.
    Listed { channels: u64, pages: Vec<u32> },
}

/// A regular order of pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlaneGrid {
    pub sections: u64,
    pub channels: u64,
    pub is_channel_fastest: bool,
}

impl PlaneGrid {
    /// Number of pages.
    pub(super) fn pages(&self) -> Option<u64> {
        self.sections.checked_mul(self.channels)
    }
}

/// Reads the description of the file's first page. `pages` is the number of pages in the file. If `is_simple`, each page
/// is a section whatever the description states.
pub(super) fn read(
    reader: &mut TiffReader,
    directory: &Directory,
    page: &Page,
    pages: u64,
    is_simple: bool,
    budget: &MemoryBudget,
) -> Result<Description, TiffError> {
    let object = reader.name().to_owned();
    let unsupported = |problem: String| TiffError::Unsupported { object, problem };
    for (tag, name) in [
        (tag::UIC_2, "a MetaMorph stack"),
        (tag::CZ_LSM_INFO, "Zeiss LSM"),
    ] {
        if directory.contains(tag) {
            let problem = format!(
                "found {name} (tag {tag}), which is not supported: convert it to OME-TIFF, for example with `bfconvert` or Fiji"
            );
            return Err(unsupported(problem));
        }
    }
    let lease =
        budget.lease(BYTES_OF_MEMORY.saturating_mul(directory.count(tag::IMAGE_DESCRIPTION)));
    let _lease = match lease {
        Ok(lease) => lease,
        Err(over) => {
            return Err(unsupported(format!(
                "its description is larger than {over}"
            )));
        }
    };
    let text = reader.text(directory, tag::IMAGE_DESCRIPTION)?;
    let text = text.unwrap_or_default();
    let text = text.trim();
    let stated = if ome::is_ome(text) {
        ome::parse(text, page.samples, pages, is_simple)
    } else if image_j::is_image_j(text) {
        let pixels_per_unit = [
            reader.fraction(directory, tag::X_RESOLUTION)?,
            reader.fraction(directory, tag::Y_RESOLUTION)?,
        ];
        image_j::parse(text, pixels_per_unit, pages, is_simple)
    } else if shaped::is_shaped(text) {
        shaped::parse(text, page, pages, is_simple)
    } else {
        Ok(Description::default())
    };
    stated.map_err(unsupported)
}

/// A length in nm; `None` for units that are no length, such as `pixel`, and for numbers that are no size.
fn size_nm(value: f64, unit: &str) -> Option<f64> {
    let nm = length_nm(value, unit_symbol(unit.trim()))?;
    (nm.is_finite() && nm > 0.0).then_some(nm)
}

/// What to do about pages that are no sections.
const READ_AS_SECTIONS: &str =
    "if each page is a section, set `\"axes\": \"zyx\"` for the layer in the config's `layers`";
