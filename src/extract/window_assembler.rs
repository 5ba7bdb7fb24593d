//! Assembling a box of voxels from the blocks of a volume, into one array.

use crate::blocks::{Block, BlockKey};
use crate::data_type::Scalar;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;
use crate::voxels::{Conversion, Region, ValueDoesNotFit, convert, copy, fill, fill_around};

/// What the blocks that touch a box hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BoxContents {
    /// Whether any of them is stored.
    pub stored: bool,
    /// Whether any of them holds another value than the fill value.
    pub other_values: bool,
}

/// A box of voxels to read from a source.
#[derive(Clone, Copy)]
pub(crate) struct BoxRequest<'r> {
    /// Position of the source in the plan.
    pub source: usize,
    /// The box, and the size of its values after the conversion.
    pub out: &'r Region<'r>,
    /// Written where nothing is stored.
    pub fill_value: Scalar,
    /// How every value is converted.
    pub conversion: Option<&'r Conversion>,
}

/// A box that is being read, block by block.
///
/// Labels and masks are empty in most places. So the fill value is not written before another value is, and not at all
/// where there is no other value.
pub(super) struct WindowAssembler<'r> {
    meta: &'r VolumeMeta,
    request: &'r BoxRequest<'r>,
    buffer: &'r mut [u8],
    /// Blocks that hold nothing but the fill value.
    unwritten: &'r mut Vec<VoxelBox>,
    contents: BoxContents,
}

impl<'r> WindowAssembler<'r> {
    /// Begins to read a box of a volume into `buffer`. `unwritten` is a buffer of the caller.
    pub fn new(
        meta: &'r VolumeMeta,
        request: &'r BoxRequest<'r>,
        buffer: &'r mut [u8],
        unwritten: &'r mut Vec<VoxelBox>,
    ) -> Self {
        unwritten.clear();
        Self {
            meta,
            request,
            buffer,
            unwritten,
            contents: BoxContents::default(),
        }
    }

    /// Adds a block.
    pub fn add(&mut self, block: &Block, key: BlockKey) -> Result<(), ValueDoesNotFit> {
        let grid = &self.meta.grid;
        let covers = grid.block_box(grid.block_from_linear(key.block));
        match block {
            Block::Missing => self.unwritten.push(covers),
            Block::Uniform(value) => self.add_uniform(*value, covers)?,
            Block::Stored(values) => self.add_stored(values, &covers)?,
        }
        Ok(())
    }

    fn add_uniform(&mut self, value: Scalar, covers: VoxelBox) -> Result<(), ValueDoesNotFit> {
        self.contents.stored = true;
        let converted = self.converted(value)?;
        if converted == self.request.fill_value {
            self.unwritten.push(covers);
        } else {
            self.contents.other_values = true;
            fill(converted, &covers, self.buffer, self.request.out);
        }
        Ok(())
    }

    fn add_stored(&mut self, values: &[u8], covers: &VoxelBox) -> Result<(), ValueDoesNotFit> {
        self.contents = BoxContents {
            stored: true,
            other_values: true,
        };
        let out = self.request.out;
        let block = Region {
            covers,
            channels: out.channels,
            value_bytes: self.meta.data_type.size_bytes(),
        };
        match self.request.conversion {
            None => copy(values, &block, self.buffer, out),
            Some(conversion) => {
                convert(values, &block, self.buffer, out, |from, to| {
                    conversion.convert(from, to)
                })?;
            }
        }
        Ok(())
    }

    /// Writes the fill value where nothing else was written.
    pub fn finish(self) -> BoxContents {
        let BoxRequest {
            out, fill_value, ..
        } = *self.request;
        if self.contents.other_values {
            for covers in self.unwritten.iter() {
                fill(fill_value, covers, self.buffer, out);
            }
            fill_around(fill_value, self.meta.grid.bounds(), self.buffer, out);
        }
        self.contents
    }

    fn converted(&self, value: Scalar) -> Result<Scalar, ValueDoesNotFit> {
        let Some(conversion) = self.request.conversion else {
            return Ok(value);
        };
        let mut converted = [0; 8];
        let bytes = &mut converted[..self.request.out.value_bytes];
        let value = value.bytes(self.meta.data_type.size_bytes());
        conversion.convert(value, bytes)?;
        Ok(Scalar::from_array(converted))
    }
}
