//! A minishard index: which chunks a minishard has, and where in the shard they are.
//!
//! On disk it is an array `[3, n]` of little-endian u64, column after column: the ids, each as the
//! difference to the one before; the starts, each counted from the end of the chunk before; the sizes.
//! Starts and ends are relative to the end of the shard index.

use std::ops::Range;

/// The chunks of a minishard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Minishard {
    /// Ascending by id, each once.
    chunks: Vec<ChunkEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ChunkEntry {
    id: u64,
    bytes: Range<u64>,
}

/// Bytes of a chunk in the index.
const COLUMN_BYTES: usize = 24;

impl Minishard {
    /// Understands a minishard index after its decompression. Says what is wrong where it is damaged.
    pub(super) fn decode(index: &[u8]) -> Result<Self, String> {
        if !index.len().is_multiple_of(COLUMN_BYTES) {
            return Err(format!(
                "it has {} bytes, expected a multiple of {COLUMN_BYTES}",
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
                return Err(format!("it has chunk {id} twice, expected each id once"));
            }
            id = id.checked_add(id_step).ok_or_else(|| {
                format!(
                    "the id of its chunk number {i} is {id} + {id_step}, expected ascending ids of 64 bits"
                )
            })?;
            let start = end.checked_add(gap);
            let bytes = start.and_then(|start| Some(start..start.checked_add(size)?));
            let bytes = bytes.ok_or_else(|| {
                format!(
                    "chunk {id} has {size} bytes, {gap} bytes after offset {end}, expected offsets of 64 bits"
                )
            })?;
            end = bytes.end;
            chunks.push(ChunkEntry { id, bytes });
        }
        Ok(Self { chunks })
    }

    /// The bytes of chunk `id`, relative to the end of the shard index; `None` where it is not stored.
    pub(super) fn find(&self, id: u64) -> Option<Range<u64>> {
        let i = self.chunks.binary_search_by_key(&id, |c| c.id).ok()?;
        Some(self.chunks[i].bytes.clone())
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<ChunkEntry>()
    }
}

/// Encodes an index of `(id, start, size)`, as a writer does.
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
    fn ids_are_differences_and_starts_count_from_the_end_of_the_chunk_before() {
        let index = Minishard::decode(&words(&[5, 3, 1000, 100, 0, 7, 10, 20, 30])).unwrap();
        assert_eq!(index.find(5), Some(100..110));
        assert_eq!(index.find(8), Some(110..130));
        assert_eq!(index.find(1008), Some(137..167));
        assert_eq!(index.find(6), None);
        assert_eq!(index.find(u64::MAX), None);
    }

    #[test]
    fn an_index_without_chunks_is_an_empty_one() {
        assert_eq!(Minishard::decode(&[]).unwrap().find(0), None);
    }

    #[test]
    fn an_id_that_occurs_twice_is_refused() {
        let e = Minishard::decode(&words(&[5, 0, 1, 1, 1, 1])).unwrap_err();
        assert!(e.contains("chunk 5 twice"), "{e}");
        // The first id may well be 0.
        assert!(Minishard::decode(&words(&[0, 1, 1])).is_ok());
    }

    #[test]
    fn differences_that_overflow_are_refused() {
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
    fn a_length_that_is_no_multiple_of_24_is_refused() {
        let e = Minishard::decode(&[0; 40]).unwrap_err();
        assert!(e.contains("40 bytes") && e.contains("24"), "{e}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_index_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), id: u64) {
            if let Ok(index) = Minishard::decode(&bytes) {
                index.find(id);
            }
        }

        #[test]
        fn no_words_make_the_index_panic_or_yield_a_chunk_that_ends_before_it_starts(
            index in prop::collection::vec(prop_oneof![0u64..50, any::<u64>()], 0..30), id in 0u64..200,
        ) {
            if let Ok(index) = Minishard::decode(&words(&index)) && let Some(bytes) = index.find(id) {
                prop_assert!(bytes.start <= bytes.end);
            }
        }

        #[test]
        fn what_a_writer_encodes_is_found(
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
