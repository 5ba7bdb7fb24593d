//! A minishard index: which chunks a minishard contains, and where they are in the shard.
//!
//! On disk it is an array `[3, n]` of little-endian u64, row after row: the ids, each as the difference to the previous
//! one; the starts, each relative to the end of the previous chunk; the sizes. Starts and ends are relative to the end of
//! the shard index.

use std::ops::Range;

/// The chunks of a minishard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Minishard {
    /// Sorted by id, without duplicates.
    chunks: Vec<ChunkEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ChunkEntry {
    id: u64,
    bytes: Range<u64>,
}

/// Bytes per chunk in the index.
const COLUMN_BYTES: usize = 24;

impl Minishard {
    /// Decodes an uncompressed minishard index. The error is a description for the user.
    pub(super) fn decode(index: &[u8]) -> Result<Self, String> {
        if !index.len().is_multiple_of(COLUMN_BYTES) {
            return Err(format!(
                "found {} bytes, expected a multiple of {COLUMN_BYTES}",
                index.len()
            ));
        }
        let (words, _) = index.as_chunks::<8>();
        let (ids, rest) = words.split_at(words.len() / 3);
        let (starts, sizes) = rest.split_at(ids.len());
        let mut chunks: Vec<ChunkEntry> = Vec::with_capacity(ids.len());
        let (mut id, mut end) = (0u64, 0u64);
        for (i, ((id_step, gap), size)) in ids.iter().zip(starts).zip(sizes).enumerate() {
            let [id_step, gap, size] = [id_step, gap, size].map(|word| u64::from_le_bytes(*word));
            if i > 0 && id_step == 0 {
                return Err(format!("found chunk {id} twice, expected each id once"));
            }
            id = id.checked_add(id_step).ok_or_else(|| {
                format!(
                    "found the id {id} + {id_step} at position {i}, expected ascending ids of 64 bits"
                )
            })?;
            let start = end.checked_add(gap);
            let bytes = start.and_then(|start| Some(start..start.checked_add(size)?));
            let bytes = bytes.ok_or_else(|| {
                format!(
                    "found chunk {id} with {size} bytes, {gap} bytes after offset {end}, expected offsets of 64 bits"
                )
            })?;
            end = bytes.end;
            chunks.push(ChunkEntry { id, bytes });
        }
        Ok(Self { chunks })
    }

    /// The bytes of chunk `id`, relative to the end of the shard index. `None` if it is missing.
    pub(super) fn find(&self, id: u64) -> Option<Range<u64>> {
        let i = self.chunks.binary_search_by_key(&id, |c| c.id).ok()?;
        Some(self.chunks[i].bytes.clone())
    }

    /// Size in memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<ChunkEntry>()
    }
}

/// Encodes an index of `(id, start, size)`.
#[cfg(test)]
pub(super) fn encode(chunks: &[(u64, u64, u64)]) -> Vec<u8> {
    let (mut last_id, mut last_end) = (0u64, 0u64);
    let mut columns = [const { Vec::new() }; 3];
    for (id, start, size) in chunks {
        columns[0].push(id.wrapping_sub(last_id));
        columns[1].push(start.wrapping_sub(last_end));
        columns[2].push(*size);
        (last_id, last_end) = (*id, start.wrapping_add(*size));
    }
    let words = columns.into_iter().flatten();
    words.flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn ids_are_differences_and_starts_are_relative_to_the_end_of_the_previous_chunk() {
        let index = Minishard::decode(&words(&[5, 3, 1000, 100, 0, 7, 10, 20, 30])).unwrap();
        assert_eq!(index.find(5), Some(100..110));
        assert_eq!(index.find(8), Some(110..130));
        assert_eq!(index.find(1008), Some(137..167));
        assert_eq!(index.find(6), None);
        assert_eq!(index.find(u64::MAX), None);
    }

    #[test]
    fn an_index_without_chunks_is_empty() {
        assert_eq!(Minishard::decode(&[]).unwrap().find(0), None);
    }

    #[test]
    fn a_duplicate_id_is_an_error() {
        let e = Minishard::decode(&words(&[5, 0, 1, 1, 1, 1])).unwrap_err();
        assert!(e.contains("chunk 5 twice"), "{e}");
        // The first id may be 0.
        assert!(Minishard::decode(&words(&[0, 1, 1])).is_ok());
    }

    #[test]
    fn differences_that_overflow_are_an_error() {
        for (index, word) in [
            ([u64::MAX, 1, 0, 0, 1, 1], "ascending"),
            ([0, 1, u64::MAX, 1, 0, 0], "offset"),
            ([0, 1, 0, 0, u64::MAX, 1], "offset"),
            ([0, 1, 1, 0, u64::MAX, 0], "offset"),
        ] {
            let e = Minishard::decode(&words(&index)).unwrap_err();
            assert!(e.contains(word), "{index:?}: {e}");
        }
    }

    #[test]
    fn a_length_that_is_not_a_multiple_of_24_is_an_error() {
        let e = Minishard::decode(&[0; 40]).unwrap_err();
        assert!(e.contains("40 bytes") && e.contains("24"), "{e}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), id: u64) {
            if let Ok(index) = Minishard::decode(&bytes) {
                index.find(id);
            }
        }

        #[test]
        fn arbitrary_words_never_panic_or_yield_a_chunk_that_ends_before_it_starts(
            index in prop::collection::vec(prop_oneof![0u64..50, any::<u64>()], 0..30), id in 0u64..200,
        ) {
            if let Ok(index) = Minishard::decode(&words(&index)) && let Some(bytes) = index.find(id) {
                prop_assert!(bytes.start <= bytes.end);
            }
        }

        #[test]
        fn encoded_chunks_are_found(
            steps in prop::collection::vec((1u64..1000, 0u64..1000, 0u64..1000), 0..40),
        ) {
            let (mut id, mut end) = (0, 0);
            let chunks: Vec<_> = steps.iter().map(|(step, gap, size)| {
                id += step;
                let start = end + gap;
                end = start + size;
                (id, start, *size)
            }).collect();
            let index = Minishard::decode(&encode(&chunks)).unwrap();
            for (id, start, size) in chunks {
                prop_assert_eq!(index.find(id), Some(start..start + size));
            }
        }
    }
}
