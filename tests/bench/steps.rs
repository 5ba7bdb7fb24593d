//! Speed of each step of a job on one core: decode blocks, read blocks and cut windows, encode and write shards.
//!
//! `cargo bench --features bench --bench steps -- [FILTER]`. The data are those of the demo and, if `../shared/data` exists,
//! volumes in many encodings that other tools wrote. Folders that are not volumes are skipped. Rates count decoded values.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use pointshard::Job;
use pointshard::bench::{
    ArrayLayout, BloscName, BloscShuffle, Codec, EncodedBlock, EncodedSamples, LayerConfig, Layout,
    Location, Output, Resolution, SampleEncoder, SampleEncoding, Scalar, ShardId, ShardWriter,
    SourceUrl, Storage, Volume, WindowSize, WrittenShard, claim, map_windows, open_layer, parts,
    resolutions, write_collection,
};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

type Failure = Box<dyn std::error::Error>;

const MEMORY_BYTES: u64 = 1 << 30;

/// The collection of the demo.
static DEMO: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_collection(dir.path()).expect("the demo's collection");
    dir
});

/// Layers to decode by name.
static LAYERS: LazyLock<BTreeMap<String, Arc<dyn Volume>>> = LazyLock::new(|| {
    let mut layers = BTreeMap::new();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/encodings");
    for (folder, of) in [(DEMO.path(), "demo"), (&shared, "shared")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{of}/{}", entry.file_name().to_string_lossy());
            match open(&entry.path()) {
                Ok(volume) => {
                    layers.insert(name, volume);
                }
                // The folders also contain point layers and files.
                Err(e) => eprintln!("skipped {name}: {e}"),
            }
        }
    }
    layers
});

fn open(folder: &Path) -> Result<Arc<dyn Volume>, Failure> {
    let base = Location::folder_of(folder);
    let url = SourceUrl::parse(&format!("file://{}", folder.display()), &base)?;
    // Some arrays do not have a resolution or axis names.
    let bare = LayerConfig {
        resolution: Resolution::new([4.6, 4.6, 45.0]),
        axes: Some("zyx".into()),
        ..LayerConfig::default()
    };
    let open = |layer: &LayerConfig| -> Result<Arc<dyn Volume>, Failure> {
        let storage = &Storage::default();
        let all = resolutions(&url, layer, storage)?;
        let finest = all.first().ok_or("no scale")?;
        Ok(open_layer(&url, finest, layer, storage)?)
    };
    open(&LayerConfig::default()).or_else(|e| open(&bare).map_err(|_| e))
}

fn layers() -> Vec<&'static str> {
    LAYERS.keys().map(String::as_str).collect()
}

/// Decodes all stored blocks of a layer from memory.
#[divan::bench(args = layers())]
fn decode(bencher: Bencher, layer: &str) {
    let volume = &LAYERS[layer];
    let grid = &volume.meta().grid;
    let blocks: Vec<_> = grid.blocks_touching(grid.bounds()).collect();
    let fetch = || {
        let stored = blocks.iter().filter_map(|block| {
            let mut encoded = EncodedBlock::default();
            let stored = volume.fetch(*block, &mut encoded);
            stored.expect("a block").then_some((*block, encoded))
        });
        stored.collect::<Vec<_>>()
    };
    let bytes = fetch()
        .iter()
        .map(|(block, _)| volume.meta().block_bytes(&grid.block_box(*block)))
        .sum::<usize>();
    let mut values = Vec::new();
    bencher
        .counter(BytesCount::new(bytes))
        .with_inputs(fetch)
        .bench_local_values(|mut stored| {
            for (block, encoded) in &mut stored {
                let decoded = volume.decode(*block, encoded, &mut values);
                decoded.expect("a whole block");
            }
            stored
        });
}

/// The job of the demo with another window size and only one layer.
fn job(window: [u32; 3], layer: &str) -> Result<Job, Failure> {
    let path = DEMO.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["window"] = json!(window);
    config["leaks"] = json!("allow");
    config["arrays"] = json!({ layer: { "layer": layer } });
    let path = DEMO.path().join(format!("config_{layer}_{window:?}.json"));
    std::fs::write(&path, config.to_string())?;
    Ok(Job::prepare(&path, MEMORY_BYTES, &Storage::default())?)
}

const WINDOWS: [[u32; 3]; 4] = [[64, 64, 16], [33, 33, 5], [128, 128, 32], [256, 256, 16]];

/// Cuts all windows around the points of the demo. Each needed block is read from the page cache and decoded once.
#[divan::bench(args = WINDOWS)]
fn read_and_cut_image(bencher: Bencher, window: [u32; 3]) {
    read_and_cut(bencher, window, "img");
}

/// As above, with a mask that is mostly empty.
#[divan::bench(args = WINDOWS)]
fn read_and_cut_mask(bencher: Bencher, window: [u32; 3]) {
    read_and_cut(bencher, window, "label0");
}

fn read_and_cut(bencher: Bencher, window: [u32; 3], layer: &str) {
    let job = job(window, layer).expect("a job");
    let (plan, sources, _) = parts(&job);
    let bytes = plan.samples() * window.iter().map(|n| u64::from(*n)).product::<u64>();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.expect("a thread");
    bencher
        .counter(BytesCount::new(bytes))
        .counter(ItemsCount::new(plan.samples()))
        .bench_local(|| {
            let use_window = |window: &[u8]| window.len();
            one.install(|| map_windows(plan, sources, MEMORY_BYTES, 0, use_window))
                .expect("windows")
        });
}

const CODECS: [(&str, Codec); 4] = [
    ("none", Codec::None),
    ("zstd", Codec::Zstd { level: 1 }),
    ("lz4", blosc(BloscName::Lz4)),
    ("blosc", blosc(BloscName::Zstd)),
];

const fn blosc(cname: BloscName) -> Codec {
    Codec::Blosc {
        cname,
        clevel: 1,
        shuffle: BloscShuffle::NoShuffle,
    }
}

fn codecs() -> impl Iterator<Item = &'static str> {
    CODECS.iter().map(|(name, _)| *name)
}

/// Encodes image windows of the demo and writes them to a shard without flushing it. `none` measures only checksums and
/// writing.
#[divan::bench(args = codecs())]
fn encode_and_write_image(bencher: Bencher, codec: &str) {
    encode_and_write(bencher, codec, "img");
}

/// As above, with windows of a mask.
#[divan::bench(args = codecs())]
fn encode_and_write_mask(bencher: Bencher, codec: &str) {
    encode_and_write(bencher, codec, "label0");
}

fn encode_and_write(bencher: Bencher, codec: &str, layer: &str) {
    let shards = Shards::new(codec, layer).expect("windows");
    let mut encoder = SampleEncoder::new().expect("an encoder");
    bencher
        .counter(BytesCount::new(shards.bytes()))
        .bench_local(|| shards.write(&mut encoder).expect("a shard").bytes);
}

/// Flushes a shard to the disk and renames it.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn publish(bencher: Bencher) {
    let shards = Shards::new("none", "img").expect("windows");
    let mut encoder = SampleEncoder::new().expect("an encoder");
    bencher
        .counter(BytesCount::new(shards.bytes()))
        .with_inputs(|| shards.write(&mut encoder).expect("a shard"))
        .bench_local_values(|shard| shard.publish().expect("a disk"));
}

/// Windows, and a folder for their shards.
struct Shards {
    windows: Vec<Vec<u8>>,
    layout: Layout,
    output: Output,
    _folder: tempfile::TempDir,
}

impl Shards {
    fn new(codec: &str, layer: &str) -> Result<Self, Failure> {
        let window = [64, 64, 16];
        let job = job(window, layer)?;
        let (plan, sources, of_job) = parts(&job);
        let use_window = |window: &[u8]| window.to_vec();
        let windows = map_windows(plan, sources, MEMORY_BYTES, 0, use_window)?;
        let windows = windows.concat();
        let (_, codec) = CODECS
            .iter()
            .find(|(name, _)| *name == codec)
            .ok_or("no such codec")?;
        let array = ArrayLayout {
            name: layer.into(),
            data_type: of_job.arrays[0].data_type,
            channels: 1,
            window: WindowSize::new(window).ok_or("no window")?,
            fill_value: Scalar::ZERO,
            codec: (*codec).into(),
        };
        let samples = windows.len() as u64;
        let splits = vec![("train".into(), samples)];
        let layout = Layout::new(of_job.axis_order, splits, vec![array], None);
        // On the disk that datasets are written to, not in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let output = claim(folder.path(), &layout)?;
        Ok(Self {
            windows,
            layout,
            output,
            _folder: folder,
        })
    }

    fn bytes(&self) -> usize {
        self.windows.iter().map(Vec::len).sum()
    }

    fn write(&self, encoder: &mut SampleEncoder) -> Result<WrittenShard<'_>, Failure> {
        let id = ShardId {
            split: 0,
            array: 0,
            shard: 0,
        };
        let mut shard = ShardWriter::begin(&self.output, &self.layout, id)?;
        let encoding = SampleEncoding::of(&self.layout.arrays[0])?;
        let mut encoded = EncodedSamples::default();
        for window in &self.windows {
            let empty = window.iter().all(|v| *v == 0);
            encoded.clear();
            encoded.push((!empty).then_some(window), &encoding, encoder)?;
            shard.append(&encoded)?;
        }
        Ok(shard.finish()?)
    }
}
