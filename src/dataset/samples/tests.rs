use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;
use serde_json::json;
use zarrs::array::ArrayBuilder;
use zarrs::array::codec::{Crc32cCodec, GzipCodec};
use zarrs::filesystem::FilesystemStore;

use super::*;
use crate::dataset::codec::tests::ALL;
use crate::dataset::testing::{TestArray, write};
use crate::dataset::{Codec, Dataset};
use crate::extract::Progress;
use crate::job::{Job, RunOptions};
use crate::storage::loopback::{Server, cut, network, reply, serve};
use crate::storage::{Location, Storage};

/// Compares every sample of every array with what zarrs reads. Returns the number of samples.
fn compare_with_zarrs(dataset: &Dataset) -> u64 {
    let mut windows = 0;
    let mut decoder = SampleDecoder::new().unwrap();
    let manifest = dataset.manifest();
    for split in manifest.splits.keys() {
        let opened = dataset.split(split).unwrap();
        let files = Arc::new(ShardFiles::default());
        for (name, entry) in &manifest.arrays {
            let slow = opened.samples(name).unwrap();
            let fast = opened.reader(name, &files).unwrap();
            let [x, y, z] = entry.window_voxels.map(|n| n as usize);
            assert_eq!(fast.shape()[1..], [z, y, x]);
            let expected = match entry.codec.unwrap().codec {
                Codec::None => InnerCodec::None,
                Codec::Zstd { .. } => InnerCodec::Zstd,
                Codec::Blosc { .. } => InnerCodec::Other,
            };
            assert_eq!(fast.codec, expected);
            for i in 0..fast.samples() {
                let mut expected = slow.read(i).unwrap();
                if fast.axis_order == AxisOrder::Cxyz {
                    let stored = std::mem::take(&mut expected);
                    expected.resize(stored.len(), 0);
                    transpose(
                        fast.shape(),
                        fast.data_type().size_bytes(),
                        &stored,
                        &mut expected,
                    );
                }
                assert!(
                    fast.read(i, &mut decoder).unwrap() == expected,
                    "{name} {i}"
                );
                let mut direct = vec![7; expected.len()];
                fast.read_into(i, &mut decoder, &mut direct).unwrap();
                assert!(direct == expected, "{name} {i}");
                windows += 1;
            }
        }
    }
    windows
}

fn array(name: &'static str, data_type: DataType, window: [u32; 3], samples: u8) -> TestArray {
    let bytes = window.iter().product::<u32>() as usize * data_type.size_bytes();
    TestArray {
        name,
        data_type,
        channels: 1,
        window,
        fill_value: Scalar::ZERO,
        codec: Codec::default(),
        samples: (0..samples)
            .map(|i| Some(noise(u64::from(i), bytes)))
            .collect(),
    }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut values = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut values);
    values
}

fn demo(dir: &Path, axis_order: &str) -> Dataset {
    let demo = crate::demo::testing::write_collection(&dir.join("source"));
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&demo).unwrap()).unwrap();
    config["axis_order"] = json!(axis_order);
    config["shard_samples"] = json!(5);
    config["arrays"]["cell"] = json!({"layer": "seg", "window": [32, 24, 8]});
    std::fs::write(&demo, config.to_string()).unwrap();
    let options = RunOptions {
        memory_bytes: 1 << 30,
        ..RunOptions::default()
    };
    let job = Job::prepare(&demo, 1 << 30, &Storage::default()).unwrap();
    job.run(dir.join("out"), options, &Progress::default())
        .unwrap();
    Dataset::open(dir.join("out"), &Storage::default()).unwrap()
}

#[test]
fn every_sample_of_the_demo_is_equal_to_what_zarrs_reads() {
    for order in ["czyx", "cxyz"] {
        let dir = tempfile::tempdir().unwrap();
        assert!(compare_with_zarrs(&demo(dir.path(), order)) > 100);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(90))]
    #[test]
    fn samples_of_every_kind_are_equal_to_what_zarrs_reads(
        data_type in prop::sample::select(DataType::ALL.to_vec()), channels in 1u32..3,
        window in prop::array::uniform3(1u32..7), fill in 0u8..2, shard_samples in 1u32..5, cxyz: bool,
        codec in prop::sample::select(ALL.to_vec()), empty in prop::collection::vec(any::<bool>(), 1..9),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let order = if cxyz { AxisOrder::Cxyz } else { AxisOrder::Czyx };
        let bytes = (channels * window.iter().product::<u32>()) as usize * data_type.size_bytes();
        let sample = |(i, empty): (usize, &bool)| (!empty).then(|| noise(i as u64, bytes));
        let a = TestArray {
            channels,
            codec,
            fill_value: Scalar::from_le_bytes(&[fill]).unwrap(),
            samples: empty.iter().enumerate().map(sample).collect(),
            ..array("a", data_type, window, 0)
        };
        let dataset = write(dir.path(), order, &[a], shard_samples);
        prop_assert_eq!(compare_with_zarrs(&dataset), empty.len() as u64);
    }
}

#[test]
fn every_flipped_bit_of_a_sample_is_an_error_that_names_it() {
    for codec in ALL {
        let dir = tempfile::tempdir().unwrap();
        let a = TestArray {
            codec,
            ..array("a", DataType::UInt8, [2, 2, 2], 4)
        };
        let dataset = write(dir.path(), AxisOrder::Czyx, &[a], 2);
        let path = dir.path().join("train.zarr/a/c.1.0.0.0.0");
        let good = std::fs::read(&path).unwrap();
        let mut decoder = SampleDecoder::new().unwrap();
        let split = dataset.split("train").unwrap();
        let read = |i, decoder: &mut _| {
            let reader = split.reader("a", &Arc::default()).unwrap();
            reader.read(i, decoder).map(<[u8]>::to_vec)
        };
        let index = good.len() - 2 * 16 - 4;
        let [n, first_of_3] = [8, 0].map(|at| {
            let word = good[index + at..].first_chunk::<8>().unwrap();
            u64::from_le_bytes(*word) as usize
        });
        assert_eq!(first_of_3, 0);
        for byte in 0..n {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                std::fs::write(&path, bad).unwrap();
                let message = read(2, &mut decoder).unwrap_err().to_string();
                assert_eq!(message, "train.zarr/a sample 2: its CRC-32C is wrong");
                assert!(split.samples("a").unwrap().read(2).is_err(), "{codec:?}");
                assert_eq!(read(3, &mut decoder).unwrap(), noise(3, 8));
            }
        }
        std::fs::remove_file(&path).unwrap();
        let message = read(2, &mut decoder).unwrap_err().to_string();
        assert!(message.contains("c.1.0.0.0.0"), "{message}");
        let message = read(4, &mut decoder).unwrap_err().to_string();
        assert_eq!(message, "train.zarr/a sample 4: there are 4 samples");
    }
}

#[test]
fn values_of_another_size_than_the_sample_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let a = TestArray {
        codec: Codec::None,
        ..array("a", DataType::UInt8, [2, 2, 2], 1)
    };
    let dataset = write(dir.path(), AxisOrder::Czyx, &[a], 1);
    let split = dataset.split("train").unwrap();
    let path = dir.path().join("train.zarr/a/c.0.0.0.0.0");
    for bytes in [0u64, 7, 9] {
        // A shard with correct checksums.
        let mut shard = noise(1, bytes as usize);
        shard.extend(crc32c::crc32c(&shard).to_le_bytes());
        let index: Vec<u8> = [0, bytes + 4]
            .iter()
            .flat_map(|n: &u64| n.to_le_bytes())
            .collect();
        shard.extend(&index);
        shard.extend(crc32c::crc32c(&index).to_le_bytes());
        std::fs::write(&path, shard).unwrap();
        let reader = split.reader("a", &Arc::default()).unwrap();
        let error = reader
            .read(0, &mut SampleDecoder::new().unwrap())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "train.zarr/a sample 0: its inner chunk has {} bytes, expected 12",
                bytes + 4
            )
        );
        assert!(split.samples("a").unwrap().read(0).is_err());
    }
}

#[test]
fn a_frame_of_another_size_than_the_sample_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = write(
        dir.path(),
        AxisOrder::Czyx,
        &[array("a", DataType::UInt8, [2, 2, 2], 1)],
        1,
    );
    let split = dataset.split("train").unwrap();
    let reader = split.reader("a", &Arc::default()).unwrap();
    for (bytes, problem) in [(7, "it has 7 bytes, expected 8"), (9, "zstd: ")] {
        let mut chunk = zstd::bulk::compress(&noise(1, bytes), 1).unwrap();
        chunk.extend(crc32c::crc32c(&chunk).to_le_bytes());
        let mut zstd = zstd::bulk::Decompressor::new().unwrap();
        let error = reader
            .decode_zstd(0, &chunk, &mut zstd, &mut [0; 8])
            .unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn a_buffer_of_another_size_than_the_sample_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let a = array("a", DataType::UInt8, [2, 2, 2], 1);
    let dataset = write(dir.path(), AxisOrder::Czyx, &[a], 1);
    let split = dataset.split("train").unwrap();
    let reader = split.reader("a", &Arc::default()).unwrap();
    let mut decoder = SampleDecoder::new().unwrap();
    for n in [0, 7, 9] {
        let error = reader.read_into(0, &mut decoder, &mut vec![0; n]);
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("train.zarr/a sample 0: it has 8 bytes, but the buffer has {n}")
        );
    }
}

/// A server of the files below `folder`. It first answers 503 for each object, and sends every third response cut.
fn flaky_server(folder: &Path) -> Server {
    let folder = folder.to_owned();
    let seen = Mutex::new(HashSet::new());
    serve(move |n, request| {
        let mut parts = request.first.split(' ');
        let (method, path) = (parts.next().unwrap(), parts.next().unwrap().to_owned());
        let Ok(bytes) = std::fs::read(folder.join(&path[1..])) else {
            return reply("404 Not Found", "", b"");
        };
        if seen.lock().unwrap().insert(path) {
            return reply("503 Service Unavailable", "", b"");
        }
        if method == "HEAD" {
            return cut(reply("200 OK", "", &bytes), bytes.len());
        }
        let range = request
            .range()
            .and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
        let response = match range {
            None => reply("200 OK", "", &bytes),
            Some((start, last)) => {
                let (start, end) = (start.parse().unwrap(), last.parse::<usize>().unwrap() + 1);
                let header = format!("Content-Range: bytes {start}-{last}/{}\r\n", bytes.len());
                reply("206 Partial Content", &header, &bytes[start..end])
            }
        };
        if n % 3 == 0 {
            cut(response, 1)
        } else {
            response
        }
    })
}

#[test]
fn samples_on_a_server_that_fails_from_time_to_time_are_equal_to_local_ones() {
    let dir = tempfile::tempdir().unwrap();
    let arrays = ALL
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    let arrays: Vec<_> = arrays
        .map(|(codec, name)| TestArray {
            codec: *codec,
            ..array(name, DataType::UInt16, [3, 2, 2], 4)
        })
        .collect();
    let local = write(dir.path(), AxisOrder::Cxyz, &arrays, 2);
    let server = flaky_server(dir.path());
    let location = Location::parse(&server.url).unwrap();
    let remote = Dataset::open(location, &Storage::new(network())).unwrap();
    assert_eq!(remote.manifest(), local.manifest());
    assert_eq!(compare_with_zarrs(&remote), 4 * arrays.len() as u64);
    let read = |dataset: &Dataset, name| {
        let array = dataset.split("train").unwrap().samples(name).unwrap();
        array.read(3).unwrap()
    };
    for a in &arrays {
        assert_eq!(read(&remote, a.name), read(&local, a.name));
    }
}

#[test]
fn many_shards_are_read_with_few_files_open() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = write(
        dir.path(),
        AxisOrder::Czyx,
        &[array("a", DataType::UInt16, [2, 1, 1], 200)],
        1,
    );
    let files = Arc::new(ShardFiles::new(8));
    let reader = dataset.split("train").unwrap().reader("a", &files).unwrap();
    let mut decoder = SampleDecoder::new().unwrap();
    for i in (0..200).chain((0..200).rev()) {
        assert_eq!(reader.read(i, &mut decoder).unwrap(), noise(i, 4));
        assert!(files.len() <= 8, "{}", files.len());
    }
}

#[test]
fn zarrs_decodes_codecs_that_the_fast_reader_does_not_know() {
    for order in [AxisOrder::Czyx, AxisOrder::Cxyz] {
        let dir = tempfile::tempdir().unwrap();
        let a = array("a", DataType::UInt16, [3, 4, 5], 4);
        let dataset = write(dir.path(), order, &[a], 2);
        let shape = |first: u64| match order {
            AxisOrder::Czyx => vec![first, 1, 5, 4, 3],
            AxisOrder::Cxyz => vec![first, 1, 3, 4, 5],
        };
        let dimensions = match order {
            AxisOrder::Czyx => ["sample", "channel", "z", "y", "x"],
            AxisOrder::Cxyz => ["sample", "channel", "x", "y", "z"],
        };
        let store = Arc::new(FilesystemStore::new(dir.path().join("train.zarr")).unwrap());
        let other = ArrayBuilder::new(shape(4), shape(2), "uint16", 0u16)
            .subchunk_shape(shape(1))
            .dimension_names(Some(dimensions))
            .bytes_to_bytes_codecs(vec![
                Arc::new(GzipCodec::new(1).unwrap()),
                Arc::new(Crc32cCodec::new()),
            ])
            .build(store, "/a")
            .unwrap();
        let values: Vec<u16> = (0..4 * 60).map(|i| i + 1).collect();
        other.store_metadata().unwrap();
        other
            .store_array_subset(&other.subset_all(), &values)
            .unwrap();
        let reader = dataset
            .split("train")
            .unwrap()
            .reader("a", &Arc::default())
            .unwrap();
        assert_eq!(
            (reader.codec, reader.shape()),
            (InnerCodec::Other, [1, 5, 4, 3])
        );
        let shape = shape(4).iter().map(|n| *n as usize).collect::<Vec<_>>();
        let mut all = ndarray::ArrayD::from_shape_vec(shape, values).unwrap();
        if order == AxisOrder::Cxyz {
            all.swap_axes(2, 4);
        }
        let mut decoder = SampleDecoder::new().unwrap();
        for (i, expected) in all.outer_iter().enumerate() {
            let expected: Vec<u8> = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(reader.read(i as u64, &mut decoder).unwrap(), expected);
        }
    }
}
