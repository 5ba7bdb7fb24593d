//! HDF5 files: which datasets there are, their attributes, and where their chunks are.
//!
//! The crate hdf5-reader parses the structure of a file. Everything is read with our own storage, so that a file may be on
//! a server, and chunks are decoded with our own codecs: a chunk is one range of bytes. All structure is read when a dataset
//! is opened; after that, threads read chunks independently. Files are untrusted: sizes are checked before memory is
//! allocated, and a panic of the crate becomes an error.

mod attributes;
mod chunk_index;
mod contiguous;
mod dataset;
mod error;
mod file;
mod filters;
mod header;
mod object_reader;
mod stored_array;
mod stored_type;
mod texts;

pub(crate) use attributes::is_unsupported;
pub(crate) use dataset::Hdf5Dataset;
pub use error::Hdf5Error;
pub(crate) use file::{Hdf5File, is_hdf5, may_be_hdf5};
pub(crate) use stored_array::StoredRange;
