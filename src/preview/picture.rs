//! Pictures of samples: [`ContactSheet`] draws image, targets and predictions next to each other into a [`Picture`].
//!
//! Voxels come in; an RGB bitmap goes out, as pixels or as a PNG file. Text (captions, headings) is not part of it.

mod bitmap;
mod canvas;
mod colors;
mod contact_sheet;
mod digits;
mod scale_bar;

pub use bitmap::Picture;
pub(in crate::preview) use bitmap::is_own_png;
pub(super) use canvas::Canvas;
pub(super) use colors::{LABEL_COLORS, OVERLAY_COLORS, Rgb, blend, gray, legend, masked_out};
pub use contact_sheet::ContactSheet;
pub(super) use digits::digits;
