//! The commands `train` and `infer`: what they run, and what they print. Their arguments are in the library.

pub(super) mod infer;
pub(super) mod train;
