//! Decodes one N5 block: a big-endian header, then the compressed values.
//!
//! Header: u16 mode (0 default, 1 with a number of values), u16 number of dimensions, u32 per dimension, and in
//! mode 1 a u32 number of values. The values are big-endian, the first dimension fastest.

use std::borrow::Cow;

use super::attributes::{N5Compression, N5Dataset};

/// A decoded block: little-endian values, the first dimension fastest.
#[derive(Debug)]
pub(super) struct DecodedBlock {
    pub shape: Vec<usize>,
    pub values: Vec<u8>,
}

/// Decodes `bytes`, a block of `dataset` with at least `needed` values along each dimension. The error is a description
/// for the user.
pub(super) fn decode(
    bytes: &[u8],
    dataset: &N5Dataset,
    needed: &[u64],
) -> Result<DecodedBlock, String> {
    let mut header = Header { rest: bytes };
    let mode = header.u16()?;
    if mode > 1 {
        return Err(format!("its header has the mode {mode}, expected 0 or 1"));
    }
    let rank = usize::from(header.u16()?);
    if rank != needed.len() {
        return Err(format!(
            "its header has {rank} dimension(s), expected {}",
            needed.len()
        ));
    }
    let shape = (0..rank)
        .map(|_| header.u32())
        .collect::<Result<Vec<_>, _>>()?;
    let fits = |d: usize| (needed[d]..=dataset.block_size[d]).contains(&shape[d]);
    if !(0..rank).all(fits) {
        return Err(format!(
            "its header has the shape {shape:?}, expected {needed:?} to {:?}",
            dataset.block_size
        ));
    }
    let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
    let values: usize = shape.iter().product();
    if mode == 1 {
        let found = header.u32()?;
        if found != values as u64 {
            return Err(format!(
                "its header has {found} values in total, expected {values}"
            ));
        }
    }
    let size = dataset.data_type.size_bytes();
    let expected = values * size;
    let mut values = match dataset.compression {
        N5Compression::Raw => Cow::Borrowed(header.rest),
        N5Compression::Stream(method) => {
            let mut out = Vec::new();
            method.inflate(header.rest, expected, &mut out)?;
            Cow::Owned(out)
        }
        N5Compression::Blosc => Cow::Owned(blosc(header.rest, expected)?),
    }
    .into_owned();
    if values.len() != expected {
        return Err(format!(
            "it has {} bytes of values, expected {expected}",
            values.len()
        ));
    }
    if size > 1 {
        values.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    Ok(DecodedBlock { shape, values })
}

/// Decompresses blosc, after checking the size in its header.
fn blosc(bytes: &[u8], expected: usize) -> Result<Vec<u8>, String> {
    use zarrs::array::codec::bytes_to_bytes::blosc::BloscCodec;
    use zarrs::array::{BytesRepresentation, BytesToBytesCodecTraits, CodecOptions};

    let claimed = bytes.get(4..8).and_then(|n| n.first_chunk::<4>());
    let claimed = claimed.map_or(0, |n| u32::from_le_bytes(*n) as usize);
    if claimed != expected {
        return Err(format!(
            "its blosc header claims {claimed} bytes, expected {expected}"
        ));
    }
    let configuration = serde_json::json!({
        "cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0
    });
    // The header defines how to decompress. The configuration is only for compression.
    let configuration = serde_json::from_value(configuration).map_err(|e| e.to_string())?;
    let codec = BloscCodec::new_with_configuration(&configuration).map_err(|e| e.to_string())?;
    let options = CodecOptions::default().with_concurrent_target(1);
    let size = BytesRepresentation::FixedSize(expected as u64);
    codec
        .decode(Cow::Borrowed(bytes), &size, &options)
        .map(Cow::into_owned)
        .map_err(|e| e.to_string())
}

struct Header<'a> {
    rest: &'a [u8],
}

impl Header<'_> {
    fn u16(&mut self) -> Result<u16, String> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u64, String> {
        self.take()
            .map(|bytes| u64::from(u32::from_be_bytes(bytes)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self
            .rest
            .split_first_chunk()
            .ok_or("it ends inside its header")?;
        self.rest = rest;
        Ok(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type::DataType;
    use crate::geometry::Resolution;
    use crate::volume::axes::ArrayAxes;

    fn dataset() -> N5Dataset {
        N5Dataset {
            object: "attributes.json".into(),
            path: String::new(),
            dimensions: vec![5, 2, 1],
            block_size: vec![3, 2, 1],
            data_type: DataType::UInt16,
            compression: N5Compression::Raw,
            axes: ArrayAxes {
                xyz: [0, 1, 2],
                channel: None,
            },
            resolution: Resolution::new([1.0; 3]).unwrap(),
            first_voxel: [0; 3],
            digest: blake3::hash(b""),
        }
    }

    fn block(mode: u16, shape: &[u32], more: &[u32], values: &[u16]) -> Vec<u8> {
        let mut bytes = mode.to_be_bytes().to_vec();
        bytes.extend((shape.len() as u16).to_be_bytes());
        bytes.extend(shape.iter().chain(more).flat_map(|n| n.to_be_bytes()));
        bytes.extend(values.iter().flat_map(|n| n.to_be_bytes()));
        bytes
    }

    #[test]
    fn an_edge_block_may_be_clipped_or_whole_and_is_big_endian() {
        let needed = [2, 2, 1];
        let cut = block(0, &[2, 2, 1], &[], &[1, 2, 3, 4]);
        let decoded = decode(&cut, &dataset(), &needed).unwrap();
        assert_eq!(
            (decoded.shape, decoded.values),
            (vec![2, 2, 1], vec![1, 0, 2, 0, 3, 0, 4, 0])
        );
        let whole = block(1, &[3, 2, 1], &[6], &[1, 2, 0, 3, 4, 0]);
        assert_eq!(
            decode(&whole, &dataset(), &needed).unwrap().shape,
            [3, 2, 1]
        );
    }

    #[test]
    fn an_invalid_header_is_an_error_before_any_allocation() {
        let needed = [2, 2, 1];
        for (bytes, word) in [
            (block(2, &[2, 2, 1], &[], &[]), "mode 2"),
            (block(0, &[2, 2], &[], &[]), "2 dimension(s), expected 3"),
            (block(0, &[1, 2, 1], &[], &[]), "shape [1, 2, 1]"),
            (
                block(0, &[u32::MAX, 2, 1], &[], &[]),
                "expected [2, 2, 1] to [3, 2, 1]",
            ),
            (
                block(1, &[2, 2, 1], &[5], &[]),
                "5 values in total, expected 4",
            ),
            (
                block(0, &[2, 2, 1], &[], &[1, 2, 3]),
                "6 bytes of values, expected 8",
            ),
            (vec![0, 0, 0], "inside its header"),
        ] {
            let e = decode(&bytes, &dataset(), &needed).unwrap_err();
            assert!(e.contains(word), "{word}: {e}");
        }
    }
}
