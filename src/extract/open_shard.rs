//! A shard on which threads work: its pieces are cut and encoded by any thread, written in order, and a receipt says what was
//! written.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::error::ExtractError;
use super::in_order::InOrder;
use super::piece::{EncodedPiece, PieceScratch};
use super::pieces::Pieces;
use super::run_state::RunState;
use super::schedule;
use super::shard_chunks::ShardChunks;
use super::window::WindowRequest;
use crate::blocks::{BlockKey, Prefetcher, UnitPrefetch};
use crate::dataset::{Receipt, SampleEncoding, ShardId, ShardWriter, WrittenShard};
use crate::plan::Sample;
use crate::voxels::Statistics;

/// A shard on which threads work.
pub(super) struct OpenShard<'r, 'a> {
    run: &'r RunState<'a>,
    id: ShardId,
    samples: &'a [Sample],
    /// Position of its first sample in the split.
    first: usize,
    pub pieces: Pieces,
    chunks: ShardChunks,
    prefetch: Mutex<UnitPrefetch>,
    encoding: SampleEncoding,
    order: InOrder<EncodedPiece>,
    /// What was written. Only the thread that writes pieces locks it. `None` after the last piece.
    written: Mutex<Option<WrittenPieces<'a>>>,
}

/// The pieces of a shard that were written.
struct WrittenPieces<'a> {
    writer: ShardWriter<'a>,
    nonzero: Vec<u64>,
    statistics: Statistics,
}

/// A shard that is cut and written but not published yet, and its receipt.
pub(super) struct PendingShard<'a> {
    id: ShardId,
    shard: WrittenShard<'a>,
    receipt: Receipt,
}

impl PendingShard<'_> {
    /// Flushes the shard to the disk, gives it its name and writes its receipt. Returns the number of bytes written: none if it
    /// would replace a shard that had other bytes.
    pub(super) fn publish(self, run: &RunState<'_>) -> Result<u64, ExtractError> {
        let target = run.target;
        let lost = target.present.digest_of_lost(self.id);
        if lost.is_some_and(|digest| digest != self.shard.blake3) {
            run.refuse(self.id);
            return Ok(0);
        }
        self.shard.publish()?;
        self.receipt.write(target.output, target.layout, self.id)?;
        Ok(self.receipt.bytes)
    }
}

impl<'r, 'a> OpenShard<'r, 'a> {
    /// Opens the `number`th shard of the run.
    pub fn open(
        run: &'r RunState<'a>,
        prefetcher: &Prefetcher<'_>,
        number: usize,
    ) -> Result<Self, ExtractError> {
        let id = run.todo[number];
        let (layout, cutter) = (run.target.layout, &run.cutter);
        let samples = schedule::samples(cutter.plan, layout, id);
        cutter.cache.begin_unit(number as u32);
        let chunks = ShardChunks::of(samples.iter().map(|s| blocks(run, id.array, s)));
        let prefetch = prefetcher.begin_unit(number, chunks.in_order_of_use().to_vec());
        prefetcher.prefetch_next_units(&cutter.cache, |next| {
            let id = *run.todo.get(next)?;
            let samples = schedule::samples(cutter.plan, layout, id).iter();
            Some(samples.map(move |s| blocks(run, id.array, s)))
        });
        let array = &layout.arrays[id.array];
        let written = WrittenPieces {
            writer: ShardWriter::begin(run.target.output, layout, id)?,
            nonzero: Vec::with_capacity(samples.len()),
            statistics: Statistics::new(array.data_type),
        };
        Ok(Self {
            run,
            id,
            samples,
            first: layout.samples(id).start as usize,
            pieces: Pieces::of(layout, id),
            chunks,
            prefetch: Mutex::new(prefetch),
            encoding: SampleEncoding::of(array)?,
            order: InOrder::new(),
            written: Mutex::new(Some(written)),
        })
    }

    /// Cuts and encodes the windows of a piece. `workers` threads work on the shard. `None` where another thread failed
    /// meanwhile.
    pub fn cut_piece(
        &self,
        prefetcher: &Prefetcher<'_>,
        piece: usize,
        workers: usize,
        scratch: &mut PieceScratch,
    ) -> Result<Option<EncodedPiece>, ExtractError> {
        let windows = self.pieces.samples(piece);
        let data_type = self.run.target.layout.arrays[self.id.array].data_type;
        let mut encoded = self.run.spare_pieces.take(data_type);
        for window in windows.clone() {
            if self.run.has_failed() {
                return Ok(None);
            }
            self.prefetch_after(prefetcher, window, workers);
            self.cut_window(window, scratch, &mut encoded)?;
        }
        let cache = &self.run.cutter.cache;
        self.chunks
            .finish(windows.clone(), |key| cache.release(key));
        let done = &self.run.progress.windows_done;
        done.fetch_add(windows.len() as u64, Ordering::Relaxed);
        Ok(Some(encoded))
    }

    /// Writes the piece, or leaves it to the thread that writes the piece before it. Returns how many pieces were written,
    /// and the shard after its last piece.
    pub fn add_piece(
        &self,
        piece: usize,
        encoded: EncodedPiece,
    ) -> Result<(usize, Option<PendingShard<'a>>), ExtractError> {
        let mut complete = None;
        let written = self.order.add(piece, encoded, |encoded| {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(pieces) = written.as_mut() {
                pieces.append(&encoded)?;
                if pieces.nonzero.len() == self.samples.len() {
                    complete = written.take();
                }
            }
            self.run.spare_pieces.keep(encoded);
            Ok::<_, ExtractError>(())
        })?;
        let pending = complete.map(|pieces| self.finish(pieces)).transpose()?;
        Ok((written, pending))
    }

    /// Prefetches what comes after the window.
    fn prefetch_after(&self, prefetcher: &Prefetcher<'_>, window: usize, workers: usize) {
        let mut prefetch = self.prefetch.lock().unwrap_or_else(PoisonError::into_inner);
        if !prefetch.is_complete() {
            let used = self.chunks.used_with(window);
            let cache = &self.run.cutter.cache;
            prefetcher.advance(cache, &mut prefetch, used, workers);
        }
    }

    /// Cuts the window, counts its values, and encodes it.
    fn cut_window(
        &self,
        window: usize,
        scratch: &mut PieceScratch,
        encoded: &mut EncodedPiece,
    ) -> Result<(), ExtractError> {
        let (cutter, array) = (
            &self.run.cutter,
            &self.run.target.layout.arrays[self.id.array],
        );
        let sample = &self.samples[window];
        let objects = &cutter.plan.splits[self.id.split].objects[self.id.array];
        let request = WindowRequest {
            array: self.id.array,
            sample,
            objects: objects.of(self.first + window),
        };
        let has_values = cutter.cut(request, &mut scratch.cut, &mut |key| {
            self.chunks.note_missing(window, key);
        })?;
        let value_bytes = array.data_type.size_bytes();
        let group_fill = cutter
            .sources
            .recipe(self.id.array)
            .fill_value(cutter.plan.group_of(sample));
        // Zeros need not be written to be counted; other fill values are.
        let is_unwritten = !has_values && group_fill.is_zero() && array.fill_value.is_zero();
        if !has_values && !is_unwritten {
            group_fill.fill(value_bytes, &mut scratch.cut.window);
        }
        encoded.add_window(scratch, is_unwritten, array, &self.encoding)?;
        Ok(())
    }

    fn finish(&self, pieces: WrittenPieces<'a>) -> Result<PendingShard<'a>, ExtractError> {
        let shard = pieces.writer.finish()?;
        let receipt = Receipt {
            plan_digest: self.run.target.plan_digest.to_owned(),
            bytes: shard.bytes,
            blake3: shard.blake3.to_string(),
            nonzero: pieces.nonzero,
            statistics: pieces.statistics,
            sources: self.chunks.source_uses(),
        };
        Ok(PendingShard {
            id: self.id,
            shard,
            receipt,
        })
    }
}

impl WrittenPieces<'_> {
    fn append(&mut self, piece: &EncodedPiece) -> Result<(), ExtractError> {
        self.writer.append(&piece.samples)?;
        self.nonzero.extend_from_slice(&piece.nonzero);
        self.statistics.merge(&piece.statistics);
        Ok(())
    }
}

/// The chunks that the window of `sample` in `array` touches.
fn blocks(run: &RunState<'_>, array: usize, sample: &Sample) -> impl Iterator<Item = BlockKey> {
    schedule::blocks(run.cutter.plan, run.cutter.sources, array, sample)
}
