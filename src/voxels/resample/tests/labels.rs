//! Masks and labels.

use super::*;

/// Few labels, so that there are ties; they differ only in the last bits.
fn label(c: usize, v: [i64; 3]) -> [u8; 8] {
    (u64::MAX - noise(c, v) % 3).to_le_bytes()
}

/// The values of the data that `v` covers, with their weights, z before y before x.
fn covered<const N: usize>(
    v: [i64; 3],
    [lengths, data_lengths]: [[i64; 3]; 2],
    bounds: &VoxelBox,
    value: impl Fn([i64; 3]) -> [u8; N],
) -> Vec<([u8; N], i64)> {
    let weight_of = |of: [i64; 3]| {
        let along = |d| weight(Majority, v[d], lengths[d], of[d], data_lengths[d]);
        along(0) * along(1) * along(2)
    };
    let of = voxels(bounds).map(|of| (value(of), weight_of(of)));
    of.filter(|(_, weight)| *weight > 0).collect()
}

/// The value with the largest weight; of several, the first.
fn majority<const N: usize>(covered: &[([u8; N], i64)]) -> [u8; N] {
    let share = |value: &[u8; N]| -> i64 {
        let same = covered.iter().filter(|(v, _)| v == value);
        same.map(|(_, weight)| weight).sum()
    };
    let largest = covered.iter().map(|(v, _)| share(v)).max().unwrap();
    covered.iter().find(|(v, _)| share(v) == largest).unwrap().0
}

/// Twice as long along x and y, along all axes, or four times and twice.
const FACTORS: [[i64; 3]; 3] = [[2, 2, 1], [2, 2, 2], [4, 4, 2]];

/// The position of the voxel among those of a box.
fn position_in(b: &VoxelBox, v: [i64; 3]) -> Option<usize> {
    let inside = (0..3).all(|d| (b.start[d]..b.end[d]).contains(&v[d]));
    let [nx, ny, _] = b.shape().map(|n| n as i64);
    let [x, y, z]: [i64; 3] = std::array::from_fn(|d| v[d] - b.start[d]);
    inside.then_some(((z * ny + y) * nx + x) as usize)
}

fn longer(data_lengths: [i64; 3], factors: [i64; 3]) -> [i64; 3] {
    std::array::from_fn(|d| data_lengths[d] * factors[d])
}

fn of(
    how: Interpolation,
    [lengths, data_lengths]: [[i64; 3]; 2],
    data_type: DataType,
) -> Resampler {
    Resampler::new(
        resolution(lengths),
        resolution(data_lengths),
        how,
        data_type,
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_is_1_where_a_covered_voxel_is_greater_than_0(
        lengths in lengths(), data_lengths in lengths(),
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-8i64..4), data_size in prop::array::uniform3(1i64..9),
        channels in 1usize..3, one_in in 1u64..60,
    ) {
        let (window, bounds, grids) = (boxed(at, size), boxed(low, data_size), [lengths, data_lengths]);
        let set = |c, v| noise(c, v).is_multiple_of(one_in);
        let ids = cut(&of(Any, grids, DataType::UInt64), &window, &bounds, channels,
            |c, v| (u64::from(set(c, v)) << 63).to_le_bytes(), [9; 8]);
        let signed = cut(&of(Any, grids, DataType::Int8), &window, &bounds, channels,
            |c, v| [if set(c, v) { 127 } else { 0x80 }], [9]);
        let reals = cut(&of(Any, grids, DataType::Float32), &window, &bounds, channels,
            |c, v| (if set(c, v) { 1e-40 } else { f32::NAN }).to_le_bytes(), [9; 4]);
        for c in 0..channels {
            for (i, v) in voxels(&window).enumerate() {
                let i = i + c * voxels(&window).count();
                let covered = covered(v, grids, &bounds, |of| [u8::from(set(c, of))]);
                let any = u8::from(covered.iter().any(|(v, _)| *v == [1]));
                if covered.is_empty() {
                    prop_assert_eq!((ids[i], signed[i], reals[i]), ([9; 8], [9], [9; 4]));
                } else {
                    prop_assert_eq!(u64::from_le_bytes(ids[i]), u64::from(any));
                    prop_assert_eq!(signed[i], [any]);
                    prop_assert_eq!(f32::from_le_bytes(reals[i]), f32::from(any));
                }
            }
        }
    }

    #[test]
    fn a_majority_is_by_volume_where_factors_are_not_powers_of_two(
        lengths in lengths(), data_lengths in lengths(),
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-8i64..4), data_size in prop::array::uniform3(1i64..9),
        channels in 1usize..3, labels in 1u64..100,
    ) {
        let grids = [lengths, data_lengths];
        let resample = of(Majority, grids, DataType::UInt64);
        prop_assume!(resample.rules.len() == 1 && resample.uses(Kernel::Majority(Vote::Volume)));
        let (window, bounds) = (boxed(at, size), boxed(low, data_size));
        let value = |c: usize, v: [i64; 3]| (u64::MAX - noise(c, v) % labels).to_le_bytes();
        let out = cut(&resample, &window, &bounds, channels, value, [9; 8]);
        for c in 0..channels {
            for (i, v) in voxels(&window).enumerate() {
                let covered = covered(v, grids, &bounds, |of| value(c, of));
                let expected = if covered.is_empty() { [9; 8] } else { majority(&covered) };
                prop_assert_eq!(out[c * voxels(&window).count() + i], expected);
            }
        }
    }

    #[test]
    fn halving_uses_countless_inside_and_the_most_frequent_value_at_the_edge(
        data_lengths in lengths(), flat in prop::sample::select(vec![[1, 2, 2], [2, 1, 2], [2, 2, 1], [2, 2, 2]]),
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-8i64..4), data_size in prop::array::uniform3(1i64..9), channels in 1usize..3,
    ) {
        let grids = [longer(data_lengths, flat), data_lengths];
        let (window, bounds) = (boxed(at, size), boxed(low, data_size));
        let out = cut(&of(Majority, grids, DataType::UInt64), &window, &bounds, channels, label, [9; 8]);
        for c in 0..channels {
            for (i, v) in voxels(&window).enumerate() {
                let covered = covered(v, grids, &bounds, |of| label(c, of));
                let values: Vec<_> = covered.iter().map(|(v, _)| *v).collect();
                let expected = match values[..] {
                    [] => [9; 8],
                    [a, b, c, _] if flat != [2; 3] && (a == b || a == c) => a,
                    [_, b, c, _] if flat != [2; 3] && b == c => b,
                    [_, _, _, d] if flat != [2; 3] => d,
                    _ => majority(&covered),
                };
                prop_assert_eq!(out[c * voxels(&window).count() + i], expected);
            }
        }
    }

    #[test]
    fn a_factor_of_four_is_equal_to_two_factors_of_two(
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-20i64..10), data_size in prop::array::uniform3(1i64..19), times in 2u32..5,
    ) {
        let (window, bounds, lengths) = (boxed(at, size), boxed(low, data_size), [46, 46, 450]);
        let whole = of(Majority, [longer(lengths, [2i64.pow(times), 2i64.pow(times), 1]), lengths], DataType::UInt64);
        let half = of(Majority, [longer(lengths, [2, 2, 1]), lengths], DataType::UInt64);
        let mut levels = vec![(bounds, voxels(&bounds).map(|v| label(0, v)).collect::<Vec<_>>())];
        for _ in 0..times {
            let (bounds, values) = levels.last().unwrap();
            let covering = |d: usize| bounds.start[d].div_euclid(if d < 2 { 2 } else { 1 });
            let end = |d: usize| -(-bounds.end[d]).div_euclid(if d < 2 { 2 } else { 1 });
            let next = VoxelBox { start: [0, 1, 2].map(covering), end: [0, 1, 2].map(end) };
            let at = |v: [i64; 3]| values[position_in(bounds, v).unwrap()];
            let made = cut(&half, &next, bounds, 1, |_, v| at(v), [9; 8]);
            levels.push((next, made));
        }
        let (last, values) = levels.last().unwrap();
        let out = cut(&whole, &window, &bounds, 1, label, [9; 8]);
        for (v, out) in voxels(&window).zip(out) {
            let expected = position_in(last, v).map_or([9; 8], |i| values[i]);
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn smaller_voxels_have_the_value_of_the_voxel_that_holds_them(
        at in prop::array::uniform3(-30i64..30), factors in prop::array::uniform3(1i64..5), far: bool,
    ) {
        let data_lengths = longer([10; 3], factors);
        let origin = if far { 10_000_000 } else { 0 };
        let (window, bounds) = (boxed(at.map(|v| v - origin), [5, 4, 3]), boxed([-1 << 40; 3], [1 << 41; 3]));
        for how in [Nearest, Majority, AREA] {
            let value = |c: usize, v| [label(c, v)[0]];
            let out = cut(&of(how, [[10; 3], data_lengths], DataType::UInt8), &window, &bounds, 1, value, [9]);
            for (v, out) in voxels(&window).zip(out) {
                let holds: [i64; 3] = std::array::from_fn(|d| v[d].div_euclid(factors[d]));
                prop_assert_eq!(out, value(0, holds));
            }
        }
    }
}

#[test]
fn the_last_of_eight_voxels_does_not_count_as_one_of_a_pair() {
    // Four times as long: the first step has a cube of eight for each voxel of the second.
    let resample = of(Majority, [[40; 3], [10; 3]], DataType::UInt8);
    let (window, bounds) = (boxed([0; 3], [1; 3]), boxed([0; 3], [4; 3]));
    // x first: tinybrain counts z first.
    for (values, expected) in [
        // All differ: the last.
        ([1, 2, 3, 4, 5, 6, 7, 8], 8),
        // The first and the last are equal, and so are two others.
        ([1, 2, 2, 4, 5, 6, 7, 1], 2),
        // Nothing else is.
        ([1, 2, 3, 4, 5, 6, 7, 1], 1),
        // Three with the last.
        ([1, 2, 2, 4, 1, 6, 7, 1], 1),
        // Of two pairs the first, z first: voxel 4 is before voxel 1.
        ([9, 1, 3, 1, 2, 2, 7, 8], 2),
    ] {
        let value = |_, v: [i64; 3]| {
            let [x, y, z] = v.map(|v| v as usize % 2);
            [values[x + 2 * y + 4 * z]]
        };
        assert_eq!(
            cut(&resample, &window, &bounds, 1, value, [0]),
            [[expected]],
            "{values:?}"
        );
    }
}

#[test]
fn any_also_works_for_voxels_of_equal_size() {
    let lengths = [40, 40, 400];
    assert!(of(Majority, [lengths; 2], DataType::UInt64).is_identity());
    let any = of(Any, [lengths; 2], DataType::UInt16);
    assert!(!any.is_identity());
    let window = boxed([0; 3], [4, 1, 1]);
    let value = |_, v: [i64; 3]| (v[0] as u16 * 300).to_le_bytes();
    let out = cut(&any, &window, &window, 1, value, [9; 2]);
    assert_eq!(out, [[0, 0], [1, 0], [1, 0], [1, 0]]);
    let of_value = |value: u16| any.of_value(Scalar::from_le_bytes(&value.to_le_bytes()).unwrap());
    assert_eq!([0, 1, 256].map(|v| of_value(v).bytes(2)[0]), [0, 1, 1]);
}

#[test]
fn the_memory_of_majority_steps_and_of_many_labels_is_counted() {
    let window = WindowSize::new([64, 64, 16]).unwrap();
    let working =
        |lengths, how| of(how, [lengths, [10; 3]], DataType::UInt64).working_bytes(&window, 1);
    for factors in FACTORS {
        let lengths = longer([10; 3], factors);
        assert_eq!(working(lengths, Nearest), 0);
        assert_eq!(working(lengths, Majority) > 0, factors == [4, 4, 2]);
    }
    // The first step out of 256 x 256 x 32 voxels makes an eighth of them.
    assert!(working([40, 40, 20], Majority) >= 256 * 256 * 32);
    assert!(working([640, 640, 630], Majority) >= 64 * 64 * 63 * 16);
}
