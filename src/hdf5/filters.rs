//! The filters of a chunk: compression, shuffling and checksums.
//!
//! Filters are undone in the reverse of their order, each with a limit on its output. A checksum that does not match is an
//! error.

use hdf5_reader::filters::{
    FILTER_DEFLATE, FILTER_FLETCHER32, FILTER_NBIT, FILTER_SCALEOFFSET, FILTER_SHUFFLE,
    FILTER_SZIP, apply_pipeline_with_limit, fletcher32, shuffle,
};
use hdf5_reader::messages::filter_pipeline::FilterDescription;

use crate::storage::Compression;

/// Filters are numbered by bits of a mask.
const MAX_FILTERS: usize = 32;

/// Registered numbers of filters.
const FILTER_LZF: u16 = 32_000;
const FILTER_ZSTD: u16 = 32_015;

/// Names of common filters that are not supported.
const NAMES: [(u16, &str); 6] = [
    (307, "bzip2"),
    (32_001, "blosc"),
    (32_004, "lz4"),
    (32_008, "bitshuffle"),
    (32_013, "zfp"),
    (32_026, "blosc2"),
];

/// The filters of a dataset, in the order in which they were applied.
#[derive(Clone, Debug)]
pub(super) struct ChunkFilters {
    filters: Vec<FilterDescription>,
    value_bytes: usize,
}

impl ChunkFilters {
    /// The filters of a dataset with values of `value_bytes` bytes. The error is a description for the user.
    pub fn new(filters: Vec<FilterDescription>, value_bytes: usize) -> Result<Self, String> {
        if filters.len() > MAX_FILTERS {
            return Err(format!(
                "found {} filters, expected at most {MAX_FILTERS}",
                filters.len()
            ));
        }
        let supported = [
            FILTER_DEFLATE,
            FILTER_SHUFFLE,
            FILTER_FLETCHER32,
            FILTER_SZIP,
            FILTER_NBIT,
            FILTER_SCALEOFFSET,
            FILTER_LZF,
            FILTER_ZSTD,
        ];
        match filters.iter().find(|f| !supported.contains(&f.id)) {
            None => Ok(Self {
                filters,
                value_bytes,
            }),
            Some(other) => {
                let known = NAMES.iter().find(|(id, _)| *id == other.id);
                let name = known.map_or("unknown", |(_, name)| name);
                Err(format!(
                    "found chunks with the filter {} ({name}), expected gzip, lzf, zstd, szip, shuffle, fletcher32, nbit or scaleoffset: copy the dataset with one of these (`h5repack -f GZIP=4`)",
                    other.id
                ))
            }
        }
    }

    /// Whether chunks are stored as they are.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The numbers and parameters of all filters, as text.
    pub fn describe(&self) -> String {
        let of_one = |f: &FilterDescription| format!("{}{:?}", f.id, f.client_data);
        let all: Vec<_> = self.filters.iter().map(of_one).collect();
        all.join(" ")
    }

    /// Undoes the filters of a chunk, except those in the mask `skipped`. The chunk has `decoded_bytes` bytes then. The
    /// error is a description for the user.
    pub fn decode(
        &self,
        stored: &[u8],
        skipped: u32,
        decoded_bytes: usize,
    ) -> Result<Vec<u8>, String> {
        let mut bytes: Option<Vec<u8>> = None;
        for (i, filter) in self.filters.iter().enumerate().rev() {
            if skipped >> i & 1 == 1 {
                continue;
            }
            // The output of a filter before the last step may be longer than the chunk: compression and checksums add bytes.
            let is_last = (0..i).all(|before| skipped >> before & 1 == 1);
            let limit_bytes = if is_last {
                decoded_bytes
            } else {
                2 * decoded_bytes + (1 << 16)
            };
            let input = bytes.as_deref().unwrap_or(stored);
            bytes = Some(self.undo(filter, input, limit_bytes)?);
        }
        let bytes = bytes.unwrap_or_else(|| stored.to_vec());
        if bytes.len() != decoded_bytes {
            return Err(format!(
                "found {} bytes after decompression, expected {decoded_bytes}",
                bytes.len()
            ));
        }
        Ok(bytes)
    }

    fn undo(
        &self,
        filter: &FilterDescription,
        input: &[u8],
        limit_bytes: usize,
    ) -> Result<Vec<u8>, String> {
        let inflate = |compression: Compression| {
            let mut out = Vec::new();
            compression.inflate(input, limit_bytes, &mut out)?;
            Ok(out)
        };
        match filter.id {
            FILTER_DEFLATE => inflate(Compression::Zlib),
            FILTER_ZSTD => inflate(Compression::Zstd),
            FILTER_LZF => lzf::decompress(input, limit_bytes)
                .map_err(|_| format!("its lzf stream of {} bytes is damaged, or it inflates to more than {limit_bytes} bytes", input.len())),
            FILTER_SHUFFLE => {
                let size = filter.client_data.first().map_or(self.value_bytes, |n| *n as usize);
                Ok(shuffle::unshuffle(input, size.max(1)))
            }
            FILTER_FLETCHER32 => fletcher32::verify_and_strip(input).map_err(|e| e.to_string()),
            _ => {
                let this = std::slice::from_ref(filter);
                apply_pipeline_with_limit(input, this, 0, self.value_bytes, None, Some(limit_bytes))
                    .map_err(|e| e.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn filter(id: u16, client_data: &[u32]) -> FilterDescription {
        FilterDescription {
            id,
            name: None,
            client_data: client_data.to_vec(),
        }
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// `00 01 02 ...` as 16-bit numbers, shuffled and compressed.
    fn shuffled() -> (ChunkFilters, Vec<u8>, Vec<u8>) {
        let values: Vec<u8> = (0..300u16).flat_map(u16::to_le_bytes).collect();
        let low = values.iter().step_by(2);
        let high = values.iter().skip(1).step_by(2);
        let planes: Vec<u8> = low.chain(high).copied().collect();
        let filters = vec![filter(FILTER_SHUFFLE, &[2]), filter(FILTER_DEFLATE, &[4])];
        (
            ChunkFilters::new(filters, 2).unwrap(),
            zlib(&planes),
            values,
        )
    }

    #[test]
    fn filters_are_undone_in_reverse_order_except_skipped_ones() {
        let (filters, stored, values) = shuffled();
        assert_eq!(filters.decode(&stored, 0, values.len()), Ok(values.clone()));
        let only_compressed = zlib(&values);
        assert_eq!(
            filters.decode(&only_compressed, 0b01, values.len()),
            Ok(values.clone())
        );
        assert_eq!(filters.decode(&values, 0b11, values.len()), Ok(values));
    }

    #[test]
    fn a_chunk_inflates_to_at_most_its_size() {
        let bomb = zlib(&vec![0; 1 << 20]);
        let filters = ChunkFilters::new(vec![filter(FILTER_DEFLATE, &[4])], 1).unwrap();
        let e = filters.decode(&bomb, 0, 1000).unwrap_err();
        assert!(e.contains("more than 1000 bytes"), "{e}");
        // Two bytes of lzf repeat up to 264 bytes of output.
        let lzf: Vec<u8> = [&[0, 7][..], &[0xe0, 0xff, 0].repeat(1000)].concat();
        let filters = ChunkFilters::new(vec![filter(FILTER_LZF, &[4, 0, 1000])], 1).unwrap();
        let e = filters.decode(&lzf, 0, 1000).unwrap_err();
        assert!(e.contains("more than 1000 bytes"), "{e}");
    }

    #[test]
    fn truncated_and_damaged_chunks_are_errors() {
        let (filters, stored, values) = shuffled();
        for length in 0..stored.len() {
            assert!(filters.decode(&stored[..length], 0, values.len()).is_err());
        }
        let e = filters.decode(&zlib(&values[..20]), 0, values.len());
        assert!(e.unwrap_err().contains("found 20 bytes"));
        let filters = ChunkFilters::new(vec![filter(FILTER_FLETCHER32, &[])], 1).unwrap();
        assert!(filters.decode(b"abcd\0\0\0\0", 0, 4).is_err());
        assert!(filters.decode(b"abc", 0, 4).is_err());
    }

    #[test]
    fn an_unknown_filter_is_an_error_that_names_it() {
        let of = |id| ChunkFilters::new(vec![filter(id, &[])], 1).unwrap_err();
        assert!(of(32_001).contains("32001 (blosc)"));
        assert!(of(999).contains("999 (unknown)"));
    }
}
