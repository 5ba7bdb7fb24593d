//! A page that shows a dataset: one HTML file with a contact sheet, a viewer for each sample, filters, distributions and a map.
//!
//! The page needs no server and no network: styles, scripts and voxels are in it, and its content security policy forbids requests.
//! Text from outside is escaped, or set as text by the scripts.

mod chart;
mod data;
mod html;

pub(super) use data::{PageData, PageSample};
pub(super) use html::{GENERATOR, page};
