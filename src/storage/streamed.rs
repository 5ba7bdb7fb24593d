//! Documents that are streamed, any number of times: tables and collections, which may be larger than memory.
//!
//! A small document is kept in memory as stored. For a larger one, only the beginning is kept, and each pass reads the
//! rest in pieces. If a server does not support ranges, or compresses its responses, the whole response is kept, if it
//! fits into the memory budget. Documents are inflated while they are read.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use serde::de::DeserializeSeed;

use super::document::json_size::{Bounded, TooLong};
use super::{
    Compression, DocumentError, Lease, Location, MAX_DOCUMENT_BYTES, MemoryBudget, ReadError,
    Storage, StorageError, Store, gzip_note, looks_like_gzip, looks_like_html,
};

/// Size of the beginning that is kept, and the smallest piece that is read.
const PIECE_BYTES: u64 = 1 << 20;

/// Largest piece that is read. Servers that ignore ranges also send everything before the piece, so the pieces grow
/// with their offset.
const MAX_PIECE_BYTES: u64 = 64 << 20;

const ADVICE: &str = "allow more with --memory, or split it";

/// A stored document that is streamed.
#[derive(Debug)]
pub(crate) struct StreamedDocument {
    store: Arc<dyn Store>,
    key: String,
    object: String,
    expected: &'static str,
    budget: MemoryBudget,
    held: Held,
    /// Its compressions, in the order in which they were applied.
    compressions: Vec<Compression>,
}

/// The begin of a zstd frame.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

#[derive(Debug)]
enum Held {
    /// The whole document.
    Whole {
        stored: Vec<u8>,
        _lease: Option<Lease>,
    },
    /// The beginning of a document of `size` bytes.
    Beginning { stored: Vec<u8>, size: u64 },
}

impl StreamedDocument {
    /// Opens the document at `location`. `expected` describes its kind for messages, with an article.
    pub(crate) fn open(
        location: &Location,
        expected: &'static str,
        storage: &Storage,
    ) -> Result<Self, DocumentError> {
        let missing = || DocumentError::Missing {
            object: location.to_string(),
            expected,
        };
        let (folder, key) = location.split_file().ok_or_else(missing)?;
        Self::open_key(storage.open(&folder), &key, expected, storage.budget())
    }

    /// Opens the document at `key` of `store`.
    pub(crate) fn open_key(
        store: Arc<dyn Store>,
        key: &str,
        expected: &'static str,
        budget: &MemoryBudget,
    ) -> Result<Self, DocumentError> {
        let object = store.describe(key);
        let mut stored = Vec::new();
        let found = match store.read_encoded(key, PIECE_BYTES, &mut stored) {
            Ok(found) => found.map(|compressions| {
                let _lease = None;
                (Held::Whole { stored, _lease }, compressions)
            }),
            Err(e) if e.too_large().is_some() => {
                read_large(store.as_ref(), key, &object, expected, budget)?
            }
            Err(e) => return Err(e.into()),
        };
        let (held, mut compressions) = found.ok_or_else(|| DocumentError::Missing {
            object: object.clone(),
            expected,
        })?;
        let (Held::Whole { stored, .. } | Held::Beginning { stored, .. }) = &held;
        // Copies of buckets often contain objects that were served with `Content-Encoding: gzip`, still compressed.
        if compressions.is_empty() && looks_like_gzip(stored) {
            compressions.push(Compression::Gzip);
        } else if compressions.is_empty() && stored.starts_with(ZSTD) {
            compressions.push(Compression::Zstd);
        }
        Ok(Self {
            store,
            key: key.to_owned(),
            object,
            expected,
            budget: budget.clone(),
            held,
            compressions,
        })
    }

    /// Its first bytes, as stored.
    pub(crate) fn beginning(&self) -> &[u8] {
        let (Held::Whole { stored, .. } | Held::Beginning { stored, .. }) = &self.held;
        stored
    }

    /// Its name for messages.
    pub(crate) fn object(&self) -> &str {
        &self.object
    }

    /// Reads the document from the beginning. Errors of the reader contain a [`DocumentError`]: see [`document_error`].
    pub(crate) fn reader(&self) -> Result<Box<dyn BufRead + Send + '_>, DocumentError> {
        let mut reader: Box<dyn Read + Send + '_> = match &self.held {
            Held::Whole { stored, .. } => Box::new(&stored[..]),
            Held::Beginning { stored, size } => {
                let first = Pieces::new(self, stored.len() as u64, *size);
                Box::new(stored.chain(first))
            }
        };
        for compression in self.compressions.iter().rev() {
            let named = |e| inflate_error(e, &self.object, *compression);
            reader = Box::new(Inflated {
                inner: compression.reader(reader).map_err(named)?,
                object: &self.object,
                compression: *compression,
            });
        }
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let start = reader.fill_buf();
        if looks_like_html(start.map_err(|e| self.document_error(e))?) {
            return Err(DocumentError::Html {
                object: self.object.clone(),
                expected: self.expected,
            });
        }
        Ok(Box::new(reader))
    }

    /// Parses the document as JSON. `seed` selects the parts to keep.
    pub(crate) fn parse<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
        &self,
        seed: S,
    ) -> Result<T, DocumentError> {
        parse_stream(self.reader()?, &self.object, self.expected, seed)
    }

    /// Converts an error of the reader.
    pub(crate) fn document_error(&self, error: std::io::Error) -> DocumentError {
        document_error(error, &self.object, self.expected)
    }

    /// The error of a document that needs too much memory.
    pub(crate) fn too_large(&self, problem: String, advice: &'static str) -> DocumentError {
        DocumentError::TooLarge {
            object: self.object.clone(),
            expected: self.expected,
            problem,
            advice,
        }
    }
}

/// Parses the JSON of `object` from `reader`. `seed` selects the parts to keep.
pub(crate) fn parse_stream<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
    mut reader: impl BufRead,
    object: &str,
    expected: &'static str,
    seed: S,
) -> Result<T, DocumentError> {
    let start = reader.fill_buf();
    let start = start.map_err(|e| document_error(e, object, expected))?;
    if looks_like_html(start) {
        return Err(DocumentError::Html {
            object: object.to_owned(),
            expected,
        });
    }
    let note = gzip_note(start);
    let json = Bounded::new(reader, MAX_DOCUMENT_BYTES);
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(json));
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let parsed = seed.deserialize(tracked).map_err(|e| (track.path(), e));
    let whole = parsed.and_then(|value| {
        let end = json.end().map(|()| value);
        end.map_err(|e| (serde_path_to_error::Track::new().path(), e))
    });
    whole.map_err(|(path, source)| {
        if source.is_io() {
            return document_error(source.into(), object, expected);
        }
        DocumentError::Parse {
            object: object.to_owned(),
            expected,
            path: path.to_string(),
            note,
            source,
        }
    })
}

/// Converts an error of the reader of the document `object`.
fn document_error(error: std::io::Error, object: &str, expected: &'static str) -> DocumentError {
    let error = match error.downcast::<DocumentError>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    match error.downcast::<TooLong>() {
        Ok(too_long) => DocumentError::TooLarge {
            object: object.to_owned(),
            expected,
            problem: too_long.to_string(),
            advice: "check the path",
        },
        Err(source) => StorageError::Read {
            object: object.to_owned(),
            source,
        }
        .into(),
    }
}

/// The bytes in memory and their compressions; `None` if the document is missing.
type Opened = Option<(Held, Vec<Compression>)>;

/// Opens a document of more than [`PIECE_BYTES`].
fn read_large(
    store: &dyn Store,
    key: &str,
    object: &str,
    expected: &'static str,
    budget: &MemoryBudget,
) -> Result<Opened, DocumentError> {
    let mut stored = Vec::new();
    let beginning = || -> Result<Option<u64>, StorageError> {
        let Some(size) = store.size(key)? else {
            return Ok(None);
        };
        let found = store.read_range(key, 0..PIECE_BYTES.min(size), &mut stored)?;
        Ok(found.then_some(size))
    };
    let no_ranges = match { beginning }() {
        Ok(None) => return Ok(None),
        Ok(Some(size)) => return Ok(Some((Held::Beginning { stored, size }, Vec::new()))),
        Err(e) if !store.is_remote() => return Err(e.into()),
        Err(e) => e,
    };
    let mut compressions = None;
    let read = |limit| {
        compressions = store.read_encoded(key, limit, &mut stored)?;
        Ok(compressions.is_some())
    };
    match budget.read_growing(1, read, StorageError::too_large) {
        Ok(_lease) => Ok(compressions.map(|done| (Held::Whole { stored, _lease }, done))),
        Err(ReadError::Other(e)) => Err(e.into()),
        Err(ReadError::Over(over)) => Err(DocumentError::TooLarge {
            object: object.to_owned(),
            expected,
            problem: format!(
                "it cannot be read in pieces ({no_ranges}), and does not fit into {over}"
            ),
            advice: ADVICE,
        }),
    }
}

/// Reads the rest of a document in pieces.
struct Pieces<'d> {
    document: &'d StreamedDocument,
    piece: Vec<u8>,
    /// Bytes of the piece that were already returned.
    taken: usize,
    /// Offset of the next piece.
    next: u64,
    size: u64,
    lease: Option<Lease>,
}

impl<'d> Pieces<'d> {
    fn new(document: &'d StreamedDocument, next: u64, size: u64) -> Self {
        Self {
            document,
            piece: Vec::new(),
            taken: 0,
            next,
            size,
            lease: None,
        }
    }

    fn read_next(&mut self) -> Result<(), DocumentError> {
        let StreamedDocument { store, key, .. } = self.document;
        let budget = &self.document.budget;
        let most = (budget.lease_limit_bytes() / 8).clamp(PIECE_BYTES, MAX_PIECE_BYTES);
        let length = self
            .next
            .clamp(PIECE_BYTES, most)
            .min(self.size - self.next);
        self.taken = 0;
        self.lease = None;
        let over = |e: super::OverBudget| self.document.too_large(e.to_string(), ADVICE);
        self.lease = Some(budget.lease(length).map_err(over)?);
        let range = self.next..self.next + length;
        self.next = range.end;
        if !store.read_range(key, range, &mut self.piece)? {
            return Err(DocumentError::Missing {
                object: self.document.object.clone(),
                expected: self.document.expected,
            });
        }
        Ok(())
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.piece.len() && self.next < self.size {
            self.read_next().map_err(std::io::Error::other)?;
        }
        let n = (&self.piece[self.taken..]).read(into)?;
        self.taken += n;
        Ok(n)
    }
}

/// A decoder whose errors name the document.
struct Inflated<'d> {
    inner: Box<dyn Read + Send + 'd>,
    object: &'d str,
    compression: Compression,
}

impl Read for Inflated<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let named = |e| std::io::Error::other(inflate_error(e, self.object, self.compression));
        self.inner.read(into).map_err(named)
    }
}

fn inflate_error(error: std::io::Error, object: &str, compression: Compression) -> DocumentError {
    error
        .downcast::<DocumentError>()
        .unwrap_or_else(|error| DocumentError::Damaged {
            object: object.to_owned(),
            compression: compression.name(),
            problem: error.to_string(),
        })
}
