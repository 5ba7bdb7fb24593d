//! Compares batches of bytes with batches of the same values stored in wider types, which take another code path.

use super::*;

/// The stored values of a sample's voxel: image, two targets, a mask.
fn stored(sample: u64, voxel: u64) -> [u8; 4] {
    let mixed = (sample + 1) * 0x9E37 + voxel * 0x79B9;
    let image = (mixed >> 3) as u8;
    let target = [0, 1, 255][(mixed % 3) as usize];
    let other = if mixed.is_multiple_of(5) { 7 } else { 0 };
    let mask = u8::from(!mixed.is_multiple_of(4)) * 200;
    [image, target, other, mask]
}

/// The arrays as bytes, and the same values as float32 (image and mask) and uint16 (targets). Every third sample has no
/// stored chunks.
fn narrow_and_wide(samples: u64) -> [Vec<TestArray>; 2] {
    let window = [4, 4, 3];
    let names = ["img", "target", "other", "weight"];
    let narrow = (0..4).map(|i| {
        array(names[i], DataType::UInt8, window, samples, move |s, v| {
            [stored(s, v)[i]]
        })
    });
    let wide = (0..4).map(|i| match i {
        0 => array(names[i], DataType::Float32, window, samples, |s, v| {
            (f32::from(stored(s, v)[0]) / 255.0).to_le_bytes()
        }),
        3 => array(names[i], DataType::Float32, window, samples, |s, v| {
            f32::from(stored(s, v)[3].min(1)).to_le_bytes()
        }),
        _ => array(names[i], DataType::UInt16, window, samples, move |s, v| {
            u16::from(stored(s, v)[i]).to_le_bytes()
        }),
    });
    let with_missing_samples = |mut a: TestArray| {
        a.samples
            .iter_mut()
            .skip(1)
            .step_by(3)
            .for_each(|s| *s = None);
        a
    };
    [
        narrow.map(with_missing_samples).collect(),
        wide.map(with_missing_samples).collect(),
    ]
}

fn bytes(values: &Values) -> &[u8] {
    match values {
        Values::U8(values) => values,
        Values::F32(_) => panic!("found float32, expected bytes"),
    }
}

#[test]
fn a_batch_uses_the_smallest_type_that_holds_its_values() {
    let dir = tempfile::tempdir().unwrap();
    let [mut stored, wide] = narrow_and_wide(3);
    let wide_mask = wide.into_iter().next_back().unwrap();
    stored.push(TestArray {
        name: "floats",
        ..wide_mask
    });
    let dataset = write(dir.path(), AxisOrder::Czyx, &stored, 2);
    let is_bytes = |masks: &[Option<&str>], augmentation: Augmentation| {
        let arrays = arrays(&["target", "other"], masks);
        let options = LoaderOptions {
            augmentation,
            ..options()
        };
        let loader = Loader::open(&dataset, "train", &arrays, options).unwrap();
        let batch = batches(&loader, 0, 0).remove(0);
        let is_u8 = |v: &Values| matches!(v, Values::U8(_));
        (is_u8(&batch.image), batch.masks.as_ref().map(is_u8))
    };
    let geometry = Augmentation {
        missing_section: 1.0,
        ..all_rotations()
    };
    assert_eq!(is_bytes(&[None, None], geometry), (true, None));
    assert_eq!(
        is_bytes(&[Some("weight"), None], geometry),
        (true, Some(true))
    );
    let mixed = [Some("weight"), Some("floats")];
    assert_eq!(is_bytes(&mixed, geometry), (true, Some(false)));
    for change in [
        Augmentation {
            brightness: 0.1,
            ..geometry
        },
        Augmentation {
            contrast: 0.1,
            ..geometry
        },
        Augmentation {
            noise: 0.1,
            ..geometry
        },
    ] {
        assert_eq!(
            is_bytes(&[Some("weight"), None], change),
            (false, Some(true))
        );
    }
}

#[test]
fn one_array_can_be_image_target_and_mask() {
    let dir = tempfile::tempdir().unwrap();
    let [stored_arrays, _] = narrow_and_wide(3);
    let dataset = write(dir.path(), AxisOrder::Czyx, &stored_arrays, 2);
    let arrays = arrays(&["img", "img"], &[Some("img"), None]);
    let loader = Loader::open(&dataset, "train", &arrays, options()).unwrap();
    let batch = batches(&loader, 0, 0).remove(0);
    let image: Vec<_> = (0..48).map(|v| stored(2, v)[0]).collect();
    let binary: Vec<_> = image.iter().map(|v| u8::from(*v != 0)).collect();
    assert_eq!(bytes(&batch.image)[96..], image);
    assert_eq!(batch.targets[192..], [&binary[..], &binary[..]].concat());
    let masks = bytes(batch.masks.as_ref().unwrap());
    assert_eq!(masks[192..], [&binary[..], &[1; 48][..]].concat());
}

#[test]
fn channels_of_several_inputs_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let [mut stored_arrays, _] = narrow_and_wide(2);
    let mut two = stored_arrays.remove(2);
    (two.channels, two.window) = (2, [4, 4, 3]);
    let twice = |s: Option<Vec<u8>>| s.map(|s| s.iter().chain(&s).copied().collect());
    two.samples = two.samples.into_iter().map(twice).collect();
    stored_arrays.push(two);
    let dataset = write(dir.path(), AxisOrder::Czyx, &stored_arrays, 2);
    let input = |name: &str, scaling| InputArray {
        name: name.into(),
        scaling,
    };
    let load = |inputs: Vec<InputArray>| {
        let arrays = ArrayNames {
            inputs,
            segmentation: Some("weight".into()),
            ..arrays(&["target"], &[None])
        };
        Loader::open(&dataset, "train", &arrays, options()).unwrap()
    };
    let values = |of: usize| (0..48).map(move |v| stored(0, v)[of]);
    let other: Vec<u8> = values(2).map(|v| if v == 0 { 0 } else { 255 }).collect();
    let expected = [&other[..], &other, &values(0).collect::<Vec<_>>()].concat();
    let loader = load(vec![
        input("other", Some(Scaling::Nonzero)),
        input("img", None),
    ]);
    assert_eq!(loader.batch_shape(), [3, 3, 3, 4, 4]);
    assert_eq!(loader.data_channels(), [2]);
    let batch = batches(&loader, 0, 0).remove(0);
    assert_eq!(bytes(&batch.image)[..144], expected);
    assert!(batch.ids[..48].iter().copied().eq(values(3).map(u64::from)));
    // One input that does not fit in bytes makes floats of all.
    let loader = load(vec![
        input("other", Some(Scaling::Nonzero)),
        input("img", Some(Scaling::Range([0.0, 255.0]))),
    ]);
    let batch = batches(&loader, 0, 0).remove(0);
    let floats_expected: Vec<_> = expected.iter().map(|v| f32::from(*v) / 255.0).collect();
    assert_eq!(floats(&batch.image)[..144], floats_expected);
    assert_eq!(
        load(vec![input("other", Some(Scaling::Nonzero))]).data_channels(),
        [0, 1]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bytes_and_wider_types_give_the_same_batches(
        seed: u64, epoch in 0u64..3, batch_size in 1usize..5, crop in 0usize..3, cxyz: bool, missing: bool,
        rotate: bool, masked: bool,
    ) {
        let crop = [
            None,
            Some(Crop { window: [4, 4, 3], jitter: [0; 3] }),
            Some(Crop { window: [2, 2, 1], jitter: [1; 3] }),
        ][crop].clone();
        let augmentation = Augmentation {
            missing_section: if missing { 0.5 } else { 0.0 },
            ..if rotate { all_rotations() } else { Augmentation::default() }
        };
        let options = LoaderOptions { seed, batch_size, shuffle: true, crop, augmentation, ..options() };
        let order = if cxyz { AxisOrder::Cxyz } else { AxisOrder::Czyx };
        let [narrow, wide] = narrow_and_wide(8).map(|stored| {
            let dir = tempfile::tempdir().unwrap();
            let dataset = write(dir.path(), order, &stored, 3);
            let arrays = arrays(&["target", "other"], &[masked.then_some("weight"), None]);
            let loader = Loader::open(&dataset, "train", &arrays, options.clone()).unwrap();
            // Load the epoch into recycled batches.
            for batch in batches(&loader, epoch + 1, 0) {
                loader.recycle(batch);
            }
            batches(&loader, epoch, 0)
        });
        prop_assert_eq!(narrow.len(), wide.len());
        for (narrow, wide) in narrow.iter().zip(&wide) {
            prop_assert_eq!((&narrow.samples, narrow.shape), (&wide.samples, wide.shape));
            let image: Vec<_> = bytes(&narrow.image).iter().map(|v| f32::from(*v) / 255.0).collect();
            prop_assert_eq!(&image[..], floats(&wide.image));
            prop_assert_eq!(&narrow.targets, &wide.targets);
            prop_assert!(narrow.targets.iter().all(|v| *v < 2));
            prop_assert_eq!(narrow.masks.is_some(), masked);
            if let (Some(narrow), Some(wide)) = (&narrow.masks, &wide.masks) {
                let masks: Vec<_> = bytes(narrow).iter().map(|v| f32::from(*v)).collect();
                prop_assert_eq!(&masks[..], floats(wide));
            }
        }
    }
}
