//! Each option of augmentation that moves voxels or changes sections, alone: image, targets, masks and ids of a batch fit
//! each other.

use super::*;

/// The stored arrays, and an id for each voxel, equal to the value of the image.
fn with_ids(samples: u64) -> Vec<TestArray> {
    let mut stored = indexed_arrays(samples);
    stored.push(array(
        "ids",
        DataType::UInt32,
        [6, 6, 3],
        samples,
        |s, v| ((s * 1000 + v + 1) as u32).to_le_bytes(),
    ));
    stored
}

fn load(augmentation: Augmentation, crop: Option<Crop>) -> Vec<Batch> {
    let dir = tempfile::tempdir().unwrap();
    let dataset = write(dir.path(), AxisOrder::Czyx, &with_ids(40), 16);
    let input = |name: &str, scaling| InputArray {
        name: name.into(),
        scaling,
    };
    let arrays = ArrayNames {
        inputs: vec![input("img", None), input("target", Some(Scaling::Nonzero))],
        segmentation: Some("ids".into()),
        ..arrays(&["target", "target"], &[Some("weight"), None])
    };
    let options = LoaderOptions {
        augmentation,
        crop,
        ..options()
    };
    let loader = Loader::open(&dataset, "train", &arrays, options).unwrap();
    batches(&loader, 0, 0)
}

/// A voxel of a batch: the values of the image, the id, and by each target its value and its mask.
#[derive(Clone, Copy, Debug)]
struct Voxel {
    z: usize,
    sample: u64,
    image: [f32; 2],
    id: u64,
    targets: [u8; 2],
    masks: [f32; 2],
}

/// The voxels of each sample.
fn samples(batches: &[Batch]) -> Vec<Vec<Voxel>> {
    let mut samples = Vec::new();
    for batch in batches {
        let [_, _, nz, ny, nx] = batch.shape;
        let n = nz * ny * nx;
        let masks = floats(batch.masks.as_ref().unwrap());
        for (s, sample) in batch.samples.iter().enumerate() {
            let pair = |v: usize| [2 * s * n + v, (2 * s + 1) * n + v];
            let voxel = |v| Voxel {
                z: v / (ny * nx),
                sample: *sample,
                image: pair(v).map(|i| floats(&batch.image)[i]),
                id: batch.ids[s * n + v],
                targets: pair(v).map(|i| batch.targets[i]),
                masks: pair(v).map(|i| masks[i]),
            };
            samples.push((0..n).map(voxel).collect());
        }
    }
    samples
}

/// Checks all values of a voxel but the first of the image against its id; 0 means that it comes from outside.
fn assert_consistent(v: &Voxel) {
    if v.id == 0 {
        assert_eq!(
            (v.image, v.targets, v.masks),
            ([0.0; 2], [0; 2], [0.0; 2]),
            "{v:?}"
        );
        return;
    }
    let index = v.id - 1;
    assert_eq!(index / 1000, v.sample);
    let target = u8::from(is_target(v.sample, index % 1000));
    assert_eq!(v.targets, [target; 2], "{v:?}");
    assert_eq!(v.image[1], f32::from(target), "{v:?}");
    assert_eq!(v.masks, [v.id as f32 * 2.0, 1.0], "{v:?}");
}

fn crop() -> Option<Crop> {
    Some(Crop {
        window: [2, 2, 3],
        jitter: [0; 3],
    })
}

const MISALIGNMENT: Misalignment = Misalignment {
    probability: 1.0,
    max_voxels: 2,
};

#[test]
fn image_targets_masks_and_ids_are_misaligned_together() {
    for (slip, step) in [(Some(MISALIGNMENT), None), (None, Some(MISALIGNMENT))] {
        for crop in [None, crop()] {
            let augmentation = Augmentation {
                slip,
                step,
                ..Augmentation::default()
            };
            let plain = samples(&load(
                Augmentation {
                    // A rotation by nearly 0 gives the voxels at their places, with masks.
                    rotate_xy_degrees: f32::MIN_POSITIVE,
                    ..Augmentation::default()
                },
                crop.clone(),
            ));
            let mut outside = 0;
            let mut displaced = [0; 3];
            for (sample, plain) in samples(&load(augmentation, crop.clone()))
                .iter()
                .zip(&plain)
            {
                let mut moved = [false; 3];
                for (v, plain) in sample.iter().zip(plain) {
                    assert_consistent(v);
                    assert_eq!(v.image[0], v.id as f32);
                    moved[v.z] |= v.id != plain.id;
                    outside += usize::from(v.id == 0);
                }
                let expected: &[[bool; 3]] = match slip {
                    Some(_) => &[
                        [true, false, false],
                        [false, true, false],
                        [false, false, true],
                    ],
                    None => &[[false, true, true], [false, false, true]],
                };
                // One of 25 displacements is 0.
                assert!(
                    expected.contains(&moved) || moved == [false; 3],
                    "{moved:?}"
                );
                (0..3).for_each(|z| displaced[z] += usize::from(moved[z]));
            }
            assert_eq!(displaced[0] > 0, slip.is_some());
            assert!(displaced[1] > 0 && displaced[2] > 0);
            // A crop of 2 of 6 voxels leaves room for displacements by 2.
            assert_eq!(outside > 0, crop.is_none());
        }
    }
}

#[test]
fn a_rotated_image_is_interpolated_and_all_else_has_the_nearest_voxel() {
    for crop in [None, crop()] {
        let augmentation = Augmentation {
            rotate_xy_degrees: 45.0,
            ..Augmentation::default()
        };
        let (mut outside, mut between) = (0, 0);
        for sample in samples(&load(augmentation, crop.clone())) {
            for v in &sample {
                assert_consistent(v);
                outside += usize::from(v.id == 0);
                if v.id > 0 {
                    // The stored values rise by 1 in x and by 6 in y.
                    let distance = (v.image[0] - v.id as f32).abs();
                    assert!(distance <= 3.501, "{v:?}");
                    between += usize::from(distance > 0.1);
                }
            }
            if crop.is_some() {
                // All neighbours are there: interpolation of a plane is exact, and its mean is that of the centre.
                for z in 0..3 {
                    let section = sample.iter().filter(|v| v.z == z).map(|v| v.image[0]);
                    let mean = section.sum::<f32>() / 4.0;
                    let first = sample[0].sample * 1000 + 1 + 36 * z as u64;
                    assert!((mean - (first as f32 + 2.5 * 7.0)).abs() < 0.05, "{mean}");
                }
            }
        }
        assert!(between > 100, "{between}");
        assert_eq!(outside > 0, crop.is_none());
    }
}

#[test]
fn targets_without_a_mask_get_one_if_voxels_may_come_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = write(dir.path(), AxisOrder::Czyx, &with_ids(8), 8);
    let masks = |targets: &[&str], augmentation| {
        let options = LoaderOptions {
            augmentation,
            ..options()
        };
        let names = arrays(targets, &vec![None; targets.len()]);
        let loader = Loader::open(&dataset, "train", &names, options).unwrap();
        batches(&loader, 0, 0).remove(0)
    };
    let slip = Augmentation {
        slip: Some(MISALIGNMENT),
        ..Augmentation::default()
    };
    assert_eq!(masks(&["target"], Augmentation::default()).masks, None);
    assert_eq!(masks(&[], slip).masks, None);
    let batch = masks(&["target"], slip);
    let inside: Vec<u8> = floats(&batch.image)
        .iter()
        .map(|v| u8::from(*v > 0.0))
        .collect();
    assert!(inside.contains(&0));
    assert_eq!(batch.masks, Some(Values::U8(inside)));
}

#[test]
fn values_of_sections_and_boxes_change_in_the_image_only() {
    let plain = load(Augmentation::default(), None);
    let one = NonZeroU32::MIN;
    let dropout = CoarseDropout {
        probability: 1.0,
        boxes: 1,
        size: [one, NonZeroU32::new(2).unwrap(), one],
    };
    let off = Augmentation::default();
    // Each with the number of voxels of a sample that are 0.
    for (augmentation, zeros) in [
        (
            Augmentation {
                section_brightness: 0.3,
                ..off
            },
            [0, 0],
        ),
        (
            Augmentation {
                section_contrast: 0.3,
                ..off
            },
            [0, 0],
        ),
        (
            Augmentation {
                section_noise: 0.3,
                ..off
            },
            [0, 0],
        ),
        (
            Augmentation {
                missing_section: 1.0,
                missing_sections_max: NonZeroU32::new(2),
                ..off
            },
            [36, 72],
        ),
        (
            Augmentation {
                coarse_dropout: Some(dropout),
                ..off
            },
            [2, 2],
        ),
    ] {
        let changed = load(augmentation, None);
        let mut found = Vec::new();
        for (plain, changed) in plain.iter().zip(&changed) {
            assert_eq!(
                (&plain.targets, &plain.masks),
                (&changed.targets, &changed.masks)
            );
            assert_eq!(plain.ids, changed.ids);
            let [before, after] = [plain, changed].map(|b| floats(&b.image).chunks(108));
            for (i, (before, after)) in before.zip(after).enumerate() {
                // Every second channel is a mask.
                assert_eq!(before == after, i % 2 == 1, "{augmentation:?}");
                if i % 2 == 0 {
                    found.push(after.iter().filter(|v| **v == 0.0).count());
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        let mut expected = zeros.to_vec();
        expected.dedup();
        assert_eq!(found, expected, "{augmentation:?}");
        assert_eq!(changed, load(augmentation, None));
    }
}
