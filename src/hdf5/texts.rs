//! Texts: of one length, stored like numbers, or of any length, stored in a heap that their values refer to.

use hdf5_reader::Datatype;
use hdf5_reader::datatype_api::{StringPadding, StringSize, VarLenKind};
use hdf5_reader::error::Result;

use super::error::Hdf5Error;
use super::file::{Hdf5File, call};
use super::stored_array::StoredArray;
use super::stored_type::describe_type;

/// The type of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextType {
    /// Bytes of each text; `None` if they are in a heap.
    length: Option<u32>,
    padding: StringPadding,
}

/// The bytes of the text that a value refers to, as the library reads them.
pub(super) type ResolveReference<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>> + 'a;

impl TextType {
    /// The type `stored`, if its values are texts.
    pub fn of(stored: &Datatype) -> Option<Self> {
        match stored {
            Datatype::String { size, padding, .. } => Some(Self {
                length: match size {
                    StringSize::Fixed(bytes) => Some(*bytes),
                    StringSize::Variable => None,
                },
                padding: *padding,
            }),
            Datatype::VarLen {
                base,
                kind: VarLenKind::String,
                padding,
                ..
            } if base.is_vlen_string_base() => Some(Self {
                length: None,
                padding: *padding,
            }),
            _ => None,
        }
    }

    /// Bytes of a value: a text, or a reference, which is a length, the address of a heap and an index in it.
    pub fn value_bytes(self, offset_size: u8) -> usize {
        match self.length {
            Some(bytes) => bytes as usize,
            None => 4 + usize::from(offset_size) + 4,
        }
    }

    /// The text of a value, of at most `limit_bytes` bytes. The error is a description for the user.
    pub fn read(
        self,
        value: &[u8],
        limit_bytes: usize,
        resolve: &ResolveReference<'_>,
    ) -> Result<std::result::Result<String, String>> {
        let too_long =
            |bytes| format!("found a text of {bytes} bytes, expected at most {limit_bytes}");
        let resolved;
        let bytes = match self.length {
            Some(_) => value,
            None => {
                let length = value.first_chunk().map_or(0, |n| u32::from_le_bytes(*n));
                if length as usize > limit_bytes {
                    return Ok(Err(too_long(length as usize)));
                }
                resolved = resolve(value)?;
                &resolved
            }
        };
        let bytes = self.without_padding(bytes);
        if bytes.len() > limit_bytes {
            return Ok(Err(too_long(bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        Ok(text.map_err(|_| "found a text that is not UTF-8".to_owned()))
    }

    fn without_padding(self, bytes: &[u8]) -> &[u8] {
        let is_text: fn(&u8) -> bool = match self.padding {
            StringPadding::NullTerminate => {
                let end = bytes.iter().position(|b| *b == 0);
                return &bytes[..end.unwrap_or(bytes.len())];
            }
            StringPadding::NullPad => |b| *b != 0,
            StringPadding::SpacePad => |b| *b != b' ',
        };
        let end = bytes.iter().rposition(is_text);
        &bytes[..end.map_or(0, |last| last + 1)]
    }
}

/// The texts of a dataset.
pub(crate) struct Hdf5Texts {
    found: hdf5_reader::Dataset,
    values: StoredArray,
    text_type: TextType,
    value_bytes: usize,
}

impl Hdf5Texts {
    /// The texts of `found` at `path` of `file`.
    pub(super) fn new(
        file: &Hdf5File,
        path: &str,
        found: hdf5_reader::Dataset,
    ) -> std::result::Result<Self, Hdf5Error> {
        let text_type = TextType::of(found.dtype()).ok_or_else(|| Hdf5Error::Unsupported {
            object: file.describe(path),
            problem: format!(
                "found values of the type {}, expected text",
                describe_type(found.dtype())
            ),
        })?;
        let value_bytes = text_type.value_bytes(file.parsed.superblock().offset_size);
        Ok(Self {
            values: StoredArray::new(file, path, &found, value_bytes)?,
            found,
            text_type,
            value_bytes,
        })
    }

    /// The file and the dataset, for messages, in the form of a source.
    pub fn object(&self) -> &str {
        &self.values.object
    }

    /// Length of each dimension, the slowest first.
    pub fn shape(&self) -> &[u64] {
        &self.values.shape
    }

    /// Passes the texts to `each`, one by one in C order. Their values, without what is in a heap, must have at most
    /// `limit_bytes` bytes, and each text at most `text_limit_bytes`.
    pub fn for_each(
        &self,
        limit_bytes: u64,
        text_limit_bytes: usize,
        mut each: impl FnMut(&str),
    ) -> std::result::Result<(), Hdf5Error> {
        let values = self.values.read_all(limit_bytes)?;
        let resolve = |reference: &[u8]| self.found.resolve_vlen_reference_bytes(reference, 1);
        for (row, value) in (0u64..).zip(values.chunks_exact(self.value_bytes)) {
            let text = call(self.object(), || {
                self.text_type.read(value, text_limit_bytes, &resolve)
            })?;
            let text = text.map_err(|problem| Hdf5Error::Damaged {
                object: format!("{}, row {row}", self.object()),
                problem,
            })?;
            each(&text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_removed_and_long_texts_are_errors() {
        let of = |padding| TextType {
            length: Some(6),
            padding,
        };
        let resolve = |_: &[u8]| -> Result<Vec<u8>> { unreachable!() };
        let read = |padding, value: &[u8]| of(padding).read(value, 5, &resolve).unwrap();
        let ok = |text: &str| -> std::result::Result<String, String> { Ok(text.to_owned()) };
        assert_eq!(read(StringPadding::NullTerminate, b"ab\0cd\0"), ok("ab"));
        assert_eq!(read(StringPadding::NullPad, b"ab\0c\0\0"), ok("ab\0c"));
        assert_eq!(read(StringPadding::SpacePad, b"a b   "), ok("a b"));
        assert_eq!(read(StringPadding::NullPad, &[0; 6]), ok(""));
        let e = read(StringPadding::NullPad, b"abcdef").unwrap_err();
        assert!(e.contains("6 bytes") && e.contains("at most 5"), "{e}");
        assert!(
            read(StringPadding::NullPad, b"\xff")
                .unwrap_err()
                .contains("UTF-8")
        );
    }

    #[test]
    fn a_long_text_in_a_heap_is_not_read() {
        let heap = TextType {
            length: None,
            padding: StringPadding::NullTerminate,
        };
        assert_eq!(heap.value_bytes(8), 16);
        let reference = [&6u32.to_le_bytes()[..], &[0; 12]].concat();
        let read = |limit| heap.read(&reference, limit, &|_| Ok(b"abcdef".to_vec()));
        assert_eq!(read(6).unwrap(), Ok("abcdef".to_owned()));
        let unread = heap.read(&reference, 5, &|_| unreachable!());
        assert!(unread.unwrap().is_err());
    }
}
