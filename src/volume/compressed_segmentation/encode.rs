//! The encoder: for the demo's layers, and for tests of the decoder.

use std::collections::HashMap;

/// Encodes labels in C order `[channel][z][y][x]`, little-endian, the format that [`decode`](super::decode) returns.
/// `shape` and `block` are in voxels along x, y, z.
///
/// # Panics
/// If the length of `labels` does not match the shape, a block has no voxels, `label_bytes` is not 4 or 8, or the tables
/// of a channel exceed 64 MiB, the limit of the format.
pub fn encode(
    labels: &[u8],
    shape: [usize; 3],
    channels: usize,
    block: [usize; 3],
    label_bytes: usize,
) -> Vec<u8> {
    let voxels = shape.iter().product::<usize>();
    assert_eq!(
        labels.len(),
        voxels * channels * label_bytes,
        "length of the labels"
    );
    assert!(matches!(label_bytes, 4 | 8), "a label has 4 or 8 bytes");
    let mut words = vec![0; channels];
    for channel in 0..channels {
        let bytes = &labels[channel * voxels * label_bytes..][..voxels * label_bytes];
        words[channel] = u32::try_from(words.len()).expect("a chunk below 16 GiB");
        let channel = match label_bytes {
            4 => encode_channel(bytes.as_chunks::<4>().0, shape, block),
            _ => encode_channel(bytes.as_chunks::<8>().0, shape, block),
        };
        words.extend(channel);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Headers, then tables (equal tables are stored once), then indices.
fn encode_channel<const N: usize>(
    labels: &[[u8; N]],
    shape: [usize; 3],
    block: [usize; 3],
) -> Vec<u32> {
    let grid: [usize; 3] = std::array::from_fn(|d| shape[d].div_ceil(block[d]));
    let header_words = 2 * grid.iter().product::<usize>();
    let mut headers = Vec::with_capacity(header_words);
    let mut tables: Vec<u32> = Vec::new();
    let mut table_at: HashMap<Vec<[u8; N]>, u32> = HashMap::new();
    let mut indices: Vec<u32> = Vec::new();
    for z in 0..grid[2] {
        for y in 0..grid[1] {
            for x in 0..grid[0] {
                let start = [x * block[0], y * block[1], z * block[2]];
                let padded = padded_block(labels, shape, block, start);
                let mut table = padded.clone();
                table.sort_unstable_by_key(|label| label.iter().rev().copied().collect::<Vec<_>>());
                table.dedup();
                let bits = [0, 1, 2, 4, 8, 16]
                    .into_iter()
                    .find(|bits| table.len() <= 1 << bits)
                    .unwrap_or(32);
                let position: HashMap<[u8; N], u32> = table.iter().copied().zip(0..).collect();
                let at = *table_at.entry(table).or_insert_with_key(|table| {
                    let at = header_words + tables.len();
                    let (table_words, _) = table.as_flattened().as_chunks::<4>();
                    tables.extend(table_words.iter().map(|word| u32::from_le_bytes(*word)));
                    assert!(at < 1 << 24, "the tables of a channel pass 64 MiB");
                    at as u32
                });
                headers.push((at | bits << 24, indices.len()));
                pack(
                    padded.iter().map(|label| position[label]),
                    bits,
                    &mut indices,
                );
            }
        }
    }
    let indices_at = header_words + tables.len();
    let word = |at: usize| u32::try_from(at).expect("a channel below 16 GiB");
    let headers = headers
        .into_iter()
        .flat_map(|(first, at)| [first, word(indices_at + at)]);
    headers.chain(tables).chain(indices).collect()
}

/// The labels of a block, x fastest. Padding has the block's first label.
fn padded_block<const N: usize>(
    labels: &[[u8; N]],
    shape: [usize; 3],
    block: [usize; 3],
    start: [usize; 3],
) -> Vec<[u8; N]> {
    let at = |p: [usize; 3]| labels[p[0] + shape[0] * (p[1] + shape[1] * p[2])];
    let mut padded = vec![at(start); block.iter().product()];
    let size: [usize; 3] = std::array::from_fn(|d| block[d].min(shape[d] - start[d]));
    for z in 0..size[2] {
        for y in 0..size[1] {
            for x in 0..size[0] {
                padded[x + block[0] * (y + block[1] * z)] =
                    at([start[0] + x, start[1] + y, start[2] + z]);
            }
        }
    }
    padded
}

/// Appends `values` with `bits` bits each, from the low end of each word.
fn pack(values: impl Iterator<Item = u32>, bits: u32, words: &mut Vec<u32>) {
    let mut filled = 32;
    for value in values.take(if bits == 0 { 0 } else { usize::MAX }) {
        if filled == 32 {
            words.push(0);
            filled = 0;
        }
        if let Some(word) = words.last_mut() {
            *word |= value << filled;
        }
        filled += bits;
    }
}
