//! Loads small datasets and compares the batches with the stored values.

mod bytes;
mod options_alone;
mod threads;

use std::num::NonZeroU32;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::data_type::{DataType, Scalar};
use crate::dataset::Codec;
use crate::dataset::testing::{TestArray, write};
use crate::geometry::AxisOrder;
use crate::storage::Storage;

/// Options without crop and augmentation.
pub(super) fn options() -> LoaderOptions {
    LoaderOptions {
        prefetch: 2,
        seed: 1,
        ..LoaderOptions::in_order(3, 2)
    }
}

/// Options with crop and all augmentation, for samples with at least 3 voxels in z and 4 in x and y.
pub(super) fn all_options() -> LoaderOptions {
    LoaderOptions {
        shuffle: true,
        crop: Some(Crop {
            window: [2, 2, 1],
            jitter: [1; 3],
        }),
        augmentation: Augmentation {
            brightness: 0.2,
            contrast: 0.2,
            noise: 0.05,
            missing_section: 0.2,
            section_brightness: 0.1,
            section_contrast: 0.1,
            section_noise: 0.1,
            missing_sections_max: NonZeroU32::new(3),
            coarse_dropout: Some(CoarseDropout {
                probability: 0.3,
                boxes: 2,
                size: [NonZeroU32::MIN; 3],
            }),
            rotate_xy_degrees: 20.0,
            slip: Some(Misalignment {
                probability: 0.3,
                max_voxels: 2,
            }),
            ..all_rotations()
        },
        ..options()
    }
}

fn all_rotations() -> Augmentation {
    Augmentation {
        flip: Flip {
            x: true,
            y: true,
            z: true,
        },
        transpose_xy: true,
        rotate_xy: true,
        ..Augmentation::default()
    }
}

fn array<const N: usize>(
    name: &'static str,
    data_type: DataType,
    window: [u32; 3],
    samples: u64,
    value: impl Fn(u64, u64) -> [u8; N],
) -> TestArray {
    let voxels: u32 = window.iter().product();
    let sample = |i| (0..u64::from(voxels)).flat_map(|v| value(i, v)).collect();
    TestArray {
        name,
        data_type,
        channels: 1,
        window,
        fill_value: Scalar::ZERO,
        // Two codecs, so that values read through one are compared with values read through the other.
        codec: match N {
            1 => Codec::None,
            _ => Codec::default(),
        },
        samples: (0..samples).map(|i| Some(sample(i))).collect(),
    }
}

/// Whether the target's voxel is stored as 1: about every third.
fn is_target(sample: u64, voxel: u64) -> bool {
    (sample * 31 + voxel * 7).is_multiple_of(3)
}

/// An image in which each voxel is its own index plus one, a target, and a mask that is the image times two: a voxel's
/// value says where it comes from.
fn indexed_arrays(samples: u64) -> Vec<TestArray> {
    let window = [6, 6, 3];
    vec![
        array("img", DataType::Float32, window, samples, |s, v| {
            ((s * 1000 + v + 1) as f32).to_le_bytes()
        }),
        array("target", DataType::UInt8, window, samples, |s, v| {
            [u8::from(is_target(s, v))]
        }),
        array("weight", DataType::Float32, window, samples, |s, v| {
            ((s * 1000 + v + 1) as f32 * 2.0).to_le_bytes()
        }),
    ]
}

fn arrays(targets: &[&str], masks: &[Option<&str>]) -> ArrayNames {
    ArrayNames {
        inputs: vec![InputArray::new("img")],
        targets: targets.iter().map(|t| (*t).into()).collect(),
        masks: masks.iter().map(|m| m.map(Into::into)).collect(),
        segmentation: None,
    }
}

fn open(root: &Path, order: AxisOrder, samples: u64, options: LoaderOptions) -> Loader {
    let dataset = match Dataset::open(root, &Storage::default()) {
        Ok(dataset) => dataset,
        Err(_) => write(root, order, &indexed_arrays(samples), 4),
    };
    let arrays = arrays(&["target", "target"], &[Some("weight"), None]);
    Loader::open(&dataset, "train", &arrays, options).unwrap()
}

fn floats(values: &Values) -> &[f32] {
    match values {
        Values::F32(values) => values,
        Values::U8(_) => panic!("found bytes, expected float32"),
    }
}

fn batches(loader: &Loader, epoch: u64, first: usize) -> Vec<Batch> {
    loader.epoch(epoch, first).map(Result::unwrap).collect()
}

#[test]
fn a_batch_holds_the_stored_values() {
    for order in [AxisOrder::Czyx, AxisOrder::Cxyz] {
        let dir = tempfile::tempdir().unwrap();
        let loader = open(dir.path(), order, 7, options());
        assert_eq!((loader.samples(), loader.batches_per_epoch()), (7, 3));
        assert_eq!(loader.batch_shape(), [3, 1, 3, 6, 6]);
        let all = batches(&loader, 0, 0);
        let shapes: Vec<_> = all.iter().map(|b| (b.samples.clone(), b.shape)).collect();
        let shape = |n| [n, 1, 3, 6, 6];
        let expected = [
            (vec![0, 1, 2], shape(3)),
            (vec![3, 4, 5], shape(3)),
            (vec![6], shape(1)),
        ];
        assert_eq!(shapes, expected);
        let image = |s: u64| (0..108).map(move |v| (s * 1000 + v + 1) as f32);
        let images: Vec<_> = (3..6).flat_map(image).collect();
        assert_eq!(floats(&all[1].image), images);
        let target = |s: u64| (0..108).map(move |v| u8::from(is_target(s, v)));
        let twice: Vec<u8> = (3..6).flat_map(|s| target(s).chain(target(s))).collect();
        assert_eq!(all[1].targets, twice);
        let ones = || (0..108).map(|_| 1.0);
        let weights = |s| image(s).map(|v| v * 2.0).chain(ones());
        let weights = Values::F32((3..6).flat_map(weights).collect());
        assert_eq!(all[1].masks, Some(weights));
    }
}

#[test]
fn a_sample_without_stored_chunks_is_all_fill_value() {
    let dir = tempfile::tempdir().unwrap();
    let mut stored = indexed_arrays(2);
    for array in &mut stored {
        array.samples[1] = None;
    }
    stored[2].fill_value = Scalar::from_le_bytes(&0.5f32.to_le_bytes()).unwrap();
    let dataset = write(dir.path(), AxisOrder::Czyx, &stored, 2);
    let arrays = arrays(&["target"], &[Some("weight")]);
    let loader = Loader::open(&dataset, "train", &arrays, options()).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(floats(&batch.image)[108..], [0.0; 108]);
    assert_eq!(batch.targets[108..], [0; 108]);
    assert_eq!(floats(&batch.masks.unwrap())[108..], [0.5; 108]);
}

#[test]
fn without_targets_a_batch_has_no_masks() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = write(dir.path(), AxisOrder::Czyx, &indexed_arrays(2), 2);
    let load = |arrays| Loader::open(&dataset, "train", &arrays, options()).unwrap();
    let batch = load(arrays(&[], &[])).epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(
        (batch.image.len(), batch.targets.len(), batch.masks),
        (216, 0, None)
    );
    let batch = load(arrays(&["target"], &[None]))
        .epoch(0, 0)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!((batch.targets.len(), batch.masks), (216, None));
}

#[test]
fn an_error_names_the_array_that_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mut stored = indexed_arrays(2);
    stored.push(array("small", DataType::UInt8, [6, 4, 3], 2, |_, _| [1]));
    stored.push(array("wide", DataType::UInt64, [6, 6, 3], 2, |_, v| {
        v.to_le_bytes()
    }));
    stored.push(array("double", DataType::Float64, [6, 6, 3], 2, |_, _| {
        [0; 8]
    }));
    let mut two = array("two", DataType::UInt8, [6, 6, 6], 2, |_, _| [1]);
    (two.channels, two.window) = (2, [6, 6, 3]);
    stored.push(two);
    let dataset = write(dir.path(), AxisOrder::Czyx, &stored, 2);
    let error = |split: &str, arrays: ArrayNames, options| {
        Loader::open(&dataset, split, &arrays, options)
            .unwrap_err()
            .to_string()
    };
    let train = |arrays| error("train", arrays, options());
    assert_eq!(
        error("test", arrays(&[], &[]), options()),
        "the dataset has no split `test`: found `train`; choose one of them"
    );
    let message = train(arrays(&["targets"], &[None]));
    assert!(
        message.starts_with(
            "the dataset has no array `targets` (requested as a target): found `img`, "
        )
    );
    assert_eq!(
        train(arrays(&["small"], &[None])),
        "the array `small` cannot be a target: found windows of 6 x 4 x 3 voxels (x y z), expected windows of 6 x 6 x 3 \
         voxels (x y z), as in the input `img`; give both the same window in the config and preprocess again"
    );
    let message = train(arrays(&["two"], &[None]));
    assert!(message.contains("`two` cannot be a target: found 2 channels, expected 1"));
    let message = train(arrays(&["target"], &[Some("double")]));
    assert!(
        message.contains("`double` cannot be a mask: found float64, expected integers or float32")
    );
    let image = ArrayNames {
        inputs: vec![InputArray::new("wide")],
        ..arrays(&[], &[])
    };
    assert!(
        train(image).contains("`wide` cannot be an input: found uint64, expected uint8, uint16")
    );
    assert!(train(arrays(&["target"], &[])).starts_with("found 0 masks for 1 targets"));
    let many = LoaderOptions {
        batch_size: usize::MAX / 2,
        ..options()
    };
    assert!(error("train", arrays(&[], &[]), many).contains("`batch_size`"));
    let multichannel = ArrayNames {
        inputs: vec![InputArray::new("two")],
        ..arrays(&["target", "wide"], &[Some("two"), None])
    };
    assert!(train(multichannel).contains("`two` cannot be a mask: found 2 channels"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn target_and_mask_of_a_voxel_move_with_it(
        seed: u64, epoch in 0u64..3, cropped: bool, cxyz: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let crop = Crop { window: [4, 4, 2], jitter: [1, 1, 0] };
        let options = LoaderOptions { seed, shuffle: true, crop: cropped.then_some(crop), augmentation: all_rotations(), ..options() };
        let order = if cxyz { AxisOrder::Cxyz } else { AxisOrder::Czyx };
        let loader = open(dir.path(), order, 7, options);
        let mut moved = false;
        for batch in batches(&loader, epoch, 0) {
            let voxels = batch.image.len() / batch.samples.len();
            let masks = floats(batch.masks.as_ref().unwrap());
            for (n, sample) in batch.samples.iter().enumerate() {
                let image = &floats(&batch.image)[n * voxels..][..voxels];
                for (i, value) in image.iter().enumerate() {
                    let index = *value as u64 - 1;
                    prop_assert_eq!(index / 1000, *sample);
                    let voxel = index % 1000;
                    moved |= voxel != i as u64;
                    for target in 0..2 {
                        let at = (n * 2 + target) * voxels + i;
                        prop_assert_eq!(batch.targets[at], u8::from(is_target(*sample, voxel)));
                        prop_assert_eq!(masks[at], if target == 0 { *value * 2.0 } else { 1.0 });
                    }
                }
                let mut all: Vec<_> = image.iter().map(|v| *v as u64).collect();
                all.sort_unstable();
                all.dedup();
                prop_assert_eq!(all.len(), voxels);
            }
        }
        prop_assert!(moved);
    }

    #[test]
    fn batches_depend_neither_on_threads_nor_on_the_first_batch(
        workers in 1usize..5, prefetch in prop_oneof![0usize..5, Just(usize::MAX)], first in 0usize..8, epoch in 0u64..3, batch_size in 1usize..5,
        drop_last: bool, rank in 0usize..2,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let base = LoaderOptions { batch_size, drop_last, rank, world_size: 2, ..all_options() };
        let plain = open(dir.path(), AxisOrder::Czyx, 13, LoaderOptions { workers: 1, prefetch: 1, ..base.clone() });
        let other = open(dir.path(), AxisOrder::Czyx, 13, LoaderOptions { workers, prefetch, ..base });
        let whole = batches(&plain, epoch, 0);
        prop_assert_eq!(whole.len(), plain.batches_per_epoch());
        let tail = batches(&other, epoch, first);
        prop_assert_eq!(&tail[..], &whole[first.min(whole.len())..]);
    }
}
