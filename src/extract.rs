//! The pipeline from blocks to shards: a plan and its volumes in, finished shard files and receipts out.
//!
//! A shard is the unit of work. Threads take shards in a fixed order, in which neighbours share source chunks;
//! within a shard samples come in the plan's order. Every chunk goes through the block cache, which knows
//! beforehand which shards need it. What a shard holds depends on the plan and the sources alone, not on
//! threads or on what was finished before.

mod cast;
mod codec;
mod convert;
mod converted;
mod cut;
mod needs;
mod no_object;
mod no_scale;
mod padding;
mod probe;
mod read;
mod readahead;
mod refine;
mod resample;
mod schedule;
mod sources;
mod survey;
mod unit;
mod window;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::Builder;

use rayon::prelude::*;

use crate::dataset::{DatasetError, Layout, Output, Receipt, ShardId};
use crate::geometry::Resolution;
use crate::plan::Plan;
use crate::storage::{BASE_BYTES, Together};
use crate::volume::{BlockCache, CacheStats, VolumeError};
use cut::Cutter;

pub(crate) use codec::choose_codecs;
pub use padding::Padding;
pub(crate) use padding::{inside_fraction, require_touched};
pub use probe::ask_windows;
pub(crate) use refine::refine;
pub use sources::Sources;
pub use survey::{SourceSurvey, Survey, survey};

/// How far extraction is; counted while it runs, for whoever looks.
#[derive(Debug, Default)]
pub struct Progress {
    /// Windows (samples times arrays) to cut.
    pub windows_total: AtomicU64,
    /// Windows that are done, those of earlier runs included.
    pub windows_done: AtomicU64,
}

/// What a run of the extraction did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractReport {
    /// Shards that stood already.
    pub shards_kept: u64,
    /// Shards that were made.
    pub shards_made: u64,
    /// Windows that were cut.
    pub windows: u64,
    /// Different source chunks that the windows of the made shards touch.
    pub chunks_touched: u64,
    /// What the block cache did.
    pub cache: CacheStats,
    /// Bytes of the shards that were made.
    pub written_bytes: u64,
}

/// Why shards could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// A layer could not be opened or read.
    #[error("cannot read the layer `{layer}`")]
    Layer {
        /// Its name in the config.
        layer: String,
        /// Why.
        source: VolumeError,
    },
    /// A layer has no scale of the config's resolution.
    #[error("at `{path}` of the config: the layer `{layer}` has no scale of {wanted}: {remedy}")]
    NoScale {
        /// JSON path of the resolution in the config.
        path: String,
        /// Its name in the config.
        layer: String,
        /// That resolution.
        wanted: Resolution,
        /// What to write.
        remedy: String,
        /// Which scales there are.
        source: VolumeError,
    },
    /// The boxes' layers do not fit in one array.
    #[error(
        "the array `{array}` would mix {first} with {second}: use layer groups with layers of one kind, or another collection"
    )]
    MixedTypes {
        /// The array.
        array: String,
        /// A volume, its type and channels.
        first: String,
        /// Another one.
        second: String,
    },
    /// An array's transform does not fit the layer.
    #[error("at `arrays.{array}` of the config: it cannot be made of {volume}: {problem}")]
    Transform {
        /// The array.
        array: String,
        /// The volume, its type and channels.
        volume: String,
        /// What was found and expected.
        problem: String,
    },
    /// A value that the array's type cannot hold.
    #[error(
        "the window of annotation {annotation_id} in the array `{array}`, layer `{layer}`: {problem}: choose another `dtype` or `transform`"
    )]
    Value {
        /// The array.
        array: String,
        /// The sample's annotation.
        annotation_id: u64,
        /// The layer's name in the config.
        layer: String,
        /// The value and the type.
        problem: String,
    },
    /// A chunk is not stored, and the config says that this is an error.
    #[error(
        "the chunk {chunk} of the layer `{layer}` is not stored, and the config has \"missing\": \"error\"; with \"zeros\" it would read as the fill value"
    )]
    MissingChunk {
        /// The layer's name in the config.
        layer: String,
        /// Path or URL of the chunk.
        chunk: String,
    },
    /// No chunk is stored at any point in which an object is looked for.
    #[error(
        "the layer `{layer}`: none of the chunks at the points of {samples} sample(s), where `arrays.{array}.transform.object_at` looks for objects, is stored in {location}, for example {chunk}: the path or the resolution is probably wrong, or the layer is empty there. All of these samples would have been dropped as no_object; correct the layer, keep them with \"missing\": \"keep\", or allow it with `layers.{layer}.empty`: \"allow\""
    )]
    NoChunkAtPoints {
        /// The array.
        array: String,
        /// The layer's name in the config.
        layer: String,
        /// Where the volume lies.
        location: String,
        /// Samples whose object was looked for there.
        samples: u64,
        /// Path or URL of a chunk.
        chunk: String,
    },
    /// The memory limit is too small for the job.
    #[error("--memory {limit} is too little: with {threads} thread(s) this job needs at least {needed}; use fewer --threads, smaller windows or a smaller `radius_nm`, or allow more", limit = bytesize::ByteSize(*limit_bytes), needed = bytesize::ByteSize(*needed_bytes))]
    Memory {
        /// The limit.
        limit_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
        /// Number of threads.
        threads: usize,
    },
    /// The system gave no thread.
    #[error(
        "the system refuses another thread: allow more processes (`ulimit -u`), or use fewer --threads"
    )]
    Thread(#[source] std::io::Error),
    /// The output could not be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl ExtractError {
    /// Whether it follows from a failure elsewhere.
    fn is_stopped(&self) -> bool {
        matches!(self, Self::Layer { source, .. } if source.is_stopped())
    }

    fn opening(plan: &Plan, number: usize, source: VolumeError) -> Self {
        let layer = plan.layer_of_source(number).to_owned();
        match source {
            VolumeError::NoScale {
                wanted,
                ref available,
                ..
            } => Self::NoScale {
                path: plan.resolution_key_of_source(number),
                layer,
                wanted,
                remedy: no_scale::remedy(plan, number, &wanted, available),
                source,
            },
            source => Self::Layer {
                source: source.of_layer(&layer),
                layer,
            },
        }
    }
}

/// What all threads share.
struct Shared<'a> {
    cutter: Cutter<'a>,
    layout: &'a Layout,
    output: &'a Output,
    /// The shards of this run, in the order in which work on them begins.
    todo: &'a [ShardId],
    progress: &'a Progress,
    /// The first failure of a thread: the others stop at the next window.
    failure: OnceLock<ExtractError>,
    /// A failure that only follows from another one.
    stopped: OnceLock<ExtractError>,
    /// Those who wait for servers stop at once.
    together: Together,
}

/// Makes every shard that does not stand yet, with the threads of the current rayon pool.
///
/// Decoded chunks are kept inside what `memory_bytes` leaves beside the threads' own buffers.
pub fn run(
    plan: &Plan,
    sources: &Sources,
    layout: &Layout,
    output: &Output,
    memory_bytes: u64,
    progress: &Progress,
) -> Result<ExtractReport, ExtractError> {
    let budget_bytes = cache_budget(plan, sources, memory_bytes)?;
    let samples = |id: &ShardId| {
        let range = layout.samples(*id);
        range.end - range.start
    };
    let mut todo = Vec::new();
    let mut report = ExtractReport::default();
    for id in schedule::in_order(plan, layout) {
        progress
            .windows_total
            .fetch_add(samples(&id), Ordering::Relaxed);
        match Receipt::find(output, layout, id)? {
            None => todo.push(id),
            Some(_) => {
                report.shards_kept += 1;
                progress
                    .windows_done
                    .fetch_add(samples(&id), Ordering::Relaxed);
            }
        }
    }
    if todo.is_empty() {
        return Ok(report);
    }
    output.unseal()?;
    let uses = schedule::block_uses(plan, sources, layout, &todo);
    report.chunks_touched = uses.blocks() as u64;
    report.shards_made = todo.len() as u64;
    report.windows = todo.iter().map(samples).sum();
    let shared = Shared {
        cutter: Cutter {
            plan,
            sources,
            cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
        },
        layout,
        output,
        todo: &todo,
        progress,
        failure: OnceLock::new(),
        stopped: OnceLock::new(),
        together: Together::default(),
    };
    report.written_bytes = cut_and_publish(&shared, budget_bytes);
    report.cache = shared.cutter.cache.stats();
    let failure = shared.failure.into_inner();
    let failure = failure.or_else(|| shared.cutter.failed_ahead());
    match failure.or(shared.stopped.into_inner()) {
        None => Ok(report),
        Some(e) => Err(e),
    }
}

/// Threads that do nothing but wait for the disk, and shards that may wait for them.
const PUBLISHERS: usize = 2;

/// Makes the shards of the run: bytes written. The threads of the pool cut, others flush and rename, so that
/// no computing waits for the disk.
fn cut_and_publish(shared: &Shared<'_>, budget_bytes: u64) -> u64 {
    let (sender, receiver) = mpsc::sync_channel(PUBLISHERS);
    let receiver = Mutex::new(receiver);
    let publish = || publish_all(shared, &receiver);
    // The sender goes into the scope, so that the publishers come to an end however the cutting does.
    std::thread::scope(move |scope| {
        let publishers = (0..PUBLISHERS).filter_map(|_| {
            let publisher = Builder::new().spawn_scoped(scope, publish);
            shared.note_failure(publisher.map_err(ExtractError::Thread))
        });
        let publishers: Vec<_> = publishers.collect();
        readahead::with(&shared.cutter, budget_bytes, &shared.together, |ahead| {
            // A bridge hands units out one by one, in order, to whichever thread is free.
            let units = shared.todo.iter().enumerate();
            units
                .take_while(|_| !shared.has_failed())
                .par_bridge()
                .for_each_init(unit::Scratch::new, |scratch, (number, id)| {
                    let cut = || unit::cut_shard(shared, ahead, number, *id, scratch.as_mut());
                    let cut = shared.together.run(cut);
                    if let Some(Some(cut)) = shared.note_failure(cut) {
                        let _ = sender.send(cut);
                    }
                });
        });
        drop(sender);
        publishers
            .into_iter()
            .map(|p| {
                p.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .sum()
    })
}

/// Publishes what is cut until no more comes: bytes written. Also after a failure, so that no one waits to send, and
/// what is cut need not be cut again by the next run.
fn publish_all(shared: &Shared<'_>, receiver: &Mutex<mpsc::Receiver<unit::Cut<'_>>>) -> u64 {
    let next = || receiver.lock().ok().and_then(|r| r.recv().ok());
    let mut published = 0;
    while let Some(cut) = next() {
        published += shared.note_failure(cut.publish(shared)).unwrap_or(0);
    }
    published
}

/// Bytes that decoded chunks may take: what is left beside the threads' buffers.
pub(crate) fn cache_budget(
    plan: &Plan,
    sources: &Sources,
    memory_bytes: u64,
) -> Result<u64, ExtractError> {
    let threads = rayon::current_num_threads();
    let sample = sources.window_bytes(plan);
    // Per thread: a window and its encoded form, and what a chunk goes through.
    let of_thread = sample
        .saturating_mul(2)
        .saturating_add(sources.loading_bytes());
    let buffers = of_thread
        .saturating_mul(threads as u64)
        .saturating_add(BASE_BYTES);
    // At the least each thread holds the one chunk that it copies from.
    let needed_bytes = buffers.saturating_add(threads as u64 * sources.block_bytes());
    match memory_bytes.checked_sub(needed_bytes) {
        Some(_) => Ok(memory_bytes - buffers),
        None => Err(ExtractError::Memory {
            limit_bytes: memory_bytes,
            needed_bytes,
            threads,
        }),
    }
}

impl Shared<'_> {
    /// Whether a thread failed, so that the others stop.
    fn has_failed(&self) -> bool {
        self.failure.get().is_some() || self.together.is_stopped()
    }

    /// Tells the other threads to stop where `result` is an error. The first is the one that is told: later ones may
    /// follow from it.
    fn note_failure<T>(&self, result: Result<T, ExtractError>) -> Option<T> {
        let noted = result.map_err(|e| match e.is_stopped() {
            true => self.stopped.set(e),
            false => self.failure.set(e),
        });
        noted.inspect_err(|_| self.together.stop()).ok()
    }
}

#[cfg(test)]
mod tests;
