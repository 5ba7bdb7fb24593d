use std::sync::Arc;

use super::*;
use crate::data_type::{DataType, Scalar};
use crate::dataset::codec::tests::ALL;
use crate::dataset::metadata::array_metadata;
use crate::dataset::object::open_object;
use crate::dataset::testing::{claim, encode};
use crate::dataset::{ArrayLayout, Codec, CodecChoice, SampleEncoder};
use crate::geometry::{AxisOrder, WindowSize};
use crate::storage::Storage;
use proptest::prelude::*;
use zarrs::array::{Array, ArrayBytes};
use zarrs::filesystem::FilesystemStore;

fn layout(
    data_type: DataType,
    channels: u32,
    window: [u32; 3],
    samples: u64,
    per_shard: u32,
    codec: impl Into<CodecChoice>,
) -> Layout {
    let array = ArrayLayout {
        name: "a".into(),
        data_type,
        channels,
        window: WindowSize::new(window).unwrap(),
        fill_value: Scalar::ZERO,
        codec: codec.into(),
    };
    Layout::new(
        AxisOrder::Czyx,
        vec![("train".into(), samples)],
        vec![array],
        Some(per_shard),
    )
}

/// Writes the samples (`None`: all fill value) and reads all of them back with zarrs alone.
fn through_zarrs(layout: &Layout, samples: &[Option<Vec<u8>>]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let output = claim(dir.path(), layout);
    let mut encoder = SampleEncoder::new().unwrap();
    for id in layout.all_shards() {
        let mut shard = ShardWriter::begin(&output, layout, id).unwrap();
        // Some samples at a time, of different number.
        let range = layout.samples(id);
        let samples = &samples[range.start as usize..range.end as usize];
        let samples: Vec<_> = samples.iter().map(Option::as_deref).collect();
        for some in [&samples[..1], &samples[1..]] {
            let encoded = encode(&layout.arrays[0], some, &mut encoder);
            shard.append(&encoded).unwrap();
        }
        let written = shard.finish().unwrap();
        let (bytes, hash) = (written.bytes, written.blake3);
        written.publish().unwrap();
        let file = std::fs::read(dir.path().join(layout.shard_path(id))).unwrap();
        assert_eq!((file.len() as u64, blake3::hash(&file)), (bytes, hash));
    }
    let metadata = array_metadata(layout, 0, 0, Default::default()).unwrap();
    output.write("train.zarr/a/zarr.json", &metadata).unwrap();
    let store = Arc::new(FilesystemStore::new(dir.path().join("train.zarr")).unwrap());
    let array = Array::open(store, "/a").unwrap();
    let all: ArrayBytes<'static> = array.retrieve_array_subset(&array.subset_all()).unwrap();
    all.into_fixed().unwrap().into_owned()
}

#[test]
fn aligned_samples_begin_at_multiples_in_pieces_of_any_size() {
    let choice = CodecChoice {
        align_bytes: Some(64),
        ..Codec::None.into()
    };
    let layout = layout(DataType::UInt8, 1, [3, 3, 3], 5, 5, choice);
    let samples = [
        Some([1; 27]),
        None,
        Some([2; 27]),
        Some([3; 27]),
        Some([4; 27]),
    ];
    let samples: Vec<_> = samples.iter().map(|s| s.as_ref().map(|s| &s[..])).collect();
    let mut encoder = SampleEncoder::new().unwrap();
    let mut files = Vec::new();
    for split_at in 0..=samples.len() {
        let dir = tempfile::tempdir().unwrap();
        let output = claim(dir.path(), &layout);
        let id = layout.all_shards().next().unwrap();
        let mut shard = ShardWriter::begin(&output, &layout, id).unwrap();
        for some in [&samples[..split_at], &samples[split_at..]] {
            let encoded = encode(&layout.arrays[0], some, &mut encoder);
            shard.append(&encoded).unwrap();
        }
        shard.finish().unwrap().publish().unwrap();
        files.push(std::fs::read(dir.path().join(layout.shard_path(id))).unwrap());
    }
    assert!(files.iter().all(|file| *file == files[0]));
    // Four samples at 0, 64, 128 and 192, each with its checksum, and the index.
    assert_eq!(files[0].len(), 192 + 27 + 4 + 5 * 16 + 4);
    for (at, value) in [(0, 1), (64, 2), (128, 3), (192, 4)] {
        assert_eq!(files[0][at..at + 27], [value; 27]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn zarrs_reads_back_what_was_written(
        data_type in prop::sample::select(DataType::ALL.to_vec()),
        channels in 1u32..3, window in prop::array::uniform3(1u32..7), n in 1usize..9, per_shard in 1u32..5,
        codec in prop::sample::select(ALL.to_vec()), align_bytes in prop::sample::select(vec![None, Some(8), Some(4096)]),
        seed: u64, empty in prop::collection::vec(any::<bool>(), 9),
    ) {
        let codec = CodecChoice { align_bytes, ..codec.into() };
        let layout = layout(data_type, channels, window, n as u64, per_shard, codec);
        let bytes = layout.sample_bytes(0) as usize;
        let sample = |i: usize| -> Option<Vec<u8>> {
            let mut hash = blake3::Hasher::new();
            hash.update(&seed.to_le_bytes()).update(&[i as u8]);
            let mut values = vec![0; bytes];
            hash.finalize_xof().fill(&mut values);
            (!empty[i]).then_some(values)
        };
        let samples: Vec<_> = (0..n).map(sample).collect();
        let expected: Vec<u8> = samples.iter().flat_map(|s| s.clone().unwrap_or_else(|| vec![0; bytes])).collect();
        prop_assert!(through_zarrs(&layout, &samples) == expected);
    }
}

#[test]
fn a_shard_of_nothing_but_fill_value_holds_only_its_index() {
    for codec in ALL {
        let layout = layout(DataType::UInt8, 1, [4, 4, 4], 3, 3, codec);
        assert_eq!(through_zarrs(&layout, &[None, None, None]), vec![0; 3 * 64]);
        let dir = tempfile::tempdir().unwrap();
        let output = claim(dir.path(), &layout);
        let id = layout.all_shards().next().unwrap();
        let mut shard = ShardWriter::begin(&output, &layout, id).unwrap();
        let mut encoder = SampleEncoder::new().unwrap();
        let encoded = encode(&layout.arrays[0], &[None; 3], &mut encoder);
        shard.append(&encoded).unwrap();
        assert_eq!(shard.finish().unwrap().bytes, 3 * 16 + 4, "{codec:?}");
    }
}

#[test]
fn every_flipped_bit_of_an_index_and_every_truncation_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(DataType::UInt8, 1, [2, 2, 2], 2, 2, Codec::default());
    let output = claim(dir.path(), &layout);
    let id = layout.all_shards().next().unwrap();
    let mut shard = ShardWriter::begin(&output, &layout, id).unwrap();
    let mut encoder = SampleEncoder::new().unwrap();
    let samples: [Option<&[u8]>; 2] = [Some(&[1; 8]), Some(&[2; 8])];
    let encoded = encode(&layout.arrays[0], &samples, &mut encoder);
    shard.append(&encoded).unwrap();
    shard.finish().unwrap().publish().unwrap();
    let path = dir.path().join(layout.shard_path(id));
    let good = std::fs::read(&path).unwrap();
    let store = Storage::default().open(&dir.path().into());
    let open = || {
        let object = open_object(&*store, &layout.shard_path(id)).unwrap();
        ShardReader::open(object, String::new, 2)
    };
    assert!(open().unwrap().encoded(1, u64::MAX).unwrap().is_some());
    for byte in good.len() - 36..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[byte] ^= 1 << bit;
            std::fs::write(&path, bad).unwrap();
            assert!(open().is_err(), "byte {byte} bit {bit}");
        }
    }
    for n in 0..good.len() {
        std::fs::write(&path, &good[..n]).unwrap();
        assert!(open().is_err(), "cut to {n}");
    }
}
