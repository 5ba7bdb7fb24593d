//! What the blocks of a volume have of a box of voxels, written to one array.

use crate::blocks::BlockKey;
use crate::data_type::Scalar;
use crate::geometry::VoxelBox;
use crate::volume::VolumeMeta;
use crate::voxels::{Conversion, Region, ValueDoesNotFit, convert, copy, fill, fill_around};

/// What the blocks that touch a box have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BoxContents {
    /// Whether any of them is stored.
    pub stored: bool,
    /// Whether any of them has another value than the fill value.
    pub other_values: bool,
}

/// A box that is being read, block by block.
///
/// Labels and masks are empty in most places: what is the fill value is not written before there is anything else, and
/// where there is nothing else not at all.
pub(super) struct WindowAssembler<'r> {
    pub meta: &'r VolumeMeta,
    /// What is to be written: the box, and the values' size after the conversion.
    pub out: &'r Region<'r>,
    /// What is written where nothing is stored.
    pub fill_value: Scalar,
    /// What is done to every value, and for which object.
    pub convert: Option<(&'r Conversion, u64)>,
    pub buffer: &'r mut [u8],
    /// Blocks that have nothing but the fill value. Empty at first.
    pub unwritten: &'r mut Vec<VoxelBox>,
    pub found: BoxContents,
}

impl WindowAssembler<'_> {
    /// A block that is not stored.
    pub fn missing(&mut self, key: BlockKey) {
        let covers = self.covers(key);
        self.unwritten.push(covers);
    }

    /// A block whose values are all this one.
    pub fn uniform(&mut self, value: Scalar, key: BlockKey) -> Result<(), ValueDoesNotFit> {
        self.found.stored = true;
        let covers = self.covers(key);
        let becomes = self.converted(value)?;
        match becomes == self.fill_value {
            true => self.unwritten.push(covers),
            false => {
                self.found.other_values = true;
                fill(becomes, &covers, self.buffer, self.out);
            }
        }
        Ok(())
    }

    /// A block with these values.
    pub fn stored(&mut self, values: &[u8], key: BlockKey) -> Result<(), ValueDoesNotFit> {
        self.found = BoxContents {
            stored: true,
            other_values: true,
        };
        let covers = self.covers(key);
        let block = Region {
            covers: &covers,
            channels: self.out.channels,
            value_bytes: self.meta.data_type.size_bytes(),
        };
        match self.convert {
            None => copy(values, &block, self.buffer, self.out),
            Some((how, object)) => {
                convert(values, &block, self.buffer, self.out, |from, to| {
                    how.row(from, to, object)
                })?;
            }
        }
        Ok(())
    }

    /// Writes what is left to write.
    pub fn finish(self) -> BoxContents {
        if self.found.other_values {
            for covers in self.unwritten.iter() {
                fill(self.fill_value, covers, self.buffer, self.out);
            }
            let bounds = self.meta.grid.bounds();
            fill_around(self.fill_value, bounds, self.buffer, self.out);
        }
        self.found
    }

    fn covers(&self, key: BlockKey) -> VoxelBox {
        let grid = &self.meta.grid;
        grid.block_box(grid.block_from_linear(key.block))
    }

    fn converted(&self, value: Scalar) -> Result<Scalar, ValueDoesNotFit> {
        let Some((how, object)) = self.convert else {
            return Ok(value);
        };
        let mut becomes = [0; 8];
        let bytes = &mut becomes[..self.out.value_bytes];
        how.row(value.bytes(self.meta.data_type.size_bytes()), bytes, object)?;
        Ok(Scalar::from_array(becomes))
    }
}
