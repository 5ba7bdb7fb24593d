//! Tests with shards in a local folder.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::neuroglancer::minishard;
use crate::neuroglancer::testing::{gzip, write_shards as write};
use crate::storage::{ListedObject, LocalStore, OpenObject, StorageError};

fn sharding(preshift: u32, hash: &str, minishard: u32, shard: u32) -> Value {
    json!({
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": preshift, "hash": hash,
        "minishard_bits": minishard, "shard_bits": shard,
    })
}

fn open(folder: &Path, sharding: &Value) -> Shards {
    let store = Arc::new(LocalStore::new(folder.to_owned()));
    Shards::new(store, ShardingSpec::parse(sharding).unwrap())
}

fn read(shards: &Shards, id: u64) -> Result<Option<Vec<u8>>, ShardError> {
    let (mut bytes, mut out) = (vec![9; 3], Vec::new());
    if !shards.read(id, 1 << 20, &mut bytes)? {
        assert!(bytes.is_empty());
        return Ok(None);
    }
    shards
        .data_encoding()
        .undo(&mut bytes, 1 << 20, &mut out)
        .unwrap();
    Ok(Some(out))
}

/// The message with its causes.
fn message(e: ShardError) -> String {
    format!("{:#}", anyhow::Error::from(e))
}

fn three_chunks() -> BTreeMap<u64, Vec<u8>> {
    [(0, vec![1; 5]), (7, vec![2; 50]), (u64::MAX, vec![])].into()
}

#[test]
fn the_legacy_pair_of_index_and_data_files_is_read_like_a_shard_file() {
    let dir = tempfile::tempdir().unwrap();
    let sharding = sharding(0, "identity", 2, 0);
    write(dir.path(), &sharding, &three_chunks(), true);
    let shards = open(dir.path(), &sharding);
    for (id, bytes) in three_chunks() {
        assert_eq!(read(&shards, id).unwrap(), Some(bytes));
    }
    std::fs::remove_file(dir.path().join("0.data")).unwrap();
    let e = message(read(&open(dir.path(), &sharding), 7).unwrap_err());
    assert!(e.contains("0.data") && e.contains("does not exist"), "{e}");
}

#[test]
fn a_missing_shard_file_and_a_minishard_of_0_bytes_are_empty() {
    let dir = tempfile::tempdir().unwrap();
    let sharding = sharding(0, "identity", 2, 2);
    write(dir.path(), &sharding, &[(0, vec![1])].into(), false);
    let shards = open(dir.path(), &sharding);
    assert_eq!(read(&shards, 0).unwrap(), Some(vec![1]));
    assert_eq!(read(&shards, 1).unwrap(), None, "start == end");
    assert_eq!(read(&shards, 16).unwrap(), None, "not in the index");
    assert_eq!(read(&shards, 4).unwrap(), None, "no file 1.shard");
}

#[test]
fn a_shard_file_shorter_than_its_index_is_an_error_with_both_lengths() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("0.shard"), [0; 27]).unwrap();
    let e = message(read(&open(dir.path(), &sharding(0, "identity", 1, 0)), 0).unwrap_err());
    assert!(
        e.contains("0.shard has 27 bytes") && e.contains("so expected 32"),
        "{e}"
    );
}

#[test]
fn a_truncated_shard_file_is_an_error_or_its_chunk_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let sharding = sharding(0, "identity", 1, 0);
    write(dir.path(), &sharding, &three_chunks(), false);
    let path = dir.path().join("0.shard");
    let whole = std::fs::read(&path).unwrap();
    for n in 0..whole.len() {
        std::fs::write(&path, &whole[..n]).unwrap();
        let shards = open(dir.path(), &sharding);
        for (id, bytes) in three_chunks() {
            match read(&shards, id) {
                Ok(found) => assert_eq!(found, Some(bytes), "cut to {n} bytes"),
                Err(e) => assert!(message(e).contains("0.shard")),
            }
        }
    }
}

#[test]
fn offsets_beyond_64_bits_and_sizes_over_the_limit_are_errors_without_an_allocation() {
    let dir = tempfile::tempdir().unwrap();
    let spec = sharding(0, "identity", 0, 0);
    for (start, end, word) in [
        (u64::MAX - 20, u64::MAX - 10, "64 bits"),
        (10, 4, "expected at most"),
        (0, 1 << 60, "expected at most"),
        (0, 1 << 20, "truncated"),
    ] {
        let entry = [start.to_le_bytes(), end.to_le_bytes()].concat();
        std::fs::write(dir.path().join("0.shard"), entry).unwrap();
        let e = message(read(&open(dir.path(), &spec), 0).unwrap_err());
        assert!(
            e.contains("0.shard") && e.contains(word),
            "{start} {end}: {e}"
        );
    }
    for (chunk, word) in [
        ((3, u64::MAX - 30, 20), "64 bits"),
        ((3, 0, 1 << 62), "at most 1048576"),
        ((3, 0, 1 << 19), "truncated"),
    ] {
        let index = minishard::encode(&[chunk]);
        let entry = [0u64.to_le_bytes(), 24u64.to_le_bytes()].concat();
        std::fs::write(dir.path().join("0.shard"), [entry, index].concat()).unwrap();
        let e = message(read(&open(dir.path(), &spec), 3).unwrap_err());
        assert!(e.contains("0.shard") && e.contains(word), "{chunk:?}: {e}");
    }
}

#[test]
fn wrong_offsets_with_a_gzip_minishard_index_are_an_error_that_names_the_likely_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut sharding = sharding(0, "identity", 0, 0);
    sharding["minishard_index_encoding"] = json!("gzip");
    // zetta_utils computes offsets as if the index, which comes first, were not compressed.
    let n = 100u64;
    let raw_bytes = 24 * n;
    let chunks: Vec<_> = (0..n).map(|i| (i, raw_bytes + 10 * i, 10)).collect();
    let index = gzip(&minishard::encode(&chunks));
    let entry = [0u64.to_le_bytes(), (index.len() as u64).to_le_bytes()].concat();
    let data = vec![5; 10 * n as usize];
    std::fs::write(dir.path().join("0.shard"), [entry, index, data].concat()).unwrap();
    let e = message(read(&open(dir.path(), &sharding), n - 1).unwrap_err());
    assert!(e.contains("zetta_utils") && e.contains("0.shard"), "{e}");
}

#[test]
fn an_error_in_an_index_names_its_minishard_on_every_read() {
    let dir = tempfile::tempdir().unwrap();
    let sharding = sharding(0, "identity", 0, 0);
    let index = minishard::encode(&[(3, 0, 1), (3, 1, 1)]);
    let entry = [0u64.to_le_bytes(), 48u64.to_le_bytes()].concat();
    std::fs::write(dir.path().join("0.shard"), [entry, index].concat()).unwrap();
    let shards = open(dir.path(), &sharding);
    for _ in 0..2 {
        let e = message(read(&shards, 3).unwrap_err());
        assert!(
            e.contains("minishard 0 of") && e.contains("chunk 3 twice"),
            "{e}"
        );
    }
}

/// Counts and delays reads.
#[derive(Debug)]
struct Counting(LocalStore, AtomicUsize);

impl Store for Counting {
    fn read(&self, key: &str, limit_bytes: u64, into: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.0.read(key, limit_bytes, into)
    }

    fn read_range(
        &self,
        key: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<bool, StorageError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(std::time::Duration::from_millis(2));
        self.0.read_range(key, range, into)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        self.0.size(key)
    }

    fn open_object(&self, key: &str) -> Result<Option<Box<dyn OpenObject>>, StorageError> {
        self.0.open_object(key)
    }

    fn list(
        &self,
        folder: &str,
        each: &mut dyn FnMut(ListedObject) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.0.list(folder, each)
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn describe(&self, key: &str) -> String {
        self.0.describe(key)
    }
}

#[test]
fn an_index_is_read_once_by_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let sharding = sharding(0, "murmurhash3_x86_128", 1, 0);
    let chunks: BTreeMap<u64, Vec<u8>> = (0..40).map(|id| (id, vec![id as u8; 30])).collect();
    write(dir.path(), &sharding, &chunks, false);
    let store = Arc::new(Counting(
        LocalStore::new(dir.path().to_owned()),
        AtomicUsize::new(0),
    ));
    let spec = ShardingSpec::parse(&sharding).unwrap();
    let shards = Shards::new(Arc::clone(&store) as Arc<dyn Store>, spec);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (id, bytes) in &chunks {
                    assert_eq!(read(&shards, *id).unwrap().as_ref(), Some(bytes));
                }
            });
        }
    });
    // One page of the shard index, two minishard indexes, and each chunk once per thread.
    assert_eq!(store.1.load(Ordering::Relaxed), 1 + 2 + 8 * 40);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn written_chunks_are_read_for_any_bits_and_encodings(
        chunks in prop::collection::btree_map(
            prop_oneof![0u64..64, any::<u64>()], prop::collection::vec(any::<u8>(), 0..60), 0..30,
        ),
        preshift in prop::sample::select(vec![0u32, 1, 9, 63, 64]), murmur: bool,
        minishard in 0u32..6, shard in prop::sample::select(vec![0u32, 1, 4, 5, 58]),
        index_gzip: bool, data_gzip: bool, legacy: bool, others in prop::collection::vec(0u64..64, 5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let hash = if murmur { "murmurhash3_x86_128" } else { "identity" };
        let mut sharding = sharding(preshift, hash, minishard, shard);
        if index_gzip { sharding["minishard_index_encoding"] = json!("gzip"); }
        if data_gzip { sharding["data_encoding"] = json!("gzip"); }
        write(dir.path(), &sharding, &chunks, legacy);
        let shards = open(dir.path(), &sharding);
        for id in chunks.keys().copied().chain(others) {
            prop_assert_eq!(read(&shards, id).unwrap(), chunks.get(&id).cloned());
        }
    }
}

#[test]
fn an_unreadable_index_is_requested_once_and_is_an_error_for_every_thread() {
    let dir = tempfile::tempdir().unwrap();
    let sharding = sharding(0, "identity", 2, 0);
    write(dir.path(), &sharding, &three_chunks(), false);
    std::fs::write(dir.path().join("0.shard"), [0; 20]).unwrap();
    let store = Arc::new(Counting(
        LocalStore::new(dir.path().to_owned()),
        AtomicUsize::new(0),
    ));
    let spec = ShardingSpec::parse(&sharding).unwrap();
    let shards = Shards::new(Arc::clone(&store) as Arc<dyn Store>, spec);
    std::thread::scope(|scope| {
        for id in [0, 7, u64::MAX] {
            let shards = &shards;
            scope.spawn(move || {
                let e = message(read(shards, id).unwrap_err());
                assert!(e.contains("0.shard") && e.contains("20 bytes"), "{e}");
            });
        }
    });
    assert_eq!(store.1.load(Ordering::Relaxed), 1);
}
