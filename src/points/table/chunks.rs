//! The files of a tabular layer's chunks, read as one table.

use super::EXPECTED;
use super::cells::{BlockPlace, MergeBlock, RowCollector};
use super::file::TableFile;
use super::tabular::{ROW_BITS, TabularChunk, TabularLayer, without_chunks};
use crate::points::error::PointsError;
use crate::points::merge::BoxIndex;
use crate::storage::{Location, ParallelTasks, Storage, wait_in_parallel};

/// Files that are opened at once.
const OPENED: usize = 16;

/// A table in one file per chunk.
#[derive(Debug)]
pub(super) struct ChunkedTable {
    folder: Location,
    layer: TabularLayer,
    names: Vec<String>,
    delimiter: Option<char>,
    storage: Storage,
    /// What the numbers of rows count: lines or rows.
    word: &'static str,
}

impl ChunkedTable {
    /// The table of `layer` in `folder`. The columns `names` of the first file are found.
    pub fn open(
        folder: &Location,
        layer: TabularLayer,
        names: &[String],
        delimiter: Option<char>,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let first = layer.chunks.first();
        let first = first.ok_or_else(|| without_chunks(folder))?;
        let first = TableFile::open(&first.file, names, delimiter, EXPECTED, storage)?;
        Ok(Self {
            word: first.row_word(),
            folder: folder.clone(),
            layer,
            names: names.to_vec(),
            delimiter,
            storage: storage.clone(),
        })
    }

    pub fn object(&self) -> String {
        self.folder.to_string()
    }

    /// A warning about files that do not belong to the layer.
    pub fn warning(&self) -> Option<String> {
        self.layer.warning.clone()
    }

    /// The file and the line or row with this number.
    pub fn row_name(&self, number: u64) -> String {
        let (index, row) = (number >> ROW_BITS, number & ((1 << ROW_BITS) - 1));
        let chunks = &self.layer.chunks;
        let chunk = chunks.binary_search_by_key(&index, |chunk| chunk.index);
        let file = chunk.map_or(&self.folder, |i| &chunks[i].file);
        format!("{file}: {} {row}", self.word)
    }

    /// Collects all rows, chunk by chunk; with boxes, those in chunks that are near a box. The rows of a chunk, and their numbers, count from
    /// the position of the chunk in the grid times 2^32 on.
    pub fn collect<C: RowCollector>(
        &self,
        boxes: Option<&BoxIndex<'_>>,
        collector: &C,
        merge: &mut MergeBlock<'_, C::Block>,
    ) -> Result<(), PointsError> {
        let is_near = |chunk: &&TabularChunk| boxes.is_none_or(|boxes| chunk.is_near(boxes));
        let near: Vec<&TabularChunk> = self.layer.chunks.iter().filter(is_near).collect();
        for chunks in near.chunks(OPENED) {
            let tasks = ParallelTasks::<PointsError>::new(&self.storage);
            let open = |chunk: &TabularChunk| {
                tasks.run(|| {
                    let (names, delimiter) = (&self.names, self.delimiter);
                    TableFile::open(&chunk.file, names, delimiter, EXPECTED, &self.storage)
                })
            };
            let opened = wait_in_parallel(chunks, |chunk| open(chunk).map(Some));
            let opened: Vec<Option<TableFile>> = tasks.finish(opened)?;
            for (chunk, file) in chunks.iter().zip(opened.into_iter().flatten()) {
                let first = chunk.index << ROW_BITS;
                file.collect(None, collector, &mut |block, place: BlockPlace| {
                    let place = BlockPlace {
                        first_row: first + place.first_row,
                        first_number: first + place.first_number,
                    };
                    merge(block, place)
                })?;
            }
        }
        Ok(())
    }
}
