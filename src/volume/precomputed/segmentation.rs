//! Chunks of labels that are stored as regions and the labels of regions: compresso and crackle.
//!
//! Both have a single channel of integers, x fastest, and a header with their own shape and width of labels. The input is
//! not trusted: the shape must be that of the chunk, counts are compared with the length of the data before anything is
//! allocated, and everything that the stream repeats or has a checksum of must agree. Formats: the README files of
//! seung-lab/compresso and seung-lab/crackle. CloudVolume writes them.

mod components;
mod compresso;
mod crackle;
mod label_type;
mod reader;

use crate::data_type::DataType;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;
use label_type::LabelType;

/// Bytes of the widest label in a stream.
const WIDEST_LABEL_BYTES: u64 = 8;

/// An encoding of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentationFormat {
    Compresso,
    Crackle,
}

impl SegmentationFormat {
    /// The format with this name in an info file.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "compresso" => Some(Self::Compresso),
            "crackle" => Some(Self::Crackle),
            _ => None,
        }
    }

    /// Describes what this format supports if it does not support voxels of this type. `None` if it does.
    pub(super) fn unsupported(self, data_type: DataType, channels: u32) -> Option<&'static str> {
        // CloudVolume writes only the first of several channels, and cannot read it.
        let is_supported = channels == 1 && !data_type.is_float();
        (!is_supported).then_some("an integer type with 1 channel")
    }

    /// Largest number of bytes of a chunk of `region`. Labels may be wider than those of the volume.
    pub(super) fn limit_bytes(self, region: &VoxelBox) -> usize {
        let voxels: u64 = region.shape().iter().product();
        let label_bytes = WIDEST_LABEL_BYTES;
        let bytes = match self {
            // Per voxel the label of a region, or two labels of a boundary voxel; and the pattern of boundaries.
            Self::Compresso => voxels * (2 * label_bytes + 4) + (1 << 16),
            // Per voxel a label, its number and the boundaries. The Markov model has up to 640 KiB at order 10.
            Self::Crackle => voxels * (label_bytes + 12) + (1 << 20),
        };
        bytes as usize
    }

    /// Most bytes that decoding a chunk takes, beside its labels.
    pub(super) fn decoding_bytes(self, meta: &VolumeMeta) -> u64 {
        let [nx, ny, nz] = meta.grid.block_box([0, 0, 0]).shape();
        let (slice, voxels) = (nx * ny, nx * ny * nz);
        let label_bytes = meta.data_type.size_bytes() as u64;
        match self {
            // Of each voxel whether it is a boundary, its links, number and parent, which are those of the whole chunk where
            // slices are connected; and the label of each region.
            Self::Compresso => voxels * (1 + 9 + label_bytes),
            // Of each voxel of a slice its number, links, parent, label and branches; and the pins.
            Self::Crackle => slice * (4 + 2 + 4 + label_bytes + 16) + voxels * label_bytes,
        }
    }

    /// Decodes the chunk `bytes` of `region` and replaces the contents of `values`. The error is a description for the user.
    pub(super) fn decode(
        self,
        bytes: &[u8],
        meta: &VolumeMeta,
        region: &VoxelBox,
        values: &mut Vec<u8>,
    ) -> Result<(), String> {
        match meta.data_type.size_bytes() {
            1 => self.decode_labels::<1>(bytes, meta, region, values),
            2 => self.decode_labels::<2>(bytes, meta, region, values),
            4 => self.decode_labels::<4>(bytes, meta, region, values),
            _ => self.decode_labels::<8>(bytes, meta, region, values),
        }
    }

    /// `N` is the number of bytes of a label in the volume.
    fn decode_labels<const N: usize>(
        self,
        bytes: &[u8],
        meta: &VolumeMeta,
        region: &VoxelBox,
        values: &mut Vec<u8>,
    ) -> Result<(), String> {
        let shape = region.shape().map(|n| n as usize);
        let label_type = LabelType::<N>::new(meta.data_type);
        let value_bytes = meta.block_bytes(region);
        match self {
            Self::Compresso => {
                let stream = compresso::Stream::parse(bytes, shape)?;
                values.resize(value_bytes, 0);
                stream.decode(label_type, values.as_chunks_mut::<N>().0)
            }
            Self::Crackle => {
                let stream = crackle::Stream::parse(bytes, shape)?;
                values.resize(value_bytes, 0);
                stream.decode(label_type, values.as_chunks_mut::<N>().0)
            }
        }
    }
}

/// Compares the shape in the header of a stream with that of the chunk, x, y, z.
fn check_shape(found: [u64; 3], expected: [usize; 3]) -> Result<(), String> {
    if found == expected.map(|n| n as u64) {
        return Ok(());
    }
    Err(format!(
        "its header has {found:?} voxels (x, y, z), expected {expected:?}, the size of the chunk in the info file"
    ))
}

#[cfg(test)]
mod tests;
