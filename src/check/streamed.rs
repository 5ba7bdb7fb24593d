//! A shard that is read from its first byte to its last, once: its digest is computed and its samples are decoded from the
//! same bytes.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{OpenObject, StorageError, Store};

/// Bytes that are read at once.
pub(super) const PIECE_BYTES: u64 = 4 << 20;

/// An object of a known size. Reads that follow one another, as those of the samples of a shard do, are served from pieces.
#[derive(Debug)]
pub(super) struct StreamedObject {
    store: Arc<dyn Store>,
    key: String,
    size_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hasher: blake3::Hasher,
    /// The bytes from `start` on, up to where the object was read.
    window: Vec<u8>,
    start: u64,
    has_failed: bool,
}

impl StreamedObject {
    /// The object at `key`, of which nothing was read yet.
    pub(super) fn new(store: Arc<dyn Store>, key: &str, size_bytes: u64) -> Self {
        Self {
            store,
            key: key.to_owned(),
            size_bytes,
            state: Mutex::new(State {
                hasher: blake3::Hasher::new(),
                window: Vec::new(),
                start: 0,
                has_failed: false,
            }),
        }
    }

    /// Whether a read failed. Then the next ones would fail as well.
    pub(super) fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// Reads the rest, and returns the digest of the object.
    pub(super) fn digest(&self) -> Result<blake3::Hash, StorageError> {
        let mut state = self.state();
        while state.end() < self.size_bytes {
            let end = state.end();
            self.read_next(&mut state, end)?;
        }
        Ok(state.hasher.finalize())
    }

    /// Reads the next piece, and forgets the bytes before `offset`, which is in the window or at its end.
    fn read_next(&self, state: &mut State, offset: u64) -> Result<(), StorageError> {
        let end = self.size_bytes.min(state.end().saturating_add(PIECE_BYTES));
        let piece = self.read(state.end()..end, state)?;
        state.hasher.update(&piece);
        state.window.drain(..(offset - state.start) as usize);
        state.start = offset;
        state.window.extend_from_slice(&piece);
        Ok(())
    }

    fn read(&self, range: Range<u64>, state: &mut State) -> Result<Vec<u8>, StorageError> {
        let mut bytes = Vec::new();
        let read = self.store.read_range(&self.key, range, &mut bytes);
        state.has_failed |= !matches!(read, Ok(true));
        if read? {
            Ok(bytes)
        } else {
            Err(StorageError::Read {
                object: self.store.describe(&self.key),
                source: std::io::ErrorKind::NotFound.into(),
            })
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where the object was read up to.
    fn end(&self) -> u64 {
        self.start + self.window.len() as u64
    }
}

impl OpenObject for StreamedObject {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let state = &mut *self.state();
        let end = offset.saturating_add(into.len() as u64);
        if end > self.size_bytes {
            return Err(StorageError::TooShort {
                object: self.store.describe(&self.key),
                found_bytes: self.size_bytes,
                start: offset,
                end,
            });
        }
        if !(state.start..=state.end()).contains(&offset) {
            into.copy_from_slice(&self.read(offset..end, state)?);
            return Ok(());
        }
        while state.end() < end {
            self.read_next(state, offset)?;
        }
        let at = (offset - state.start) as usize;
        into.copy_from_slice(&state.window[at..at + into.len()]);
        Ok(())
    }
}

/// The range in pieces of at most `bytes` bytes.
pub(super) fn pieces(range: Range<u64>, bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = range;
    let starts = std::iter::successors(Some(start), move |start| start.checked_add(bytes));
    starts
        .take_while(move |start| *start < end)
        .map(move |start| start..end.min(start.saturating_add(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Location, Storage};
    use proptest::prelude::*;

    /// An object of `bytes` bytes that do not repeat, and its contents.
    fn object(folder: &std::path::Path, bytes: usize) -> (StreamedObject, Vec<u8>) {
        let mut contents = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut contents);
        std::fs::write(folder.join("shard"), &contents).unwrap();
        let store = Storage::default().open(&Location::from(folder));
        (StreamedObject::new(store, "shard", bytes as u64), contents)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn reads_in_any_order_return_the_bytes_and_do_not_change_the_digest(
            mut reads in prop::collection::vec((0..(3 * PIECE_BYTES), 0..(2 * PIECE_BYTES)), 0..8), sorted: bool,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (object, contents) = object(dir.path(), 3 * PIECE_BYTES as usize + 7);
            if sorted {
                reads.sort_unstable();
            }
            for (offset, n) in reads {
                let n = n.min(object.size_bytes() - offset) as usize;
                let mut into = vec![1; n];
                object.read_at(offset, &mut into).unwrap();
                prop_assert!(into == contents[offset as usize..offset as usize + n]);
                prop_assert!(object.state().window.len() as u64 <= 3 * PIECE_BYTES);
            }
            prop_assert_eq!(object.digest().unwrap(), blake3::hash(&contents));
        }
    }

    #[test]
    fn samples_that_follow_one_another_are_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let (object, contents) = object(dir.path(), 2 * PIECE_BYTES as usize + 100);
        let size = object.size_bytes();
        #[cfg(target_os = "linux")]
        crate::storage::witness::take();
        // The index at the end, then the samples.
        object.read_at(size - 20, &mut [0; 20]).unwrap();
        let mut at = 0;
        for n in (1..)
            .map(|i| i * 1000)
            .take_while(|n| n * n < 2_000_000_000)
        {
            let mut into = vec![0; n];
            object.read_at(at as u64, &mut into).unwrap();
            assert!(into == contents[at..at + n]);
            at += n;
        }
        object.digest().unwrap();
        #[cfg(target_os = "linux")]
        {
            use crate::storage::witness::{Seen, take};
            let seen = take().into_iter().map(|seen| match seen {
                Seen::Read(_, Some(range)) => range,
                other => panic!("{other:?}"),
            });
            let (one, two) = (PIECE_BYTES, 2 * PIECE_BYTES);
            let expected = [size - 20..size, 0..one, one..two, two..size];
            assert_eq!(seen.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn reads_after_the_end_and_of_a_shorter_file_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let (object, _) = object(dir.path(), 100);
        assert!(object.read_at(90, &mut [0; 11]).unwrap_err().is_too_short());
        object.read_at(u64::MAX, &mut [0; 2]).unwrap_err();
        assert!(!object.has_failed());
        std::fs::write(dir.path().join("shard"), [0; 50]).unwrap();
        assert!(object.digest().unwrap_err().is_too_short() && object.has_failed());
    }

    #[test]
    fn pieces_cover_the_range() {
        let of = |range, bytes| pieces(range, bytes).collect::<Vec<_>>();
        assert_eq!(of(0..10, 4), [0..4, 4..8, 8..10]);
        assert_eq!(of(0..8, 4), [0..4, 4..8]);
        assert_eq!(of(3..3, 4), []);
        let last = u64::MAX - 5;
        assert_eq!(of(last..u64::MAX, 4), [last..last + 4, last + 4..u64::MAX]);
    }
}
