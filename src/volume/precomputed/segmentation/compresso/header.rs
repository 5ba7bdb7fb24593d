//! The header of a compresso stream.

use super::super::reader::{Reader, number};

/// Bytes of the header.
const HEADER_BYTES: usize = 36;

/// Most voxels of a window: one bit each.
const MAX_WINDOW_VOXELS: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) has_z_index: bool,
    pub(super) label_bytes: usize,
    /// Voxels along x, y, z.
    pub(super) shape: [u16; 3],
    /// Voxels of a window along x, y, z.
    pub(super) window: [usize; 3],
    /// Number of labels of components.
    pub(super) ids: u64,
    /// Number of different windows.
    pub(super) window_values: u32,
    pub(super) locations: u64,
    /// Whether components extend over slices (connectivity 6).
    pub(super) is_connected_along_z: bool,
}

impl Header {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, String> {
        let bytes = reader.take(1, HEADER_BYTES, "header")?;
        let at = |from: usize, bytes_of_it: usize| number(&bytes[from..from + bytes_of_it]);
        if !bytes.starts_with(b"cpso") {
            return Err("it does not begin with `cpso`, so it is not compresso".to_owned());
        }
        let version = at(4, 1);
        if version > 1 {
            return Err(format!(
                "found compresso version {version}, expected 0 or 1"
            ));
        }
        let label_bytes = at(5, 1) as usize;
        if !matches!(label_bytes, 1 | 2 | 4 | 8) {
            return Err(format!(
                "its header has labels of {label_bytes} bytes, expected 1, 2, 4 or 8"
            ));
        }
        let window = [12, 13, 14].map(|from| at(from, 1) as usize);
        let window_voxels: usize = window.iter().product();
        if !(1..=MAX_WINDOW_VOXELS).contains(&window_voxels) {
            return Err(format!(
                "its header has windows of {window:?} voxels, expected 1 to {MAX_WINDOW_VOXELS} in all"
            ));
        }
        let connectivity = at(35, 1);
        if !matches!((connectivity, version), (4, _) | (6, 0)) {
            return Err(format!(
                "its header has connectivity {connectivity} in version {version}, expected 4, or 6 in version 0"
            ));
        }
        Ok(Self {
            has_z_index: version == 1,
            label_bytes,
            shape: [6, 8, 10].map(|from| at(from, 2) as u16),
            window,
            ids: at(15, 8),
            window_values: at(23, 4) as u32,
            locations: at(27, 8),
            is_connected_along_z: connectivity == 6,
        })
    }

    /// Bytes of a window: those of the smallest type that has a bit for each voxel.
    pub(super) fn window_bytes(&self) -> usize {
        let voxels: usize = self.window.iter().product();
        voxels.div_ceil(8).next_power_of_two()
    }

    /// Bytes of a number in the z index. It has room for twice the voxels of a slice.
    pub(super) fn index_bytes(&self) -> usize {
        let most = 2 * u64::from(self.shape[0]) * u64::from(self.shape[1]);
        match most {
            0..0xff => 1,
            0xff..0xffff => 2,
            0xffff..0xffff_ffff => 4,
            _ => 8,
        }
    }
}
