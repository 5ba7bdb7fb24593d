//! How often a server is asked for each chunk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::*;
use crate::extract::{Progress, blocks_of};
use crate::job::RunOptions;
use crate::storage::loopback::{Request, Server, reply, serve};

/// A server of a folder that counts the reads of each chunk, given by layer and name.
struct CountingServer {
    server: Server,
    reads: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl CountingServer {
    fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        let reads = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = Arc::clone(&reads);
        let server = serve(move |_, request: &Request| {
            let mut words = request.first.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            if method == "GET" && path.contains("/8_8_40/") {
                *counted.lock().unwrap().entry(path.to_owned()).or_insert(0) += 1;
            }
            let file = folder.join(path.trim_start_matches('/'));
            let compressed = file.with_added_extension("gz");
            match (fs::read(&file), fs::read(compressed)) {
                (Ok(bytes), _) => reply("200 OK", "", &bytes),
                (_, Ok(bytes)) => reply("200 OK", "Content-Encoding: gzip\r\n", &bytes),
                _ => reply("404 Not Found", "", b""),
            }
        });
        Self { server, reads }
    }

    /// The reads since the last call, of a layer's chunks.
    fn take(&self, layer: &str) -> BTreeMap<String, usize> {
        let mut reads = self.reads.lock().unwrap();
        let (of_layer, others) = std::mem::take(&mut *reads)
            .into_iter()
            .partition(|(path, _)| path.starts_with(&format!("/{layer}/")));
        *reads = others;
        of_layer
    }
}

/// Plans the job of the config with layers that are on the server.
fn remote_job(folder: &Path, server: &CountingServer, config: &Value) -> Job {
    let job = job(folder, |own| {
        let rows = folder.join("collection.json");
        let text = fs::read_to_string(&rows).unwrap();
        fs::write(&rows, text.replace("file://.", &server.server.url)).unwrap();
        *own = with_collection(own, config);
    });
    job.unwrap()
}

/// The config with the collection of another one.
fn with_collection(own: &Value, config: &Value) -> Value {
    let mut config = config.clone();
    config["collection"] = own["collection"].clone();
    config
}

/// The paths on the server of the chunks that windows of the array touch.
fn chunks_of_windows(job: &Job, array: usize) -> BTreeSet<String> {
    let Job { plan, sources, .. } = job;
    let samples = plan.splits.iter().flat_map(|s| &s.samples);
    let chunks = samples.flat_map(|sample| {
        let source = plan.source_of(array, sample);
        let volume = &sources.volumes[source];
        let keys = blocks_of(&sources.volumes, source, &plan.window_of(array, sample));
        keys.map(|key| volume.describe_block(volume.meta().grid.block_from_linear(key.block)))
    });
    let path = |chunk: String| {
        let at = chunk.match_indices('/').rev().nth(2).unwrap().0;
        chunk[at..].trim_end_matches(".gz").to_owned()
    };
    chunks.map(path).collect()
}

fn config(arrays: Value) -> Value {
    json!({
        "resolution": [8, 8, 40],
        "window": [64, 64, 16],
        "points": {"layer": "lines", "anchor": "midpoint"},
        "arrays": arrays,
        "splits": {"train": ["train"], "val": ["val"]},
        "leaks": "warn",
    })
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(work)
}

#[test]
fn a_job_with_two_targets_from_one_segmentation_fetches_each_chunk_twice_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let server = CountingServer::new(dir.path());
    let target = |point: &str| {
        json!({
            "layer": "seg", "min_nonzero_fraction": 0.01,
            "transform": {"object_at": {"point": point, "radius_nm": 40}},
        })
    };
    let arrays = json!({"img": {"layer": "img"}, "pre": target("start"), "post": target("end")});
    let config = config(arrays);
    with_threads(2, || {
        let job = remote_job(dir.path(), &server, &config);
        assert!(job.plan.samples() > 10);
        let (seg, img) = (server.take("seg"), server.take("img"));
        let once = |reads: &BTreeMap<String, usize>| reads.values().all(|n| *n == 1);
        assert!(once(&seg) && once(&img), "{seg:?} {img:?}");
        let selected = job.selected;
        assert_eq!(selected.chunks_touched, (seg.len() + img.len()) as u64);
        assert_eq!(selected.cache.fetched, selected.chunks_touched);
        let expected =
            [(0, "img"), (1, "seg")].map(|(a, layer)| (layer, chunks_of_windows(&job, a)));
        let options = RunOptions {
            memory_bytes: MEMORY_BYTES,
            ..RunOptions::default()
        };
        let out = dir.path().join("out");
        job.run(out.as_path(), options, &Progress::default())
            .unwrap();
        for (layer, chunks) in expected {
            let reads = server.take(layer);
            assert!(once(&reads), "{reads:?}");
            let read: BTreeSet<_> = reads.into_keys().collect();
            assert_eq!(read, chunks);
        }
    });
}

#[test]
fn nothing_more_is_fetched_for_a_sample_that_an_answer_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let server = CountingServer::new(dir.path());
    let own = json!({
        "layer": "seg", "codec": "zstd", "transform": {"object_at": {"point": "anchor"}},
    });
    let img = json!({"layer": "img", "codec": "none"});
    let with_object = config(json!({"img": img, "own": own}));
    let mut bright = with_object.clone();
    bright["arrays"]["img"]["min_nonzero_fraction"] = json!(0.5);
    // The search reads before the window, although its array is the second one.
    let all = chunks_of_windows(
        &remote_job(dir.path(), &server, &config(json!({"img": img}))),
        0,
    );
    assert_eq!(server.take("img"), BTreeMap::new());
    for threads in [1, 2] {
        with_threads(threads, || {
            let wanted = chunks_of_windows(&remote_job(dir.path(), &server, &with_object), 0);
            assert!(server.take("img").is_empty() && !server.take("seg").is_empty());
            assert!(wanted.len() + 10 < all.len(), "few samples were dropped");
            remote_job(dir.path(), &server, &bright);
            let reads = server.take("img");
            assert!(reads.values().all(|n| *n == 1), "{reads:?}");
            assert_eq!(reads.into_keys().collect::<BTreeSet<_>>(), wanted);
        });
    }
}
