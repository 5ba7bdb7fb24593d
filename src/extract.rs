//! The pipeline from blocks to shards: a plan and its volumes in, finished shard files and receipts out.
//!
//! A shard is the unit of work. Threads take shards in a fixed order, in which neighbours share source chunks;
//! within a shard samples come in the plan's order. Every chunk goes through the block cache, which knows
//! beforehand which shards need it. What a shard holds depends on the plan and the sources alone, not on
//! threads or on what was finished before.

mod cast;
mod convert;
mod readahead;
mod resample;
mod schedule;
mod unit;
mod window;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use rayon::prelude::*;

use crate::config::Missing;
use crate::dataset::{ArrayLayout, DatasetError, Layout, Output, Receipt, ShardId};
use crate::plan::{Plan, VolumeSource};
use crate::volume::{self, BlockCache, CacheStats, Volume, VolumeError};
use readahead::{Queue, ReadAhead};

/// The volumes of a plan, opened, and the layout of what is cut out of them.
#[derive(Clone, Debug)]
pub struct Sources {
    /// One volume per [`Plan::sources`].
    pub volumes: Vec<Arc<dyn Volume>>,
    /// Splits, arrays and shards of the output.
    pub layout: Layout,
}

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
    #[error("at `resolution` of the config: the layer `{layer}` does not have it: {source}")]
    NoScale {
        /// Its name in the config.
        layer: String,
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
    /// The memory limit is too small for the job.
    #[error("--memory {limit} is too little: with {threads} thread(s) this job needs at least {needed}; use fewer --threads or smaller windows, or allow more", limit = bytesize::ByteSize(*limit_bytes), needed = bytesize::ByteSize(*needed_bytes))]
    Memory {
        /// The limit.
        limit_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
        /// Number of threads.
        threads: usize,
    },
    /// The output could not be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl ExtractError {
    fn opening(layer: &str, source: VolumeError) -> Self {
        let layer = layer.to_owned();
        match source {
            VolumeError::NoScale { .. } => Self::NoScale { layer, source },
            source => Self::Layer { layer, source },
        }
    }
}

impl Sources {
    /// Opens every volume of the plan at its resolution, and lays out the output.
    pub fn open(plan: &Plan) -> Result<Self, ExtractError> {
        let open = |(i, source): (usize, &VolumeSource)| {
            volume::open_layer(&source.url, &plan.config.resolution, &source.layer)
                .map_err(|e| ExtractError::opening(plan.layer_of_source(i), e))
        };
        let volumes = plan
            .sources
            .par_iter()
            .enumerate()
            .map(open)
            .collect::<Result<Vec<_>, _>>()?;
        let arrays = (0..plan.arrays.len())
            .map(|a| array_layout(plan, a, &volumes))
            .collect::<Result<Vec<_>, _>>()?;
        let splits = plan
            .splits
            .iter()
            .map(|s| (s.name.clone(), s.samples.len() as u64));
        let layout = Layout::new(
            plan.config.window,
            splits.collect(),
            arrays,
            plan.config.shard_samples,
        );
        Ok(Self { volumes, layout })
    }

    /// Digest of the plan and of what its sources say about themselves.
    pub fn digest(&self, plan: &Plan) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(plan.digest().as_bytes());
        for volume in &self.volumes {
            hasher.update(volume.digest().as_bytes());
        }
        hasher.finalize()
    }
}

/// What all threads share.
struct Shared<'a> {
    plan: &'a Plan,
    sources: &'a Sources,
    output: &'a Output,
    cache: BlockCache<'a>,
    /// The shards of this run, in the order in which work on them begins.
    todo: &'a [ShardId],
    progress: &'a Progress,
    /// Set when a thread failed: the others stop at the next window.
    stop: AtomicBool,
}

/// Memory of the program itself, buffers of the standard library and of the file system included.
const BASE_BYTES: u64 = 48 << 20;

/// Makes every shard that does not stand yet, with the threads of the current rayon pool.
///
/// Decoded chunks are kept inside what `memory_bytes` leaves beside the threads' own buffers.
pub fn run(
    plan: &Plan,
    sources: &Sources,
    output: &Output,
    memory_bytes: u64,
    progress: &Progress,
) -> Result<ExtractReport, ExtractError> {
    let layout = &sources.layout;
    let budget_bytes = cache_budget(sources, memory_bytes)?;
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
    let uses = schedule::block_uses(plan, sources, &todo);
    report.chunks_touched = uses.blocks() as u64;
    report.shards_made = todo.len() as u64;
    report.windows = todo.iter().map(samples).sum();
    let shared = Shared {
        plan,
        sources,
        output,
        cache: BlockCache::new(&sources.volumes, uses, budget_bytes),
        todo: &todo,
        progress,
        stop: AtomicBool::new(false),
    };
    report.written_bytes = cut_and_publish(&shared, budget_bytes)?;
    report.cache = shared.cache.stats();
    Ok(report)
}

/// Threads that do nothing but wait for the disk, and shards that may wait for them.
const PUBLISHERS: usize = 2;

/// Makes the shards of the run: bytes written. The threads of the pool cut, others flush and rename, so that
/// no computing waits for the disk.
fn cut_and_publish(shared: &Shared<'_>, budget_bytes: u64) -> Result<u64, ExtractError> {
    let (sender, receiver) = mpsc::sync_channel(PUBLISHERS);
    let receiver = Mutex::new(receiver);
    let publish = || publish_all(shared, &receiver);
    let queue = Queue::default();
    let queue = &queue;
    // The sender goes into the scope, so that the publishers come to an end however the cutting does.
    std::thread::scope(move |scope| {
        let publishers: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publish)).collect();
        let far = shared.sources.volumes.iter().any(|v| v.is_far());
        let ahead = match far {
            true => {
                let block_bytes = largest_block_bytes(shared.sources);
                ReadAhead::start(scope, &shared.cache, queue, block_bytes, budget_bytes / 4)
            }
            false => ReadAhead::none(),
        };
        // A bridge hands units out one by one, in order, to whichever thread is free.
        let cuts = shared
            .todo
            .iter()
            .enumerate()
            .par_bridge()
            .map_init(unit::Scratch::new, |scratch, (number, id)| {
                let cut = unit::cut_shard(shared, &ahead, number, *id, scratch.as_mut());
                if let Some(cut) = shared.stop_if_failed(cut)? {
                    let _ = sender.send(cut);
                }
                Ok(())
            })
            .collect::<Result<(), ExtractError>>();
        drop((sender, ahead));
        let published = publishers
            .into_iter()
            .map(|p| {
                p.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .sum();
        cuts.and(published)
    })
}

/// Publishes what is cut until no more comes. After a failure it goes on to receive, so that no one waits to
/// send, but publishes nothing.
fn publish_all(
    shared: &Shared<'_>,
    receiver: &Mutex<mpsc::Receiver<unit::Cut<'_>>>,
) -> Result<u64, ExtractError> {
    let next = || receiver.lock().ok().and_then(|r| r.recv().ok());
    let mut published = Ok(0);
    while let Some(cut) = next() {
        if let Ok(bytes) = published {
            published = shared
                .stop_if_failed(cut.publish(shared))
                .map(|more| bytes + more);
        }
    }
    published
}

/// Bytes of the largest decoded chunk.
fn largest_block_bytes(sources: &Sources) -> u64 {
    let first =
        |v: &Arc<dyn Volume>| v.meta().block_bytes(&v.meta().grid.block_box([0, 0, 0])) as u64;
    sources.volumes.iter().map(first).max().unwrap_or(0)
}

/// Bytes that decoded chunks may take: what is left beside the threads' buffers.
fn cache_budget(sources: &Sources, memory_bytes: u64) -> Result<u64, ExtractError> {
    let threads = rayon::current_num_threads();
    let layout = &sources.layout;
    let sample = (0..layout.arrays.len())
        .map(|a| layout.sample_bytes(a))
        .max()
        .unwrap_or(0);
    let block = largest_block_bytes(sources);
    // Per thread: a window and its encoded form, and a chunk as stored and inflated.
    let buffers = BASE_BYTES + threads as u64 * (2 * sample + 2 * block);
    // At the least each thread holds the one chunk that it copies from.
    let needed_bytes = buffers + threads as u64 * block;
    match memory_bytes.checked_sub(needed_bytes) {
        Some(_) => Ok(memory_bytes - buffers),
        None => Err(ExtractError::Memory {
            limit_bytes: memory_bytes,
            needed_bytes,
            threads,
        }),
    }
}

fn array_layout(
    plan: &Plan,
    array: usize,
    volumes: &[Arc<dyn Volume>],
) -> Result<ArrayLayout, ExtractError> {
    let planned = &plan.arrays[array];
    let mut of_groups = planned.source_of_group.iter().map(|s| &volumes[*s]);
    let Some(first) = of_groups.next() else {
        unreachable!("a plan has at least one layer group")
    };
    for other in of_groups {
        let (a, b) = (first.meta(), other.meta());
        if (a.data_type, a.channels) != (b.data_type, b.channels) {
            return Err(ExtractError::MixedTypes {
                array: planned.name.clone(),
                first: kind_of(first.as_ref()),
                second: kind_of(other.as_ref()),
            });
        }
    }
    Ok(ArrayLayout {
        name: planned.name.clone(),
        data_type: first.meta().data_type,
        channels: first.meta().channels,
    })
}

/// The volume for messages: where it lies and what it holds.
fn kind_of(volume: &dyn Volume) -> String {
    let meta = volume.meta();
    let (data_type, channels) = (meta.data_type, meta.channels);
    format!("{} ({data_type}, {channels} channel(s))", volume.describe())
}

impl Shared<'_> {
    /// Tells the other threads to stop where `result` is an error.
    fn stop_if_failed<T>(&self, result: Result<T, ExtractError>) -> Result<T, ExtractError> {
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn missing_chunk(&self, source: usize, block: volume::BlockIndex) -> Result<(), ExtractError> {
        match self.plan.config.missing {
            Missing::Zeros => Ok(()),
            Missing::Error => Err(ExtractError::MissingChunk {
                layer: self.plan.layer_of_source(source).to_owned(),
                chunk: self.sources.volumes[source].describe_block(block),
            }),
        }
    }
}
