//! The filters of a chunk: compression, shuffling and checksums.
//!
//! Filters are undone in the reverse of their order, each with a limit on its output. A checksum that does not match is an
//! error.

use std::borrow::Cow;

use hdf5_reader::checksum::fletcher32;
use hdf5_reader::filters::{
    FILTER_DEFLATE, FILTER_FLETCHER32, FILTER_NBIT, FILTER_SCALEOFFSET, FILTER_SHUFFLE,
    FILTER_SZIP, apply_pipeline_with_limit, shuffle,
};
use hdf5_reader::messages::filter_pipeline::FilterDescription;

use crate::storage::Compression;

/// Filters are numbered by bits of a mask.
const MAX_FILTERS: usize = 32;

/// Bytes of the checksum of fletcher32.
const CHECKSUM_BYTES: usize = 4;

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
    pub fn decode<'b>(
        &self,
        stored: &'b [u8],
        skipped: u32,
        decoded_bytes: usize,
    ) -> Result<Cow<'b, [u8]>, String> {
        let mut bytes = Cow::Borrowed(stored);
        for (i, filter) in self.filters.iter().enumerate().rev() {
            if skipped >> i & 1 == 0 {
                let limit = encoded_limit_bytes(&self.filters[..i], skipped, decoded_bytes as u64);
                bytes = self.undo(filter, bytes, limit as usize)?;
            }
        }
        if bytes.len() != decoded_bytes {
            return Err(format!(
                "found {} bytes after decompression, expected {decoded_bytes}",
                bytes.len()
            ));
        }
        Ok(bytes)
    }

    /// Most bytes of a stored chunk of `decoded_bytes` bytes.
    pub fn stored_limit_bytes(&self, decoded_bytes: u64) -> u64 {
        encoded_limit_bytes(&self.filters, 0, decoded_bytes)
    }

    /// Most bytes that [`ChunkFilters::decode`] allocates, with its result.
    pub fn decoding_bytes(&self, decoded_bytes: u64) -> u64 {
        let (mut input, mut most) = (0u64, 0);
        for (i, filter) in self.filters.iter().enumerate().rev() {
            // A checksum is removed in place.
            if filter.id != FILTER_FLETCHER32 {
                let output = encoded_limit_bytes(&self.filters[..i], 0, decoded_bytes);
                most = most.max(input.saturating_add(output));
                input = output;
            }
        }
        most
    }

    fn undo<'b>(
        &self,
        filter: &FilterDescription,
        input: Cow<'b, [u8]>,
        limit_bytes: usize,
    ) -> Result<Cow<'b, [u8]>, String> {
        let inflate = |compression: Compression| {
            let mut out = Vec::new();
            compression.inflate(&input, limit_bytes, &mut out)?;
            Ok(out)
        };
        let output = match filter.id {
            FILTER_FLETCHER32 => return without_checksum(input),
            FILTER_DEFLATE => inflate(Compression::Zlib),
            FILTER_ZSTD => inflate(Compression::Zstd),
            FILTER_LZF => lzf::decompress(&input, limit_bytes)
                .map_err(|_| format!("its lzf stream of {} bytes is damaged, or it inflates to more than {limit_bytes} bytes", input.len())),
            FILTER_SHUFFLE => {
                let size = filter.client_data.first().map_or(self.value_bytes, |n| *n as usize);
                Ok(shuffle::unshuffle(&input, size.max(1)))
            }
            _ => {
                let this = std::slice::from_ref(filter);
                apply_pipeline_with_limit(&input, this, 0, self.value_bytes, None, Some(limit_bytes))
                    .map_err(|e| e.to_string())
            }
        };
        output.map(Cow::Owned)
    }
}

/// Most bytes of a chunk of `decoded_bytes` bytes after these filters, except those in the mask `skipped`.
fn encoded_limit_bytes(filters: &[FilterDescription], skipped: u32, decoded_bytes: u64) -> u64 {
    let applied = filters.iter().enumerate();
    let applied = applied.filter(|(i, _)| skipped >> i & 1 == 0);
    applied.fold(decoded_bytes, |bytes, (_, filter)| match filter.id {
        FILTER_SHUFFLE => bytes,
        FILTER_FLETCHER32 => bytes.saturating_add(CHECKSUM_BYTES as u64),
        // Compression adds little to what cannot be compressed: at most 1/14 (szip), and a header.
        _ => bytes.saturating_add(bytes / 8 + 4096),
    })
}

/// Checks and removes the checksum at the end of `bytes`.
fn without_checksum(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, String> {
    let Some((values, stored)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(format!(
            "found {} bytes, expected values and a checksum of {CHECKSUM_BYTES}",
            bytes.len()
        ));
    };
    let (stored, computed) = (u32::from_le_bytes(*stored), fletcher32(values));
    if stored != computed {
        return Err(format!(
            "checksum mismatch: expected {stored:#010x}, got {computed:#010x}"
        ));
    }
    let length = values.len();
    Ok(match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..length]),
        Cow::Owned(mut bytes) => {
            bytes.truncate(length);
            Cow::Owned(bytes)
        }
    })
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
        let decoded = |stored: &[u8], skipped| {
            let decoded = filters.decode(stored, skipped, values.len());
            decoded.map(Cow::into_owned)
        };
        assert_eq!(decoded(&stored, 0), Ok(values.clone()));
        assert_eq!(decoded(&zlib(&values), 0b01), Ok(values.clone()));
        assert_eq!(decoded(&values, 0b11), Ok(values.clone()));
        assert_eq!(decoded(&values, u32::MAX), Ok(values.clone()));
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
        let short = zlib(&values[..20]);
        let e = filters.decode(&short, 0, values.len()).unwrap_err();
        assert!(e.contains("found 20 bytes"), "{e}");
        let filters = ChunkFilters::new(vec![filter(FILTER_FLETCHER32, &[])], 1).unwrap();
        assert!(filters.decode(b"abcd\0\0\0\0", 0, 4).is_err());
        assert!(filters.decode(b"abc", 0, 4).is_err());
    }

    #[test]
    fn memory_of_decoding_is_that_of_the_input_and_output_of_a_filter() {
        let of = |ids: &[u16]| {
            let filters = ids.iter().map(|id| filter(*id, &[2])).collect();
            ChunkFilters::new(filters, 2).unwrap()
        };
        let mib = 1 << 20;
        for (ids, stored, decoding) in [
            (&[][..], mib, 0),
            (&[FILTER_FLETCHER32][..], mib + 4, 0),
            (&[FILTER_SHUFFLE][..], mib, mib),
            (&[FILTER_SHUFFLE, FILTER_FLETCHER32][..], mib + 4, mib),
            (&[FILTER_DEFLATE][..], mib + mib / 8 + 4096, mib),
            (
                &[FILTER_SHUFFLE, FILTER_DEFLATE][..],
                mib + mib / 8 + 4096,
                2 * mib,
            ),
            (
                &[FILTER_DEFLATE, FILTER_SHUFFLE][..],
                mib + mib / 8 + 4096,
                2 * mib + mib / 8 + 4096,
            ),
        ] {
            assert_eq!(of(ids).stored_limit_bytes(mib), stored, "{ids:?}");
            assert_eq!(of(ids).decoding_bytes(mib), decoding, "{ids:?}");
        }
    }

    #[test]
    fn a_chunk_without_filters_is_not_copied() {
        let filters = ChunkFilters::new(Vec::new(), 1).unwrap();
        assert!(matches!(
            filters.decode(b"abcd", 0, 4),
            Ok(Cow::Borrowed(b"abcd"))
        ));
        assert!(filters.decode(b"abc", 0, 4).is_err());
    }

    #[test]
    fn an_unknown_filter_is_an_error_that_names_it() {
        let of = |id| ChunkFilters::new(vec![filter(id, &[])], 1).unwrap_err();
        assert!(of(32_001).contains("32001 (blosc)"));
        assert!(of(999).contains("999 (unknown)"));
    }
}
