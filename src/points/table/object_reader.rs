//! Reads parts of a file or object anywhere, in pieces that are kept for the next parts: readers of columns ask for many small parts
//! near each other, and each request to a server takes long.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::storage::{OpenObject, StorageError};

/// Bytes of a piece on a server, and on a disk.
const REMOTE_PIECE_BYTES: u64 = 4 << 20;
const LOCAL_PIECE_BYTES: u64 = 256 << 10;

/// Pieces that are kept: at least one for each column that is read.
const KEPT_PIECES: usize = 12;

/// An open file or object. Clones share the pieces.
#[derive(Clone, Debug)]
pub(super) struct ObjectReader {
    object: Arc<dyn OpenObject>,
    piece_bytes: u64,
    /// The pieces that were read last, by their number.
    pieces: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl ObjectReader {
    pub fn new(object: Arc<dyn OpenObject>, has_latency: bool) -> Self {
        Self {
            object,
            piece_bytes: if has_latency {
                REMOTE_PIECE_BYTES
            } else {
                LOCAL_PIECE_BYTES
            },
            pieces: Arc::default(),
        }
    }

    pub fn size_bytes(&self) -> u64 {
        self.object.size_bytes()
    }

    /// `length` bytes from `start` on. An end after that of the object is an error.
    pub fn read(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let end = start.checked_add(length);
        let end = end.filter(|end| *end <= self.size_bytes());
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let first = start / self.piece_bytes;
        if first == (end - 1) / self.piece_bytes {
            let piece = self.piece(first)?;
            let from = (start - first * self.piece_bytes) as usize;
            return Ok(piece.slice(from..from + length as usize));
        }
        // Longer than a piece, or in two of them: it is not read again soon.
        let mut bytes = vec![0; length as usize];
        self.object.read_at(start, &mut bytes).map_err(io_error)?;
        Ok(bytes.into())
    }

    fn piece(&self, number: u64) -> io::Result<Bytes> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = pieces.iter().position(|(n, _)| *n == number)
            && let Some((number, bytes)) = pieces.remove(place)
        {
            pieces.push_back((number, bytes.clone()));
            return Ok(bytes);
        }
        let start = number * self.piece_bytes;
        let length = self.piece_bytes.min(self.size_bytes() - start);
        let mut bytes = vec![0; length as usize];
        self.object.read_at(start, &mut bytes).map_err(io_error)?;
        let bytes = Bytes::from(bytes);
        if pieces.len() == KEPT_PIECES {
            pieces.pop_front();
        }
        pieces.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

fn io_error(error: StorageError) -> io::Error {
    io::Error::other(error)
}

impl Length for ObjectReader {
    fn len(&self) -> u64 {
        self.size_bytes()
    }
}

impl ChunkReader for ObjectReader {
    type T = ObjectCursor;

    fn get_read(&self, start: u64) -> Result<ObjectCursor, ParquetError> {
        Ok(ObjectCursor {
            reader: self.clone(),
            position: start,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.read(start, length as u64)
            .map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// A position in an object.
#[derive(Debug)]
pub(super) struct ObjectCursor {
    reader: ObjectReader,
    position: u64,
}

impl Read for ObjectCursor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.reader.size_bytes().saturating_sub(self.position);
        let to_piece_end = self.reader.piece_bytes - self.position % self.reader.piece_bytes;
        let length = (into.len() as u64).min(left).min(to_piece_end);
        let bytes = self.reader.read(self.position, length)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        self.position += length;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Location, Storage};

    #[test]
    fn every_part_of_a_file_is_what_the_file_has() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..600_000u32).map(|i| (i * 7 % 251) as u8).collect();
        std::fs::write(folder.path().join("f"), &bytes).unwrap();
        let store = Storage::default().open(&Location::Local(folder.path().into()));
        let object = store.open_object("f").unwrap().unwrap();
        let reader = ObjectReader::new(Arc::from(object), false);
        let size = bytes.len();
        for (start, end) in [
            (0, 0),
            (0, 1),
            (262_143, 262_145),
            (5, 599_999),
            (599_999, size),
            (size, size),
        ] {
            let part = reader.read(start as u64, (end - start) as u64).unwrap();
            assert_eq!(part, bytes[start..end], "{start} {end}");
        }
        assert!(reader.read(599_999, 2).is_err() && reader.read(u64::MAX, 2).is_err());
        let mut all = Vec::new();
        reader.get_read(3).unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes[3..]);
    }
}
