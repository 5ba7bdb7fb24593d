//! A dataset of numbers: its values, their type, and its attributes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::attributes;
use super::error::Hdf5Error;
use super::file::Hdf5File;
use super::stored_array::{StoredArray, StoredRange};
use super::stored_type::{StoredType, check_encoding, describe_type};
use crate::data_type::{DataType, Scalar};
use crate::storage::Store;

/// An open dataset.
#[derive(Debug)]
pub(crate) struct Hdf5Dataset {
    values: StoredArray,
    stored_type: StoredType,
    fill_value: Scalar,
    attributes: Map<String, Value>,
}

impl Hdf5Dataset {
    /// The dataset `found` at `path` of `file`.
    pub(super) fn new(
        file: &Hdf5File,
        path: &str,
        found: &hdf5_reader::Dataset,
    ) -> Result<Self, Hdf5Error> {
        let object = file.describe(path);
        let unsupported = |problem: String| Hdf5Error::Unsupported {
            object: object.clone(),
            problem,
        };
        let stored_type = StoredType::of(found.dtype()).ok_or_else(|| {
            unsupported(format!(
                "found values of the type {}, expected one of {}",
                describe_type(found.dtype()),
                DataType::ALL.map(DataType::name).join(", ")
            ))
        })?;
        let encoding = file.call_limited(&object, || found.raw_datatype())?;
        check_encoding(&encoding).map_err(unsupported)?;
        let values = StoredArray::new(file, path, found, stored_type.data_type.size_bytes())?;
        let attributes = file.call_limited(&object, || {
            let resolve = |reference: &[u8]| found.resolve_vlen_reference_bytes(reference, 1);
            Ok(attributes::as_json(found.raw_attributes()?, &resolve))
        })?;
        let fill_value = fill_value(values.fill.as_deref(), stored_type);
        Ok(Self {
            fill_value: fill_value.map_err(|problem| Hdf5Error::Damaged { object, problem })?,
            values,
            stored_type,
            attributes,
        })
    }

    /// The file and the dataset, for messages, in the form of a source.
    pub fn object(&self) -> &str {
        &self.values.object
    }

    /// The store of its file.
    pub fn store(&self) -> &dyn Store {
        self.values.store()
    }

    /// Length of each dimension, the slowest first.
    pub fn shape(&self) -> &[u64] {
        &self.values.shape
    }

    /// Length of each dimension of a block.
    pub fn block_shape(&self) -> &[u64] {
        &self.values.block
    }

    /// The type of its values, which are decoded to little-endian.
    pub fn data_type(&self) -> DataType {
        self.stored_type.data_type
    }

    /// The value of missing blocks.
    pub fn fill_value(&self) -> Scalar {
        self.fill_value
    }

    /// Its attributes. One that is not a number, a truth value, text or a list of them is an object that says what it is.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// Digest of everything about it except its values and their places in the file. Tools that copy a dataset change the
    /// order of its attributes, which has no meaning.
    pub fn digest(&self) -> blake3::Hash {
        let (blocks, filters) = self.values.describe_storage();
        let attributes: BTreeMap<_, _> = self.attributes.iter().collect();
        let parts = json!([
            self.values.shape,
            self.values.block,
            self.stored_type.data_type.name(),
            self.stored_type.is_big_endian,
            self.fill_value.bytes(8),
            blocks,
            filters,
            attributes,
        ]);
        blake3::hash(parts.to_string().as_bytes())
    }

    /// Where the block with these indices is; `None` if it is missing.
    ///
    /// # Errors
    /// The stored block is much larger than its values.
    pub fn find(&self, block: &[u64]) -> Result<Option<StoredRange<'_>>, String> {
        self.values.find(block)
    }

    /// Decodes the stored bytes of a block: an array with the shape of a block, in the byte order of the file. At the end of a
    /// dataset without chunks, its slowest dimensions are clipped. The error is a description for the user.
    pub fn decode<'b>(&self, block: &[u64], stored: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        self.values.decode(block, stored)
    }

    /// Most bytes of a stored block.
    pub fn stored_limit_bytes(&self) -> u64 {
        self.values.stored_limit_bytes()
    }

    /// Most bytes that decoding a block takes beside the stored block.
    pub fn decoding_bytes(&self) -> u64 {
        self.values.decoding_bytes()
    }

    /// Changes values from the byte order of the file to little-endian.
    pub fn swap_bytes(&self, values: &mut [u8]) {
        let value_bytes = self.stored_type.data_type.size_bytes();
        if self.stored_type.is_big_endian && value_bytes > 1 {
            for value in values.chunks_exact_mut(value_bytes) {
                value.reverse();
            }
        }
    }

    /// Reads all values: little-endian, in C order. They must have at most `limit_bytes` bytes.
    pub fn read_all(&self, limit_bytes: u64) -> Result<Vec<u8>, Hdf5Error> {
        let mut values = self.values.read_all(limit_bytes)?;
        self.swap_bytes(&mut values);
        Ok(values)
    }
}

/// The value of missing blocks, from its bytes in the file.
fn fill_value(stored: Option<&[u8]>, stored_type: StoredType) -> Result<Scalar, String> {
    let Some(stored) = stored else {
        return Ok(Scalar::ZERO);
    };
    let mut bytes = stored.to_vec();
    if stored_type.is_big_endian {
        bytes.reverse();
    }
    Scalar::from_le_bytes(&bytes)
        .ok_or_else(|| "found a fill value of more than 8 bytes".to_owned())
}
