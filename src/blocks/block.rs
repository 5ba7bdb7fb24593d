//! A decoded block.

use crate::data_type::Scalar;

/// A decoded block.
#[derive(Debug)]
pub enum Block {
    /// A missing chunk: it reads as the fill value.
    Missing,
    /// All its values are equal to this one.
    Uniform(Scalar),
    /// Its values, as [`Volume::decode`](crate::volume::Volume::decode) returns them.
    Stored(Vec<u8>),
}
