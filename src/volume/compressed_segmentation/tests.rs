//! Tests of the decoder against a naive one written from the specification, and with damaged bytes.

use proptest::prelude::*;

use super::*;

/// Decodes voxel by voxel as the specification defines it. `None` if something is missing.
fn naive(
    encoded: &[u8],
    shape: [usize; 3],
    channels: usize,
    block: [usize; 3],
    label_bytes: usize,
) -> Option<Vec<u8>> {
    if !encoded.len().is_multiple_of(4) {
        return None;
    }
    let word = |at: u64| -> Option<u64> {
        let at = usize::try_from(at.checked_mul(4)?).ok()?;
        Some(u32::from_le_bytes(encoded.get(at..at + 4)?.try_into().ok()?).into())
    };
    let grid: [usize; 3] = std::array::from_fn(|d| shape[d].div_ceil(block[d]));
    let mut out = Vec::new();
    for channel in 0..channels {
        let base = word(channel as u64)?;
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                for x in 0..shape[0] {
                    let [bx, by, bz] = block;
                    let header = (x / bx + grid[0] * (y / by + grid[1] * (z / bz))) as u64;
                    let first = word(base + 2 * header)?;
                    let values = word(base + 2 * header + 1)?;
                    let (table, bits) = (first % (1 << 24), first >> 24);
                    if ![0, 1, 2, 4, 8, 16, 32].contains(&bits) {
                        return None;
                    }
                    let bit = bits * (x % bx + bx * (y % by + by * (z % bz))) as u64;
                    let index = match bits {
                        0 => 0,
                        _ => word(base + values + bit / 32)? >> (bit % 32) & ((1 << bits) - 1),
                    };
                    let entry = base + table + index * (label_bytes as u64 / 4);
                    for part in 0..label_bytes as u64 / 4 {
                        out.extend_from_slice(&(word(entry + part)? as u32).to_le_bytes());
                    }
                }
            }
        }
    }
    Some(out)
}

#[derive(Clone, Debug)]
struct Chunk {
    shape: [usize; 3],
    channels: usize,
    block: [usize; 3],
    label_bytes: usize,
    labels: Vec<u8>,
}

impl Chunk {
    fn encode(&self) -> Vec<u8> {
        encode(
            &self.labels,
            self.shape,
            self.channels,
            self.block,
            self.label_bytes,
        )
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![77; 13];
        decode(
            bytes,
            self.shape,
            self.channels,
            self.block,
            self.label_bytes,
            &mut out,
        )?;
        Ok(out)
    }

    fn naive(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        naive(
            bytes,
            self.shape,
            self.channels,
            self.block,
            self.label_bytes,
        )
    }
}

/// Any shape, any block, few or many different labels.
fn chunk() -> impl Strategy<Value = Chunk> {
    let label_bytes = prop_oneof![Just(4usize), Just(8)];
    let shape = prop::array::uniform3(1usize..20);
    let block = prop::array::uniform3(1usize..10);
    (shape, 1usize..4, block, label_bytes, 0u32..12, any::<u64>()).prop_map(
        |(shape, channels, block, label_bytes, log_labels, seed)| {
            let count = shape.iter().product::<usize>() * channels;
            let mut state = seed;
            let labels = (0..count)
                .flat_map(|_| {
                    state = state
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let label = (state >> 40) % (1 << log_labels);
                    label.wrapping_mul(seed | 1).to_le_bytes()[..label_bytes].to_vec()
                })
                .collect();
            Chunk {
                shape,
                channels,
                block,
                label_bytes,
                labels,
            }
        },
    )
}

proptest! {
    #[test]
    fn encoded_labels_decode_to_the_same_labels(chunk in chunk()) {
        let encoded = chunk.encode();
        prop_assert_eq!(chunk.naive(&encoded), Some(chunk.labels.clone()));
        prop_assert_eq!(chunk.decode(&encoded), Ok(chunk.labels));
    }

    #[test]
    fn changed_bytes_decode_as_the_specification_defines_or_are_an_error(
        chunk in chunk(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in 0.0..1.5f64,
    ) {
        let mut encoded = chunk.encode();
        for (at, byte) in changes {
            let at = at.index(encoded.len().min(400));
            encoded[at] = byte;
        }
        encoded.truncate((encoded.len() as f64 * keep) as usize);
        // Unlike the naive decoder, the decoder requires the headers of all blocks.
        prop_assert_eq!(chunk.decode(&encoded).ok(), chunk.naive(&encoded));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        first_word in prop::option::of(0u8..4),
        shape in prop::array::uniform3(0usize..9),
        channels in 0usize..3,
        block in prop::array::uniform3(0usize..5),
        label_bytes in prop_oneof![4 => Just(4usize), 4 => Just(8), 1 => 0usize..20],
    ) {
        if let (Some(word), Some(first)) = (first_word, bytes.first_chunk_mut::<4>()) {
            *first = [word, 0, 0, 0];
        }
        let result = decode(&bytes, shape, channels, block, label_bytes, &mut Vec::new());
        if let Err(e) = result {
            prop_assert!(!e.to_string().is_empty());
        }
    }
}

/// A channel with one block: its header and the words after it.
fn one_block(bits: u32, table_at: u32, indices_at: u32, rest: &[u32]) -> Vec<u8> {
    let header = [1, table_at | bits << 24, indices_at];
    header
        .iter()
        .chain(rest)
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

#[test]
fn a_constant_block_needs_no_indices() {
    let bytes = one_block(0, 2, u32::MAX >> 1, &[7]);
    let mut out = Vec::new();
    // The offset of indices of 0 bits is ignored.
    assert!(decode(&bytes, [2, 2, 1], 1, [8, 8, 8], 4, &mut out).is_ok());
    assert_eq!(out, [7, 0, 0, 0].repeat(4));
}

#[test]
fn indices_of_32_bits_and_labels_of_two_words_are_decoded() {
    let bytes = one_block(32, 2, 6, &[1, 2, 3, 4, 1, 0]);
    let mut out = Vec::new();
    decode(&bytes, [2, 1, 1], 1, [2, 1, 1], 8, &mut out).unwrap();
    let labels: Vec<u64> = out
        .as_chunks::<8>()
        .0
        .iter()
        .map(|l| u64::from_le_bytes(*l))
        .collect();
    assert_eq!(labels, [3 + (4 << 32), 1 + (2 << 32)]);
}

#[test]
fn blocks_can_share_a_table() {
    let words: [u32; 8] = [1, 4 | 1 << 24, 6, 4 | 1 << 24, 6, 10, 20, 0b10];
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut out = Vec::new();
    decode(&bytes, [4, 1, 1], 1, [2, 1, 1], 4, &mut out).unwrap();
    assert_eq!(out, [10, 0, 0, 0, 20, 0, 0, 0].repeat(2));
}

#[test]
fn errors_contain_what_was_found_and_where() {
    let mut out = Vec::new();
    let mut error = |bytes: &[u8]| decode(bytes, [4, 1, 1], 1, [4, 1, 1], 4, &mut out).unwrap_err();
    assert_eq!(error(&[1, 0, 0]), Error::NotWords { found_bytes: 3 });
    assert_eq!(
        error(&[1, 0, 0, 0, 0, 0, 0, 0]),
        Error::Headers {
            channel: 0,
            found_bytes: 8,
            expected_bytes: 12
        }
    );
    assert_eq!(
        error(&one_block(3, 2, 2, &[0])),
        Error::Bits {
            channel: 0,
            block: [0; 3],
            found: 3
        }
    );
    assert_eq!(
        error(&one_block(16, 2, 3, &[0, 0])),
        Error::Indices {
            channel: 0,
            block: [0; 3],
            found_bytes: 20,
            expected_bytes: 24
        }
    );
    assert_eq!(
        error(&one_block(2, 2, 2, &[0b0000_1000])),
        Error::Table {
            channel: 0,
            block: [0; 3],
            index: 2,
            table_byte: 12,
            entries: 1
        }
    );
}

#[test]
fn a_shape_that_overflows_is_an_error_before_any_allocation() {
    let mut out = Vec::new();
    let huge = usize::MAX / 2;
    for (shape, block) in [
        ([huge; 3], [8; 3]),
        ([8; 3], [huge; 3]),
        ([1 << 20; 3], [1 << 19; 3]),
    ] {
        assert!(decode(&[1, 0, 0, 0], shape, 1, block, 8, &mut out).is_err());
    }
    assert!(decode(&[1, 0, 0, 0], [1; 3], 1, [0, 1, 1], 8, &mut out).is_err());
    assert!(decode(&[], [0, 4, 4], 1, [8; 3], 8, &mut out).is_ok() && out.is_empty());
}
