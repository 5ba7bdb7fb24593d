//! Chunks that are stored as one picture: jpeg, png and jxl.
//!
//! The picture may have any width and height whose product is the number of voxels; its rows, one after the
//! other, are the voxels with x fastest. Several channels are interleaved pixel by pixel, unlike in raw chunks.
//! What the picture says about its size is checked against the chunk before anything is allocated for it.

mod jpeg;
mod jxl;
mod png;

use crate::data_type::DataType;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;

/// The kind of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PictureFormat {
    Jpeg,
    Png,
    Jxl,
}

/// The picture that a chunk should be.
#[derive(Clone, Copy, Debug)]
struct Expected {
    voxels: [u64; 3],
    channels: usize,
    data_type: DataType,
}

impl PictureFormat {
    /// The format whose encoding is called so in an info.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "jxl" => Some(Self::Jxl),
            _ => None,
        }
    }

    /// What volumes of this format can hold, in words, if `meta` is something else.
    pub(super) fn cannot_hold(self, data_type: DataType, channels: u32) -> Option<&'static str> {
        let eight = data_type == DataType::UInt8;
        match self {
            Self::Jpeg | Self::Jxl if eight && matches!(channels, 1 | 3) => None,
            Self::Png if (eight || data_type == DataType::UInt16) && channels <= 4 => None,
            Self::Jpeg | Self::Jxl => Some("uint8 with 1 or 3 channels"),
            Self::Png => Some("uint8 or uint16 with 1 to 4 channels"),
        }
    }

    /// Decodes the picture `bytes` of `region`: replaces the contents of `values`. `pixels` is a buffer.
    /// Says what is wrong where it is not the picture that it should be.
    pub(super) fn decode(
        self,
        bytes: &[u8],
        meta: &VolumeMeta,
        region: &VoxelBox,
        pixels: &mut Vec<u8>,
        values: &mut Vec<u8>,
    ) -> Result<(), String> {
        let expected = Expected {
            voxels: region.shape(),
            channels: meta.channels as usize,
            data_type: meta.data_type,
        };
        // Pixels of one channel are values already.
        let out = match expected.channels {
            1 => &mut *values,
            _ => &mut *pixels,
        };
        match self {
            Self::Jpeg => jpeg::decode(bytes, expected, out)?,
            Self::Png => png::decode(bytes, expected, out)?,
            Self::Jxl => jxl::decode(bytes, expected, out)?,
        }
        if expected.channels > 1 {
            values.resize(pixels.len(), 0);
            match expected.data_type.size_bytes() {
                1 => separate(pixels, values, expected.channels),
                _ => separate(
                    pixels.as_chunks::<2>().0,
                    values.as_chunks_mut::<2>().0,
                    expected.channels,
                ),
            }
        }
        Ok(())
    }
}

impl Expected {
    /// Bytes of all pixels.
    fn bytes(&self) -> usize {
        let voxels: u64 = self.voxels.iter().product();
        voxels as usize * self.channels * self.data_type.size_bytes()
    }

    /// Whether a picture's header is that of the chunk; else, what it is and what it should be.
    fn check(&self, width: u64, height: u64, channels: usize, bits: usize) -> Result<(), String> {
        let [x, y, z] = self.voxels;
        let same_size = width.checked_mul(height) == Some(x * y * z);
        let expected_bits = 8 * self.data_type.size_bytes();
        if same_size && channels == self.channels && bits == expected_bits {
            return Ok(());
        }
        Err(format!(
            "it is a picture of {width} x {height} pixels, {channels} channel(s) of {bits} bits, expected {} pixels \
             ({x} x {y} x {z} voxels), {} channel(s) of {expected_bits} bits",
            x * y * z,
            self.channels,
        ))
    }
}

/// From pixels with all channels each to channels with all pixels each.
fn separate<T: Copy>(pixels: &[T], values: &mut [T], channels: usize) {
    fn planes<T: Copy, const C: usize>(pixels: &[T], values: &mut [T]) {
        let (pixels, _) = pixels.as_chunks::<C>();
        for (c, plane) in values.chunks_exact_mut(pixels.len().max(1)).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(pixels) {
                *value = pixel[c];
            }
        }
    }
    match channels {
        2 => planes::<T, 2>(pixels, values),
        3 => planes::<T, 3>(pixels, values),
        _ => planes::<T, 4>(pixels, values),
    }
}

#[cfg(test)]
mod tests;
