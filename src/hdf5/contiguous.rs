//! The blocks of a dataset that is stored as one piece: whole rows of some planes, each one range of bytes.

use std::ops::Range;

/// Size of a block. A window of 64 rows reads a few of them, and a server needs about as long for this many bytes as for one.
const BLOCK_BYTES: u64 = 256 << 10;

/// Bytes of an array; `None` if they do not fit into 64 bits.
pub(super) fn bytes_of(shape: &[u64], value_bytes: usize) -> Option<u64> {
    let mut factors = shape.iter();
    factors.try_fold(value_bytes as u64, |n, d| n.checked_mul(*d))
}

/// The range of the file with all values; `None` if nothing was written.
pub(super) fn stored_range(
    file: &hdf5_reader::Hdf5File,
    address: u64,
    shape: &[u64],
    value_bytes: usize,
) -> Result<Option<Range<u64>>, String> {
    let superblock = file.superblock();
    if is_undefined(address, superblock.offset_size) {
        return Ok(None);
    }
    let start = superblock.base_address.checked_add(address);
    let range = start.and_then(|start| {
        let end = start.checked_add(bytes_of(shape, value_bytes)?)?;
        Some(start..end)
    });
    let range = range.ok_or_else(|| {
        format!("found values at {address} for the shape {shape:?}, which is out of range")
    })?;
    Ok(Some(range))
}

/// Whether an address means that there is nothing: all its bits are set.
pub(super) fn is_undefined(address: u64, offset_size: u8) -> bool {
    address == u64::MAX >> (64 - 8 * u32::from(offset_size.clamp(1, 8)))
}

/// The shape of the blocks: whole rows, as many as fit into [`BLOCK_BYTES`].
pub(super) fn block_shape(shape: &[u64], value_bytes: usize) -> Vec<u64> {
    let mut block = vec![1; shape.len()];
    let mut bytes = value_bytes as u64;
    for d in (0..shape.len()).rev() {
        block[d] = (BLOCK_BYTES / bytes).clamp(1, shape[d].max(1));
        bytes *= block[d];
        if block[d] < shape[d] {
            break;
        }
    }
    block
}

/// Start and length in bytes of the block with these `indices`, whose shape is `block` and is clipped to that of the array.
pub(super) fn range_of_block(
    shape: &[u64],
    block: &[u64],
    indices: &[u64],
    value_bytes: usize,
) -> (u64, u64) {
    let (mut start, mut length) = (0, 1);
    for (d, n) in shape.iter().enumerate() {
        let first = indices[d] * block[d];
        start = start * n + first;
        length *= block[d].min(n - first);
    }
    (start * value_bytes as u64, length * value_bytes as u64)
}

/// The indices of item `number` of an array of this shape, the last dimension fastest.
pub(super) fn index_of(mut number: u64, shape: &[u64]) -> Vec<u64> {
    let mut index = vec![0; shape.len()];
    for (i, n) in index.iter_mut().zip(shape).rev() {
        *i = number % n;
        number /= n;
    }
    index
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_whole_rows() {
        assert_eq!(block_shape(&[125, 1250, 1250], 1), [1, 209, 1250]);
        assert_eq!(block_shape(&[125, 1250, 1250], 8), [1, 26, 1250]);
        assert_eq!(block_shape(&[3, 40, 50], 2), [3, 40, 50]);
        assert_eq!(block_shape(&[9, 2, 1 << 40], 4), [1, 1, 1 << 16]);
        assert_eq!(block_shape(&[0, 4, 5], 1), [1, 4, 5]);
    }

    proptest! {
        #[test]
        fn blocks_are_ranges_that_cover_the_array_once(
            shape in prop::collection::vec(1u64..30, 1..5), scale in 1u64..2000,
        ) {
            let mut shape = shape;
            if let Some(last) = shape.last_mut() {
                *last *= scale;
            }
            let block = block_shape(&shape, 8);
            let grid: Vec<u64> = shape.iter().zip(&block).map(|(n, b)| n.div_ceil(*b)).collect();
            let mut end = 0;
            for number in 0..grid.iter().product() {
                let (start, length) = range_of_block(&shape, &block, &index_of(number, &grid), 8);
                prop_assert!(start == end && length <= BLOCK_BYTES);
                end = start + length;
            }
            prop_assert_eq!(Some(end), bytes_of(&shape, 8));
        }
    }
}
