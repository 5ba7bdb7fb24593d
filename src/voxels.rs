//! Pure kernels over voxel values: copy, cast, convert, resample, statistics.
//!
//! Little-endian values come in, and little-endian values go out, in C order `[channel, z, y, x]`. Nothing here reads a file
//! or a plan. Loops have no branches where that lets the compiler use vector instructions.

mod cast;
mod convert;
mod region;
mod resample;
mod statistics;

pub(crate) use convert::{Conversion, ValueDoesNotFit, unreachable_value};
pub(crate) use region::{Region, convert, copy, fill, fill_around};
pub(crate) use resample::{Ratio, Resampler, WindowResampler, centres_inside};
pub use statistics::Statistics;
