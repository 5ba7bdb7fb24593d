//! The size and type that a picture must have.

use crate::data_type::DataType;

/// The expected size and type of a picture.
#[derive(Clone, Copy, Debug)]
pub(in crate::volume) struct ExpectedPicture {
    pub voxels: [u64; 3],
    pub channels: usize,
    pub data_type: DataType,
}

impl ExpectedPicture {
    /// Bytes of all pixels.
    pub(super) fn bytes(&self) -> usize {
        let voxels: u64 = self.voxels.iter().product();
        voxels as usize * self.channels * self.data_type.size_bytes()
    }

    /// Checks the size and type in a picture's header. The error contains what was found and what was expected.
    pub(super) fn check(
        &self,
        width: u64,
        height: u64,
        channels: usize,
        bits: usize,
    ) -> Result<(), String> {
        let [x, y, z] = self.voxels;
        let same_size = width.checked_mul(height) == Some(x * y * z);
        let expected_bits = 8 * self.data_type.size_bytes();
        if same_size && channels == self.channels && bits == expected_bits {
            return Ok(());
        }
        Err(format!(
            "found a picture of {width} x {height} pixels, {channels} channel(s) of {bits} bits, expected {} pixels \
             ({x} x {y} x {z} voxels), {} channel(s) of {expected_bits} bits",
            x * y * z,
            self.channels,
        ))
    }
}
