//! TIFF stacks: a folder of files with one section each, or one file with a page for each section.
//!
//! A block is a tile, some strips, or some rows of raw values, of one section and of all its channels. `tiff::stack` finds
//! the pages, `tiff::chunk` decodes. Values are those in the file: colours and palettes change nothing.

mod chunk;
mod compression;
mod description;
mod directory;
mod error;
mod page;
mod section_names;
mod stack;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use super::array_description::ArrayDescription;
use super::format_dimensions::FormatDimensions;
use super::{BlockIndex, ChunkGroups, EncodedBlock, Volume, VolumeError, VolumeMeta};
use crate::config::LayerConfig;
use crate::data_type::Scalar;
use crate::geometry::Resolution;
use crate::storage::{Extent, Location, Storage, read_run, runs};
pub use error::TiffError;
use page::Page;
pub(crate) use section_names::may_be_tiff;
use stack::TiffStack;

/// Size of the blocks of strips and of raw rows. A window of 64 rows reads a few of them, and a server needs about as long
/// for this many bytes as for one.
const BLOCK_BYTES: u64 = 256 << 10;

/// The `axes` in a config that make each page a section.
const SECTIONS: &str = "zyx";

/// An open stack.
#[derive(Debug)]
pub(super) struct TiffVolume {
    stack: TiffStack,
    meta: VolumeMeta,
}

/// Some pixels of a page that are stored together: a chunk, or raw rows.
#[derive(Debug)]
struct Part {
    page: Arc<Page>,
    /// The first of its channels in the volume.
    channel: u64,
    /// The pixels along x and y.
    pixels: [Range<u64>; 2],
    /// Where they are in the file; empty for a missing chunk.
    bytes: Range<u64>,
}

/// Whether the name of `location` is that of a TIFF file, or a pattern of such names.
pub(crate) fn names_tiff(location: &Location) -> bool {
    let file = location.split_file();
    file.is_some_and(|(_, name)| may_be_tiff(&name) || section_names::is_pattern(&name))
}

/// Whether the name of `location` is a pattern of names.
pub(crate) fn is_pattern(location: &Location) -> bool {
    let file = location.split_file();
    file.is_some_and(|(_, name)| section_names::is_pattern(&name))
}

/// Whether `location` is a folder that has TIFF files.
pub(crate) fn has_sections(location: &Location, storage: &Storage) -> bool {
    location.can_be_listed() && { storage.list(location) }
        .is_ok_and(|listing| listing.files.iter().any(|name| may_be_tiff(name)))
}

/// Reads the dimensions of a stack.
pub(super) fn model_space() -> FormatDimensions {
    FormatDimensions {
        names: ["z", "y", "x"].map(str::to_owned).to_vec(),
        is_named: true,
        begins_at_zero: false,
        factors: [1.0; 3],
    }
}

impl TiffVolume {
    /// Opens the stack at `location`. Its resolution must be `wanted`.
    pub(super) fn open(
        location: &Location,
        wanted: &Resolution,
        layer: &LayerConfig,
        storage: &Storage,
    ) -> Result<Self, VolumeError> {
        if let Some(axes) = layer.axes.as_deref().filter(|axes| *axes != SECTIONS) {
            return Err(VolumeError::InvalidMetadata {
                object: location.to_string(),
                path: "layers.NAME.axes".to_owned(),
                problem: format!(
                    "found {axes:?} in the config, expected \"{SECTIONS}\", with which each page of a TIFF file is a section, or no `axes`"
                ),
            });
        }
        let stack = TiffStack::open(location, layer.axes.is_some(), storage)?;
        let resolution = match layer.resolution {
            Some(resolution) => resolution,
            None => stated_resolution(&stack)?,
        };
        if !resolution.matches(wanted) {
            return Err(VolumeError::NoScale {
                object: stack.object().to_owned(),
                wanted: *wanted,
                available: vec![resolution],
                config_may_set: true,
            });
        }
        let first = stack.first();
        let [width, rows] = block_size(first);
        let description = ArrayDescription {
            data_type: first.data_type,
            fill_value: Scalar::ZERO,
            channels: stack.pages_per_section() * first.samples,
            size: [first.width, first.height, stack.sections()],
            block: [width, rows, 1],
            resolution,
            voxel_offset: layer.voxel_offset.unwrap_or_default(),
        };
        let meta = description.meta();
        let meta = meta.map_err(|problem| TiffError::Unsupported {
            object: first.name.clone(),
            problem,
        })?;
        Ok(Self { stack, meta })
    }

    /// The section of a block, and its pixels along x and y.
    fn pixels(&self, block: BlockIndex) -> (u64, [Range<u64>; 2]) {
        let grid = &self.meta.grid;
        let (region, first) = (grid.block_box(block), grid.bounds().start);
        let along =
            |d: usize| (region.start[d] - first[d]) as u64..(region.end[d] - first[d]) as u64;
        (block[2], [along(0), along(1)])
    }

    /// The parts of a block. Reads the directories of its pages.
    fn parts(&self, block: BlockIndex) -> Result<Vec<Part>, TiffError> {
        let (section, pixels) = self.pixels(block);
        let mut parts: Vec<Part> = Vec::new();
        for number in 0..self.stack.pages_per_section() {
            let page = self.stack.page(section, number)?;
            for plane in 0..page.planes() {
                let channel = number * page.samples + plane;
                if page.has_raw_rows() {
                    add_rows(&mut parts, &page, plane, channel, &pixels[1]);
                } else {
                    add_chunks(&mut parts, &page, plane, channel, &pixels);
                }
            }
        }
        Ok(parts)
    }

    /// Where a block of a single part is; `None` for all others.
    fn extent(&self, block: BlockIndex) -> Option<Extent> {
        match &self.parts(block).ok()?[..] {
            [part] => part.extent(),
            _ => None,
        }
    }

    /// Reads parts that are near each other with one request.
    fn read_parts(&self, parts: &[Part]) -> Result<Vec<Option<Vec<u8>>>, VolumeError> {
        let mut read = vec![None; parts.len()];
        let located = parts.iter().map(Part::extent).enumerate();
        for run in runs(located.collect()) {
            let extents = run.iter().map(|part| parts[*part].extent());
            let Some(extents) = extents.collect::<Option<Vec<_>>>() else {
                continue;
            };
            let mut bytes = vec![Vec::new(); run.len()];
            let store = self.stack.store();
            let mut into: Vec<_> = bytes.iter_mut().collect();
            let exists = if let ([extent], [into]) = (&extents[..], &mut into[..]) {
                store.read_range(&extent.key, extent.bytes.clone(), into)?
            } else {
                read_run(store, &extents, &mut into)?
            };
            self.require_file(&extents, exists)?;
            for (part, bytes) in run.into_iter().zip(bytes) {
                read[part] = Some(bytes);
            }
        }
        Ok(read)
    }

    /// A file that was opened and does not exist any more is an error, not a missing chunk.
    fn require_file(&self, extents: &[Extent], exists: bool) -> Result<(), TiffError> {
        match extents.first().filter(|_| !exists) {
            None => Ok(()),
            Some(extent) => Err(TiffError::Missing {
                object: self.stack.store().describe(&extent.key),
            }),
        }
    }
}

/// Size of a block along x and y.
fn block_size(page: &Page) -> [u64; 2] {
    let [width, rows] = page.chunk;
    if page.is_tiled {
        return [width, rows];
    }
    let row_bytes = page.width * page.samples * page.data_type.size_bytes() as u64;
    let step = if page.has_raw_rows() { 1 } else { rows };
    let steps = (BLOCK_BYTES / row_bytes.saturating_mul(step)).max(1);
    [width, step.saturating_mul(steps).min(page.height)]
}

/// The voxel size in the metadata.
fn stated_resolution(stack: &TiffStack) -> Result<Resolution, VolumeError> {
    let found = match stack.voxel_nm() {
        [Some(x), Some(y), Some(z)] => Resolution::new([x, y, z]),
        _ => None,
    };
    found.ok_or_else(|| VolumeError::Incomplete {
        object: stack.object().to_owned(),
        missing: match stack.voxel_nm() {
            [Some(x), Some(y), None] => format!(
                "states pixels of {x} x {y} nm, but no distance between sections (OME-XML, or ImageJ's `spacing`)"
            ),
            _ => "states no voxel size in nm (OME-XML, or ImageJ's `unit` and `spacing`)".into(),
        },
        example: "{ \"resolution\": [4, 4, 40], \"voxel_offset\": [0, 0, 0] }".into(),
    })
}

/// Adds the `rows` of a page of raw strips. Rows that follow each other in the file are one part.
fn add_rows(parts: &mut Vec<Part>, page: &Arc<Page>, plane: u64, channel: u64, rows: &Range<u64>) {
    let row_bytes = page.width * page.pixel_bytes();
    let strip_rows = page.chunk[1];
    let first = parts.len();
    for strip in rows.start / strip_rows..rows.end.div_ceil(strip_rows) {
        let start = (strip * strip_rows).max(rows.start);
        let end = ((strip + 1) * strip_rows).min(rows.end);
        let stored = page.range(plane, [0, strip]);
        let bytes = if stored.is_empty() {
            0..0
        } else {
            let position = |row: u64| stored.start + (row - strip * strip_rows) * row_bytes;
            position(start)..position(end)
        };
        match parts[first..].last_mut() {
            Some(last) if !bytes.is_empty() && last.bytes.end == bytes.start => {
                last.bytes.end = bytes.end;
                last.pixels[1].end = end;
            }
            _ => parts.push(Part {
                page: Arc::clone(page),
                channel,
                pixels: [0..page.width, start..end],
                bytes,
            }),
        }
    }
}

/// Adds the chunks of a page that have some of the `pixels`.
fn add_chunks(
    parts: &mut Vec<Part>,
    page: &Arc<Page>,
    plane: u64,
    channel: u64,
    pixels: &[Range<u64>; 2],
) {
    let touched = |d: usize| {
        let range: &Range<u64> = &pixels[d];
        range.start / page.chunk[d]..range.end.div_ceil(page.chunk[d])
    };
    for j in touched(1) {
        for i in touched(0) {
            let size = page.stored_size([i, j]);
            let start = [i * page.chunk[0], j * page.chunk[1]];
            parts.push(Part {
                page: Arc::clone(page),
                channel,
                pixels: [start[0]..start[0] + size[0], start[1]..start[1] + size[1]],
                bytes: page.range(plane, [i, j]),
            });
        }
    }
}

impl Part {
    fn extent(&self) -> Option<Extent> {
        (!self.bytes.is_empty()).then(|| Extent {
            key: self.page.key.clone(),
            bytes: self.bytes.clone(),
        })
    }

    fn describe(&self) -> String {
        let [x, y] = &self.pixels;
        format!("{}, at x {}, y {}", self.page.name, x.start, y.start)
    }

    fn size(&self) -> [u64; 2] {
        [0, 1].map(|d| self.pixels[d].end - self.pixels[d].start)
    }

    /// Copies the `decoded` values that are in the pixels of a block to `values`, the block in C order `[channel, y, x]`.
    fn copy(&self, decoded: &[u8], block: &[Range<u64>; 2], values: &mut [u8]) {
        let value_bytes = self.page.data_type.size_bytes();
        let samples = self.page.samples_per_chunk() as usize;
        let [x, y] = [0, 1].map(|d| {
            let (part, block) = (&self.pixels[d], &block[d]);
            part.start.max(block.start)..part.end.min(block.end)
        });
        let [width, height] = [0, 1].map(|d| (block[d].end - block[d].start) as usize);
        let columns = x.end.saturating_sub(x.start) as usize;
        let pixel_bytes = samples * value_bytes;
        for row in y {
            let from_row = (row - self.pixels[1].start) * self.size()[0];
            let from = (from_row + x.start - self.pixels[0].start) as usize * pixel_bytes;
            let from = &decoded[from..from + columns * pixel_bytes];
            for sample in 0..samples {
                let plane = self.channel as usize + sample;
                let to_row = plane * height + (row - block[1].start) as usize;
                let to = (to_row * width + (x.start - block[0].start) as usize) * value_bytes;
                let to = &mut values[to..to + columns * value_bytes];
                if samples == 1 {
                    to.copy_from_slice(from);
                    continue;
                }
                let pixels = from.chunks_exact(pixel_bytes);
                for (to, pixel) in to.chunks_exact_mut(value_bytes).zip(pixels) {
                    to.copy_from_slice(&pixel[sample * value_bytes..(sample + 1) * value_bytes]);
                }
            }
        }
    }
}

impl Volume for TiffVolume {
    fn describe(&self) -> String {
        self.stack.object().to_owned()
    }

    fn describe_block(&self, block: BlockIndex) -> String {
        let (section, [x, y]) = self.pixels(block);
        let object = self.stack.object();
        format!(
            "{object}, section {section}, at x {}, y {}",
            x.start, y.start
        )
    }

    fn decoding_bytes(&self) -> u64 {
        let chunk = self.stack.largest_chunk_bytes();
        // The parts of a block before they are joined, and a decoded chunk.
        self.meta.largest_block_bytes() + chunk + chunk::decoding_bytes(self.stack.first(), chunk)
    }

    fn round_trips(&self) -> usize {
        self.stack.store().round_trips()
    }

    fn chunk_groups(&self) -> Option<Box<dyn ChunkGroups + '_>> {
        let has_parts = self.stack.pages_per_section() * self.stack.first().planes() > 1;
        (!has_parts).then(|| Box::new(ChunksOfSection(self)) as Box<dyn ChunkGroups>)
    }

    fn meta(&self) -> &VolumeMeta {
        &self.meta
    }

    fn digest(&self) -> blake3::Hash {
        self.stack.digest()
    }

    fn fetch(&self, block: BlockIndex, encoded: &mut EncodedBlock) -> Result<bool, VolumeError> {
        let parts = self.parts(block)?;
        let mut read = self.read_parts(&parts)?;
        encoded.read_parts(parts.len() as u64, |part, into| {
            let bytes = read[part as usize].take();
            let exists = bytes.is_some();
            *into = bytes.unwrap_or_default();
            Ok(exists)
        })
    }

    fn prefetch(&self, block: BlockIndex) {
        // Errors are left to the read of the block.
        for part in self.parts(block).unwrap_or_default() {
            if let Some(extent) = part.extent() {
                self.stack.store().prefetch(&extent.key, Some(extent.bytes));
            }
        }
    }

    fn decode(
        &self,
        block: BlockIndex,
        encoded: &mut EncodedBlock,
        values: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        let (_, pixels) = self.pixels(block);
        let parts = self.parts(block)?;
        let found = encoded.parts().count();
        if found != parts.len() {
            return Err(VolumeError::Chunk {
                object: self.describe_block(block),
                problem: format!(
                    "found {found} parts, expected {}: the file changed while it was read",
                    parts.len()
                ),
            });
        }
        values.clear();
        values.resize(self.meta.block_bytes(&self.meta.grid.block_box(block)), 0);
        let mut decoded = std::mem::take(&mut encoded.decoded);
        for (part, stored) in parts.iter().zip(encoded.parts()) {
            let Some(stored) = stored else {
                continue;
            };
            let result = chunk::decode(&part.page, part.size(), stored, &mut decoded);
            result.map_err(|problem| VolumeError::Chunk {
                object: part.describe(),
                problem,
            })?;
            part.copy(&decoded, &pixels, values);
        }
        encoded.decoded = decoded;
        Ok(())
    }
}

/// The chunks of a section, which are in one file.
struct ChunksOfSection<'v>(&'v TiffVolume);

impl ChunkGroups for ChunksOfSection<'_> {
    fn group_key(&self, block: BlockIndex) -> [u64; 2] {
        [block[2], 0]
    }

    fn runs(&self, blocks: &[BlockIndex]) -> Vec<Vec<BlockIndex>> {
        let find = |block: &BlockIndex| (*block, self.0.extent(*block));
        runs(blocks.iter().map(find).collect())
    }

    fn fetch_run(
        &self,
        run: &[BlockIndex],
        encoded: &mut [EncodedBlock],
    ) -> Result<bool, VolumeError> {
        if let ([block], [encoded]) = (run, &mut *encoded) {
            return self.0.fetch(*block, encoded);
        }
        let extents = run.iter().map(|block| self.0.extent(*block));
        let Some(extents) = extents.collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        let mut into: Vec<_> = encoded.iter_mut().map(|e| &mut e.bytes).collect();
        let exists = read_run(self.0.stack.store(), &extents, &mut into)?;
        self.0.require_file(&extents, exists)?;
        for e in encoded {
            e.set_single_part();
        }
        Ok(true)
    }
}
