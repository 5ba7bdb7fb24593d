//! Chunks that are stored as a picture: jpeg, png and jxl.
//!
//! The picture may have any width and height whose product is the number of voxels. Its rows, one after the other, are
//! the voxels with x fastest. Several channels are interleaved by pixel, unlike in raw chunks. The size in the picture's
//! header is checked before anything is allocated for it.

mod expected;
mod jpeg;
mod jxl;
mod png;

use crate::data_type::DataType;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;
pub(in crate::volume) use expected::ExpectedPicture;
pub(in crate::volume) use jpeg::{JpegColours, decode as decode_jpeg};

/// A picture format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PictureFormat {
    Jpeg,
    Png,
    Jxl,
}

impl PictureFormat {
    /// The format with this name in an info file.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "jxl" => Some(Self::Jxl),
            _ => None,
        }
    }

    /// Describes what this format supports if it does not support voxels of this type. `None` if it does.
    pub(super) fn unsupported(self, data_type: DataType, channels: u32) -> Option<&'static str> {
        let eight = data_type == DataType::UInt8;
        match self {
            Self::Jpeg | Self::Jxl if eight && matches!(channels, 1 | 3) => None,
            Self::Png if (eight || data_type == DataType::UInt16) && channels <= 4 => None,
            Self::Jpeg | Self::Jxl => Some("uint8 with 1 or 3 channels"),
            Self::Png => Some("uint8 or uint16 with 1 to 4 channels"),
        }
    }

    /// Decodes the picture `bytes` of `region` and replaces the contents of `values`. `pixels` is a reusable buffer. The
    /// error is a description for the user.
    pub(super) fn decode(
        self,
        bytes: &[u8],
        meta: &VolumeMeta,
        region: &VoxelBox,
        pixels: &mut Vec<u8>,
        values: &mut Vec<u8>,
    ) -> Result<(), String> {
        let expected = ExpectedPicture {
            voxels: region.shape(),
            channels: meta.channels as usize,
            data_type: meta.data_type,
        };
        // With a single channel, the pixels are the values.
        let out = match expected.channels {
            1 => &mut *values,
            _ => &mut *pixels,
        };
        match self {
            Self::Jpeg => jpeg::decode(bytes, expected, JpegColours::Rgb, out)?,
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

/// Separates interleaved channels.
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
