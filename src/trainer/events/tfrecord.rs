//! Records of a TFRecord file.
//!
//! A record is the length (`u64`), its checksum, the bytes, and their checksum, all little-endian. The checksum is a masked
//! CRC-32C: rotated and offset, because a CRC of bytes that contain CRCs is weak.

use std::io::{self, Write};

/// Writes one record.
pub(super) fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    to.write_all(&length)?;
    to.write_all(&masked(&length).to_le_bytes())?;
    to.write_all(bytes)?;
    to.write_all(&masked(bytes).to_le_bytes())
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The bytes of all records. Panics if a record is damaged.
#[cfg(test)]
pub(super) fn read_all(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_at(8);
        let (checksum, rest) = rest.split_at(4);
        assert_eq!(checksum, masked(length).to_le_bytes());
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (bytes, rest) = rest.split_at(length);
        let (checksum, rest) = rest.split_at(4);
        assert_eq!(checksum, masked(bytes).to_le_bytes());
        records.push(bytes.to_vec());
        file = rest;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_records_can_be_read_back() {
        let mut file = Vec::new();
        for bytes in [&b""[..], b"a", &[0xff; 1000]] {
            write(&mut file, bytes).unwrap();
        }
        assert_eq!(read_all(&file), [vec![], b"a".to_vec(), vec![0xff; 1000]]);
    }

    /// The published check value of `crc32c("123456789")` is 0xe3069283.
    #[test]
    fn the_checksum_is_rotated_and_offset() {
        assert_eq!(masked(b"123456789"), 0xc78a_b0e5);
    }
}
