//! Decoder for Neuroglancer's `compressed_segmentation` encoding.
//!
//! A chunk of u32 or u64 labels is a grid of blocks. Each block has a table of its labels and a packed table index per
//! voxel. Input: the bytes of a chunk and the shape from the info file. Output: labels in C order
//! `[channel][z][y][x]`, little-endian. The input is not trusted: all offsets are checked before use, and no
//! allocation depends on them.

mod encode;
mod error;
#[cfg(test)]
mod tests;

pub use encode::encode;
pub use error::CompressedSegmentationError;

use CompressedSegmentationError as Error;

/// A little-endian 32-bit word.
type Word = [u8; 4];

/// Replaces the contents of `out` with the labels of a chunk in C order `[channel][z][y][x]`, little-endian.
///
/// `shape` and `block` are in voxels along x, y, z. After an error, the contents of `out` are unspecified.
pub fn decode(
    encoded: &[u8],
    shape: [usize; 3],
    channels: usize,
    block: [usize; 3],
    label_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let layout = ChunkLayout::new(shape, channels, block, label_bytes)?;
    let (words, rest) = encoded.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::NotWords {
            found_bytes: encoded.len(),
        });
    }
    // Check the headers before allocating the output.
    if layout.voxels > 0 && channels > 0 {
        for channel in 0..channels {
            layout.channel_words(words, channel)?;
        }
    }
    out.resize(layout.voxels * channels * label_bytes, 0);
    match label_bytes {
        4 => decode_channels(words, &layout, out.as_chunks_mut::<4>().0),
        _ => decode_channels(words, &layout, out.as_chunks_mut::<8>().0),
    }
}

/// The shape of a chunk. Products of its numbers do not overflow.
struct ChunkLayout {
    shape: [usize; 3],
    channels: usize,
    block: [usize; 3],
    /// Blocks along x, y, z.
    grid: [usize; 3],
    /// Voxels of one channel.
    voxels: usize,
}

impl ChunkLayout {
    fn new(
        shape: [usize; 3],
        channels: usize,
        block: [usize; 3],
        label_bytes: usize,
    ) -> Result<Self, Error> {
        if label_bytes != 4 && label_bytes != 8 {
            return Err(Error::LabelBytes { found: label_bytes });
        }
        let wrong = |why| Error::Shape {
            shape,
            channels,
            block,
            why,
        };
        if block.contains(&0) {
            return Err(wrong(
                "a block must have at least one voxel along each axis",
            ));
        }
        let product =
            |factors: [usize; 3], by: usize| factors.iter().try_fold(by, |p, f| p.checked_mul(*f));
        let voxels = product(shape, 1).ok_or_else(|| wrong("too many voxels"))?;
        let grid = std::array::from_fn(|d| shape[d].div_ceil(block[d]));
        // Bytes of the output, bits of a block's indices, bytes of the headers.
        product(shape, label_bytes)
            .and_then(|bytes| bytes.checked_mul(channels))
            .and(product(block, 32))
            .and(product(grid, 8))
            .ok_or_else(|| wrong("too many voxels"))?;
        Ok(Self {
            shape,
            channels,
            block,
            grid,
            voxels,
        })
    }

    /// The positions of all blocks in the grid, x fastest.
    fn positions(&self) -> impl Iterator<Item = [usize; 3]> + use<> {
        let [nx, ny, nz] = self.grid;
        (0..nz).flat_map(move |z| (0..ny).flat_map(move |y| (0..nx).map(move |x| [x, y, z])))
    }

    /// The words from the start of `channel` to the end of the data. Contains at least the channel's headers.
    fn channel_words<'a>(&self, words: &'a [Word], channel: usize) -> Result<&'a [Word], Error> {
        let found_bytes = words.len() * 4;
        let headers = 2 * self.grid.iter().product::<usize>();
        let missing = |expected_words: u64| Error::Headers {
            channel,
            found_bytes,
            expected_bytes: expected_words * 4,
        };
        let offset = words
            .get(channel)
            .ok_or_else(|| missing(channel as u64 + 1))?;
        let offset = u32::from_le_bytes(*offset);
        match usize::try_from(offset).ok().and_then(|at| words.get(at..)) {
            Some(data) if data.len() >= headers => Ok(data),
            _ => Err(missing(u64::from(offset) + headers as u64)),
        }
    }
}

fn decode_channels<const N: usize>(
    words: &[Word],
    layout: &ChunkLayout,
    out: &mut [[u8; N]],
) -> Result<(), Error> {
    if layout.voxels == 0 {
        return Ok(());
    }
    for (channel, out) in out.chunks_exact_mut(layout.voxels).enumerate() {
        let data = layout.channel_words(words, channel)?;
        decode_channel(data, words.len() * 4, channel, layout, out)?;
    }
    debug_assert_eq!(out.len(), layout.voxels * layout.channels);
    Ok(())
}

fn decode_channel<const N: usize>(
    data: &[Word],
    found_bytes: usize,
    channel: usize,
    layout: &ChunkLayout,
    out: &mut [[u8; N]],
) -> Result<(), Error> {
    let decoder = ChannelDecoder {
        data,
        found_bytes,
        channel,
        layout,
    };
    // `channel_words` has checked the number of headers.
    let (headers, _) = data.as_chunks::<2>();
    for (position, header) in layout.positions().zip(headers) {
        decoder.decode_block(position, header, out)?;
    }
    Ok(())
}

/// Decoder of one channel of a chunk.
struct ChannelDecoder<'a> {
    /// The words from the start of the channel to the end of the chunk.
    data: &'a [Word],
    /// Bytes of the whole chunk.
    found_bytes: usize,
    channel: usize,
    layout: &'a ChunkLayout,
}

impl ChannelDecoder<'_> {
    /// Decodes the block with this position and header.
    fn decode_block<const N: usize>(
        &self,
        position: [usize; 3],
        [first, second]: &[Word; 2],
        out: &mut [[u8; N]],
    ) -> Result<(), Error> {
        let first = u32::from_le_bytes(*first);
        let (table_at, bits) = (first & 0x00ff_ffff, first >> 24);
        let indices_at = u32::from_le_bytes(*second);
        let block = BlockDecoder::<N> {
            table: table_from(self.data, table_at),
            region: Region::new(self.layout, position),
        };
        let index_error = match bits {
            0 | 1 | 2 | 4 | 8 | 16 | 32 => {
                let indices = self.indices(position, &block.region, bits, indices_at)?;
                match bits {
                    0 => block.fill(out),
                    1 => block.unpack::<1, 2>(indices, out),
                    2 => block.unpack::<2, 4>(indices, out),
                    4 => block.unpack::<4, 16>(indices, out),
                    8 => block.unpack::<8, 256>(indices, out),
                    16 => block.unpack::<16, 65536>(indices, out),
                    _ => block.look_up_words(indices, out),
                }
            }
            found => {
                return Err(Error::Bits {
                    channel: self.channel,
                    block: position,
                    found,
                });
            }
        };
        index_error.map_err(|BadIndex(index)| Error::Table {
            channel: self.channel,
            block: position,
            index,
            table_byte: self.byte_of(u64::from(table_at)),
            entries: block.table.len(),
        })
    }

    /// The words with the indices of a block, which start at the word `at`.
    fn indices(
        &self,
        position: [usize; 3],
        region: &Region,
        bits: u32,
        at: u32,
    ) -> Result<&[Word], Error> {
        let needed = region.index_words(bits);
        let found = usize::try_from(at)
            .ok()
            .and_then(|at| self.data.get(at..)?.get(..needed));
        match found {
            Some(indices) => Ok(indices),
            None if needed == 0 => Ok(&[]),
            None => Err(Error::Indices {
                channel: self.channel,
                block: position,
                found_bytes: self.found_bytes,
                expected_bytes: self.byte_of(u64::from(at) + needed as u64),
            }),
        }
    }

    /// The offset in the chunk of a word of the channel, in bytes.
    fn byte_of(&self, word: u64) -> u64 {
        (self.found_bytes - self.data.len() * 4) as u64 + word * 4
    }
}

/// The words from `at` to the end of the data, as labels. Empty if `at` is past the end.
fn table_from<const N: usize>(data: &[Word], at: u32) -> &[[u8; N]] {
    let rest = usize::try_from(at)
        .ok()
        .and_then(|at| data.get(at..))
        .unwrap_or_default();
    rest.as_flattened().as_chunks::<N>().0
}

/// The part of a block that is inside the chunk.
struct Region {
    /// Index of the first voxel in the output.
    first: usize,
    /// Voxels along x, y, z that are inside the chunk, at least 1.
    size: [usize; 3],
    /// Distance from one row to the next, and from one slice to the next, in the output.
    out_stride: [usize; 2],
    /// The same in the whole block.
    block_stride: [usize; 2],
}

/// An index that is not in the table.
struct BadIndex(u32);

impl Region {
    fn new(layout: &ChunkLayout, position: [usize; 3]) -> Self {
        let start: [usize; 3] = std::array::from_fn(|d| position[d] * layout.block[d]);
        let [nx, ny, _] = layout.shape;
        Self {
            first: start[0] + nx * (start[1] + ny * start[2]),
            size: std::array::from_fn(|d| layout.block[d].min(layout.shape[d] - start[d])),
            out_stride: [nx, nx * ny],
            block_stride: [layout.block[0], layout.block[0] * layout.block[1]],
        }
    }

    /// Number of words up to the last index of a voxel inside the chunk. Padding after it may be absent.
    fn index_words(&self, bits: u32) -> usize {
        let [_, ny, nz] = self.size;
        let last = self.size[0] + self.block_stride[0] * (ny - 1) + self.block_stride[1] * (nz - 1);
        (last * bits.min(32) as usize).div_ceil(32)
    }

    /// The first voxel of each row: its index in the whole block, and in the output.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let [_, ny, nz] = self.size;
        (0..nz).flat_map(move |z| {
            (0..ny).map(move |y| {
                (
                    self.block_stride[0] * y + self.block_stride[1] * z,
                    self.first + self.out_stride[0] * y + self.out_stride[1] * z,
                )
            })
        })
    }
}

/// Decoder of one block.
struct BlockDecoder<'a, const N: usize> {
    table: &'a [[u8; N]],
    region: Region,
}

impl<const N: usize> BlockDecoder<'_, N> {
    /// Decodes a block with a single label.
    fn fill(&self, out: &mut [[u8; N]]) -> Result<(), BadIndex> {
        let label = *self.table.first().ok_or(BadIndex(0))?;
        for (_, at) in self.region.rows() {
            out[at..at + self.region.size[0]].fill(label);
        }
        Ok(())
    }

    /// Decodes a block with indices of `BITS` bits. `ENTRIES` is `1 << BITS`.
    fn unpack<const BITS: usize, const ENTRIES: usize>(
        &self,
        indices: &[Word],
        out: &mut [[u8; N]],
    ) -> Result<(), BadIndex> {
        // If a table of full length fits in the data, every index is valid.
        match self.table.first_chunk::<ENTRIES>() {
            Some(table) => {
                self.unpack_rows::<BITS>(indices, out, |index| Some(table[index % ENTRIES]))
            }
            None => self.unpack_rows::<BITS>(indices, out, |index| self.table.get(index).copied()),
        }
    }

    #[inline(always)]
    fn unpack_rows<const BITS: usize>(
        &self,
        indices: &[Word],
        out: &mut [[u8; N]],
        label: impl Fn(usize) -> Option<[u8; N]>,
    ) -> Result<(), BadIndex> {
        let per_word = 32 / BITS;
        let mask = (1u32 << BITS) - 1;
        for (mut index, at) in self.region.rows() {
            let mut row = &mut out[at..at + self.region.size[0]];
            while !row.is_empty() {
                let skipped = index % per_word;
                let mut packed = u32::from_le_bytes(indices[index / per_word]) >> (skipped * BITS);
                let (now, later) = row.split_at_mut(row.len().min(per_word - skipped));
                index += now.len();
                for slot in now {
                    *slot = label((packed & mask) as usize).ok_or(BadIndex(packed & mask))?;
                    packed >>= BITS;
                }
                row = later;
            }
        }
        Ok(())
    }

    /// Decodes a block with indices of 32 bits.
    fn look_up_words(&self, indices: &[Word], out: &mut [[u8; N]]) -> Result<(), BadIndex> {
        let width = self.region.size[0];
        for (index, at) in self.region.rows() {
            for (slot, word) in out[at..at + width]
                .iter_mut()
                .zip(&indices[index..index + width])
            {
                let index = u32::from_le_bytes(*word);
                *slot = usize::try_from(index)
                    .ok()
                    .and_then(|i| self.table.get(i).copied())
                    .ok_or(BadIndex(index))?;
            }
        }
        Ok(())
    }
}
