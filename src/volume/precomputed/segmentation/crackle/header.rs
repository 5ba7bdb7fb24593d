//! The header of a crackle stream.

use super::super::reader::{Reader, number};
use super::width_of;

/// Bytes of the magic number and the version.
const PREFIX_BYTES: usize = 5;

/// Bytes of the fields up to the length of the labels.
const FIELD_BYTES: usize = 15;

/// How the labels of components are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LabelFormat {
    /// A label for each component.
    Flat,
    /// Lines along z through the components of a label.
    Pins,
}

#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Whether the stream has checksums (version 1).
    pub(super) has_checksums: bool,
    pub(super) label_format: LabelFormat,
    /// Whether the cracks are those between voxels of equal labels.
    pub(super) cracks_are_open: bool,
    pub(super) is_signed: bool,
    /// Bytes of a label in the stream. The header also has the width that decoders return, which the volume's type replaces.
    pub(super) stored_label_bytes: usize,
    /// Voxels along x, y, z.
    pub(super) shape: [u32; 3],
    grid_log2: u64,
    pub(super) label_section_bytes: u64,
    /// Number of moves before a move that predict it, up to 15.
    pub(super) markov_order: u32,
}

impl Header {
    /// Parses a header. The order of the array in memory (C or Fortran) does not matter: the stream is in the same order.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, String> {
        let prefix = reader.take(1, PREFIX_BYTES, "header")?;
        if !prefix.starts_with(b"crkl") {
            return Err("it does not begin with `crkl`, so it is not crackle".to_owned());
        }
        let version = prefix[PREFIX_BYTES - 1];
        if version > 1 {
            return Err(format!("found crackle version {version}, expected 0 or 1"));
        }
        let has_checksums = version == 1;
        let length_bytes = if has_checksums { 8 } else { 4 };
        let bytes = reader.take(1, FIELD_BYTES + length_bytes, "header")?;
        if has_checksums {
            let (found, stored) = (crc8(bytes), reader.number(1, "header")?);
            if u64::from(found) != stored {
                return Err(format!(
                    "its header has the checksum {found:02x}, expected {stored:02x}: it is damaged"
                ));
            }
        }
        let flags = number(&bytes[..2]);
        let label_format = match flags >> 5 & 3 {
            0 => LabelFormat::Flat,
            2 => LabelFormat::Pins,
            found => {
                return Err(format!(
                    "its header has the label format {found}, expected 0 (flat) or 2 (pins)"
                ));
            }
        };
        Ok(Self {
            has_checksums,
            label_format,
            cracks_are_open: flags >> 4 & 1 != 0,
            is_signed: flags >> 8 & 1 != 0,
            stored_label_bytes: 1 << (flags >> 2 & 3),
            shape: [2, 6, 10].map(|from| number(&bytes[from..from + 4]) as u32),
            grid_log2: bytes[14].into(),
            label_section_bytes: number(&bytes[FIELD_BYTES..]),
            markov_order: (flags >> 9 & 15) as u32,
        })
    }

    /// Checks that slices are not divided. No release of crackle-codec divides them.
    pub(super) fn check_grid(&self) -> Result<(), String> {
        let [nx, ny, _] = self.shape;
        if self.grid_log2 >= 32 || u64::from(nx.max(ny)) <= 1 << self.grid_log2 {
            return Ok(());
        }
        Err(format!(
            "its slices are divided into cells of 2^{} voxels, which is not supported: expected whole slices",
            self.grid_log2
        ))
    }

    /// Voxels of a slice.
    pub(super) fn slice_voxels(&self) -> u64 {
        u64::from(self.shape[0]) * u64::from(self.shape[1])
    }

    /// Bytes of a number of components in a slice.
    pub(super) fn component_bytes(&self) -> usize {
        width_of(self.slice_voxels())
    }
}

/// The CRC-8 with the polynomial e7, reflected, that starts with ff.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| (crc >> 1) ^ (0xe7 * (crc & 1)))
    })
}
