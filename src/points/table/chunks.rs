//! The files of a tabular layer's chunks, read as one table.

use super::TableFile;
use super::row::{RoundedIds, TableRow};
use super::tabular::{ROW_BITS, TabularChunk, TabularLayer, without_chunks};
use crate::config::TableConfig;
use crate::neuroglancer::GeometryKind;
use crate::points::error::PointsError;
use crate::points::merge::BoxIndex;
use crate::points::property::PropertySpec;
use crate::storage::{Location, ParallelTasks, Storage, wait_in_parallel};

/// Files that are opened at once.
const OPENED: usize = 16;

/// A table in one file per chunk.
#[derive(Debug)]
pub(super) struct ChunkedTable {
    folder: Location,
    layer: TabularLayer,
    config: TableConfig,
    storage: Storage,
    /// Of the first file.
    kind: GeometryKind,
    properties: Vec<PropertySpec>,
    /// What the numbers of rows count: lines or rows.
    word: &'static str,
}

impl ChunkedTable {
    /// The table of `layer` in `folder`. The columns of the first file are read.
    pub fn open(
        folder: &Location,
        layer: TabularLayer,
        config: &TableConfig,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let first = layer.chunks.first();
        let first = first.ok_or_else(|| without_chunks(folder))?;
        let first = TableFile::open(&first.file, config, storage)?;
        Ok(Self {
            kind: first.kind(),
            properties: first.properties(),
            word: first.row_word(),
            folder: folder.clone(),
            layer,
            config: config.clone(),
            storage: storage.clone(),
        })
    }

    pub fn object(&self) -> String {
        self.folder.to_string()
    }

    pub fn kind(&self) -> GeometryKind {
        self.kind
    }

    pub fn properties(&self) -> Vec<PropertySpec> {
        self.properties.clone()
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

    /// Calls `visit` with every row, chunk by chunk; with boxes, with those in chunks that are near a box. Without a column of ids, the id
    /// of a row is the position of its chunk in the grid times 2^32, plus its number in the chunk.
    pub fn for_each_row(
        &self,
        properties: &[PropertySpec],
        boxes: Option<&BoxIndex<'_>>,
        rounded: &mut Option<&mut RoundedIds>,
        visit: &mut dyn FnMut(TableRow<'_>) -> Result<(), PointsError>,
    ) -> Result<(), PointsError> {
        let is_near = |chunk: &&TabularChunk| boxes.is_none_or(|boxes| chunk.is_near(boxes));
        let near: Vec<&TabularChunk> = self.layer.chunks.iter().filter(is_near).collect();
        for chunks in near.chunks(OPENED) {
            let tasks = ParallelTasks::<PointsError>::new(&self.storage);
            let open = |chunk: &TabularChunk| {
                tasks.run(|| TableFile::open(&chunk.file, &self.config, &self.storage))
            };
            let opened = wait_in_parallel(chunks, |chunk| open(chunk).map(Some));
            let opened: Vec<Option<TableFile>> = tasks.finish(opened)?;
            for (chunk, file) in chunks.iter().zip(opened.into_iter().flatten()) {
                let first = chunk.index << ROW_BITS;
                let mut of_chunk = RoundedIds::default();
                let mut counted = rounded.is_some().then_some(&mut of_chunk);
                file.for_each_row(properties, None, &mut counted, &mut |mut row| {
                    row.number += first;
                    if self.config.id.is_none() {
                        row.id += first;
                    }
                    visit(row)
                })?;
                if let Some(rounded) = rounded {
                    rounded.add(&of_chunk, first);
                }
            }
        }
        Ok(())
    }
}
