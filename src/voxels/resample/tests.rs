//! Resampled windows, compared with the definitions voxel by voxel, in integers.

mod labels;

use super::*;
use crate::config::Interpolation::{Any, Area, Linear, Majority, Nearest};
use crate::config::Rounding;
use proptest::prelude::*;

fn resolution(tenths: [i64; 3]) -> Resolution {
    Resolution::new(tenths.map(|t| t as f64 / 10.0)).unwrap()
}

fn boxed(start: [i64; 3], size: [i64; 3]) -> VoxelBox {
    VoxelBox {
        start,
        end: std::array::from_fn(|d| start[d] + size[d]),
    }
}

fn voxels(b: &VoxelBox) -> impl Iterator<Item = [i64; 3]> {
    let VoxelBox { start, end } = *b;
    (start[2]..end[2]).flat_map(move |z| {
        (start[1]..end[1]).flat_map(move |y| (start[0]..end[0]).map(move |x| [x, y, z]))
    })
}

/// Weight, along an axis, of voxel `of` the data in `voxel`; lengths of voxels in tenths of nm.
fn weight(how: Interpolation, voxel: i64, length: i64, of: i64, data_length: i64) -> i64 {
    let twice_centre = (2 * voxel + 1) * length;
    match how {
        Nearest => {
            let (begin, end) = (2 * of * data_length, 2 * (of + 1) * data_length);
            i64::from(begin < twice_centre && twice_centre <= end)
        }
        Area(_) | Any | Majority => {
            let end = ((voxel + 1) * length).min((of + 1) * data_length);
            (end - (voxel * length).max(of * data_length)).max(0)
        }
        Linear(_) => {
            let apart = (twice_centre - (2 * of + 1) * data_length).abs();
            (2 * data_length - apart).max(0)
        }
    }
}

/// Weighted sum, and sum of weights, of the voxels that a voxel covers.
fn reference(
    how: Interpolation,
    voxel: [i64; 3],
    lengths: [i64; 3],
    data_lengths: [i64; 3],
    bounds: &VoxelBox,
    value: impl Fn([i64; 3]) -> f64,
) -> (f64, f64) {
    let (mut sum, mut total) = (0.0, 0.0);
    for of in voxels(bounds) {
        let along = |d| weight(how, voxel[d], lengths[d], of[d], data_lengths[d]) as f64;
        let weight = along(0) * along(1) * along(2);
        if weight > 0.0 {
            sum += weight * value(of);
            total += weight;
        }
    }
    (sum, total)
}

const AREA: Interpolation = Area(Rounding::HalfEven);
const LINEAR: Interpolation = Linear(Rounding::HalfEven);

/// Interpolations that are weighted sums.
const ALL: [Interpolation; 3] = [Nearest, AREA, LINEAR];

/// Resamples `window` from a volume; `value` returns the value of a voxel. Values that are not written are `fill`.
fn cut<const N: usize>(
    resample: &Resampler,
    window: &VoxelBox,
    bounds: &VoxelBox,
    channels: usize,
    value: impl Fn(usize, [i64; 3]) -> [u8; N],
    fill: [u8; N],
) -> Vec<[u8; N]> {
    let mut out = vec![fill; window.shape().iter().product::<u64>() as usize * channels];
    if let Some(made) = resample.window(window, bounds) {
        let needed = made.source_box();
        assert!(bounds.contains_box(&needed));
        let source: Vec<[u8; N]> = (0..channels)
            .flat_map(|c| voxels(&needed).map(move |v| (c, v)))
            .map(|(c, v)| value(c, v))
            .collect();
        made.apply(channels, source.as_flattened(), out.as_flattened_mut());
        assert_eq!(
            made.is_supported(),
            made.support() == boxed([0; 3], window.shape().map(|n| n as i64))
        );
    }
    out
}

/// A value for each voxel, equal on every run.
fn noise(c: usize, v: [i64; 3]) -> u64 {
    let n = (v[0] * 73_856_093) ^ (v[1] * 19_349_663) ^ (v[2] * 83_492_791) ^ c as i64;
    (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

fn lengths() -> impl Strategy<Value = [i64; 3]> {
    prop::array::uniform3(prop::sample::select(vec![
        10i64, 20, 30, 40, 46, 60, 92, 138, 300, 450,
    ]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_voxel_follows_the_definition(
        lengths in lengths(), data_lengths in lengths(), how in prop::sample::select(&ALL[..]),
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-8i64..4), data_size in prop::array::uniform3(1i64..9),
        channels in 1usize..3,
    ) {
        let (window, bounds) = (boxed(at, size), boxed(low, data_size));
        let of = |data_type| Resampler::new(resolution(lengths), resolution(data_lengths), how, data_type).unwrap();
        let bytes = cut(&of(DataType::UInt8), &window, &bounds, channels, |c, v| [noise(c, v) as u8], [7]);
        let shorts = cut(&of(DataType::Int16), &window, &bounds, channels, |c, v| (noise(c, v) as i16).to_le_bytes(), [7, 0]);
        let words = cut(&of(DataType::UInt32), &window, &bounds, channels, |c, v| (noise(c, v) as u32).to_le_bytes(), [7, 0, 0, 0]);
        let reals = cut(&of(DataType::Float32), &window, &bounds, channels, |c, v| (noise(c, v) as f32).to_le_bytes(), [7; 4]);
        let mut i = 0;
        for c in 0..channels {
            for v in voxels(&window) {
                let sums = |value: &dyn Fn(u64) -> f64| {
                    reference(how, v, lengths, data_lengths, &bounds, |of| value(noise(c, of)))
                };
                let (sum, total) = sums(&|n| f64::from(n as u8));
                if total == 0.0 {
                    prop_assert_eq!((bytes[i], reals[i]), ([7], [7; 4]));
                } else {
                    prop_assert_eq!(f64::from(bytes[i][0]), (sum / total).round_ties_even());
                    let (sum, total) = sums(&|n| f64::from(n as i16));
                    prop_assert_eq!(f64::from(i16::from_le_bytes(shorts[i])), (sum / total).round_ties_even());
                    let (sum, total) = sums(&|n| f64::from(n as u32));
                    prop_assert!((f64::from(u32::from_le_bytes(words[i])) - sum / total).abs() <= 0.500001);
                    let (sum, total) = sums(&|n| f64::from(n as f32));
                    let found = f64::from(f32::from_le_bytes(reals[i]));
                    prop_assert!((found - sum / total).abs() <= 1e-6 * (sum / total).abs());
                }
                i += 1;
            }
        }
    }

    #[test]
    fn truncated_means_are_equal_to_integer_division(
        lengths in lengths(), data_lengths in lengths(), linear: bool,
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-8i64..4), data_size in prop::array::uniform3(1i64..9),
    ) {
        let (window, bounds) = (boxed(at, size), boxed(low, data_size));
        let how = if linear { Linear(Rounding::Truncate) } else { Area(Rounding::Truncate) };
        let of = |data_type| Resampler::new(resolution(lengths), resolution(data_lengths), how, data_type).unwrap();
        let bytes = cut(&of(DataType::UInt8), &window, &bounds, 1, |c, v| [noise(c, v) as u8], [7]);
        let shorts = cut(&of(DataType::Int16), &window, &bounds, 1, |c, v| (noise(c, v) as i16).to_le_bytes(), [7, 0]);
        let words = cut(&of(DataType::UInt32), &window, &bounds, 1, |c, v| (noise(c, v) as u32).to_le_bytes(), [7, 0, 0, 0]);
        let reals = cut(&of(DataType::Float64), &window, &bounds, 1, |c, v| (noise(c, v) as f64).to_le_bytes(), [7; 8]);
        for (i, v) in voxels(&window).enumerate() {
            let along = |of: [i64; 3], d| i128::from(weight(how, v[d], lengths[d], of[d], data_lengths[d]));
            let covered = voxels(&bounds).map(|of| (noise(0, of), along(of, 0) * along(of, 1) * along(of, 2)));
            let covered: Vec<_> = covered.filter(|(_, by)| *by > 0).collect();
            // Integer division rounds towards 0.
            let mean = |value: &dyn Fn(u64) -> i128| {
                let sum = covered.iter().map(|(n, by)| by * value(*n)).sum::<i128>();
                let total = covered.iter().map(|(_, by)| by).sum::<i128>();
                (total > 0).then(|| (sum / total, sum as f64 / total as f64))
            };
            let Some((byte, _)) = mean(&|n| i128::from(n as u8)) else {
                prop_assert_eq!((bytes[i], shorts[i]), ([7], [7, 0]));
                continue;
            };
            prop_assert_eq!(i128::from(bytes[i][0]), byte);
            let short = mean(&|n| i128::from(n as i16)).unwrap().0;
            prop_assert_eq!(i128::from(i16::from_le_bytes(shorts[i])), short);
            let word = mean(&|n| i128::from(n as u32)).unwrap().0;
            prop_assert_eq!(i128::from(u32::from_le_bytes(words[i])), word);
            let real = mean(&|n| i128::from(n)).unwrap().1;
            prop_assert!((f64::from_le_bytes(reals[i]) - real).abs() <= 1e-9 * real);
        }
    }

    #[test]
    fn a_uniform_volume_stays_uniform_at_any_ratio(
        nm in 1f64..900.0, data_nm in 1f64..900.0, value: u32, linear: bool,
    ) {
        prop_assume!((0.1..10.0).contains(&(nm / data_nm)));
        let how = if linear { Linear(Rounding::Truncate) } else { Area(Rounding::Truncate) };
        let [nm, data_nm] = [nm, data_nm].map(|r| Resolution::new([r; 3]).unwrap());
        let resample = Resampler::new(nm, data_nm, how, DataType::UInt32).unwrap();
        let (window, bounds) = (boxed([-3, 10_000_000, 5], [3, 2, 2]), boxed([-1 << 40; 3], [1 << 41; 3]));
        let out = cut(&resample, &window, &bounds, 1, |_, _| value.to_le_bytes(), [0; 4]);
        prop_assert!(out.iter().all(|v| u32::from_le_bytes(*v) == value));
    }

    #[test]
    fn windows_far_from_the_origin_are_equal_to_those_near_it(
        lengths in lengths(), data_lengths in lengths(),
        how in prop::sample::select(vec![Nearest, AREA, Area(Rounding::Truncate), LINEAR, Linear(Rounding::Truncate), Any, Majority]),
        at in prop::array::uniform3(-5i64..5), size in prop::array::uniform3(1i64..5),
        low in prop::array::uniform3(-8i64..4), data_size in prop::array::uniform3(1i64..9),
        far in prop::array::uniform3(-1_000_000i64..1_000_000), noisy: bool,
    ) {
        let near_nm = resolution(data_lengths);
        // As far as float32 rounds: half a voxel or more where voxels are numbered in tens of millions.
        let data_nm = if noisy { Resolution::new(near_nm.nm().map(|r| f64::from(r as f32))).unwrap() } else { near_nm };
        let cut_at = |far: [i64; 3], data_nm| {
            let by = |lengths: [i64; 3]| -> [i64; 3] { std::array::from_fn(|d| far[d] * lengths[d]) };
            let moved = |at: [i64; 3], by: [i64; 3]| -> [i64; 3] { std::array::from_fn(|d| at[d] + by[d]) };
            let (window, bounds) = (boxed(moved(at, by(data_lengths)), size), boxed(moved(low, by(lengths)), data_size));
            let back = by(lengths).map(|v| -v);
            let resample = Resampler::new(resolution(lengths), data_nm, how, DataType::UInt16).unwrap();
            cut(&resample, &window, &bounds, 1, |c, v| (noise(c, moved(v, back)) as u16 % 5).to_le_bytes(), [9; 2])
        };
        prop_assert_eq!(cut_at(far, data_nm), cut_at([0; 3], near_nm));
    }

    #[test]
    fn the_same_resolution_gives_the_same_values(
        lengths in lengths(), how in prop::sample::select(&ALL[..]), noisy: bool,
        at in prop::array::uniform3(-500_000i64..500_000),
    ) {
        let nm = resolution(lengths);
        let data_nm = if noisy { Resolution::new(nm.nm().map(|r| f64::from(r as f32))).unwrap() } else { nm };
        let resample = Resampler::new(nm, data_nm, how, DataType::Float64);
        let resample = resample.unwrap();
        prop_assert!(resample.is_identity());
        let window = boxed(at, [5, 4, 3]);
        let value = |c: usize, v| (noise(c, v) as f64 + 0.1).to_le_bytes();
        let out = cut(&resample, &window, &boxed([-1 << 40; 3], [1 << 41; 3]), 1, value, [0; 8]);
        for (v, out) in voxels(&window).zip(out) {
            prop_assert_eq!(out, value(0, v));
        }
    }

    #[test]
    fn half_the_resolution_takes_every_second_voxel_or_the_mean_of_eight(
        at in prop::array::uniform3(-300_000i64..300_000), length in prop::sample::select(vec![4.6, 4.0, 7.3, 0.1, 33.3]),
    ) {
        let nm = |factor: f64| Resolution::new([length * factor; 3]).unwrap();
        let (window, bounds) = (boxed(at, [4, 3, 2]), boxed([-1 << 40; 3], [1 << 41; 3]));
        let of = |how| Resampler::new(nm(2.0), nm(1.0), how, DataType::UInt8).unwrap();
        let value = |c, v| [noise(c, v) as u8];
        let [nearest, area, linear] = ALL.map(|how| cut(&of(how), &window, &bounds, 1, value, [0]));
        for (i, v) in voxels(&window).enumerate() {
            prop_assert_eq!(nearest[i], value(0, v.map(|n| 2 * n)));
            let eight = boxed(v.map(|n| 2 * n), [2; 3]);
            let sum: f64 = voxels(&eight).map(|v| f64::from(value(0, v)[0])).sum();
            prop_assert_eq!(f64::from(area[i][0]), (sum / 8.0).round_ties_even());
            prop_assert_eq!(linear[i], area[i]);
        }
    }

    #[test]
    fn a_ramp_in_nm_is_not_shifted(
        (length, data_length) in prop::sample::select(vec![
            (92i64, 46i64), (60, 40), (300, 450), (450, 300), (46, 92), (450, 46), (138, 46), (40, 60), (46, 60),
        ]),
        at in -10_000i64..10_000,
    ) {
        let of = |how| Resampler::new(
            resolution([length, 10, 10]), resolution([data_length, 10, 10]), how, DataType::Float64,
        ).unwrap();
        let window = boxed([at, 0, 0], [230, 1, 1]);
        let bounds = boxed([-200_000, 0, 0], [400_000, 1, 1]);
        let ramp = |voxel: i64, length: i64| (voxel as f64 + 0.5) * length as f64 / 10.0;
        let value = |_, v: [i64; 3]| ramp(v[0], data_length).to_le_bytes();
        let off = |how| -> Vec<f64> {
            let out = cut(&of(how), &window, &bounds, 1, value, [0; 8]);
            (at..).zip(out).map(|(v, out)| f64::from_le_bytes(out) - ramp(v, length)).collect()
        };
        prop_assert!(off(LINEAR).iter().all(|off| off.abs() < 1e-6));
        let area = off(AREA);
        // A voxel's share has the value of its whole: that evens out over a period of the two grids.
        let data_nm = data_length as f64 / 10.0;
        prop_assert!(area.iter().all(|off| off.abs() <= data_nm / 2.0));
        if length % data_length == 0 {
            prop_assert!(area.iter().all(|off| off.abs() < 1e-6));
        }
        let period = (1..231).find(|n| n * length % data_length == 0).unwrap() as usize;
        for some in area.windows(period) {
            prop_assert!((some.iter().sum::<f64>() / period as f64).abs() < 1e-6);
        }
    }
}

#[test]
fn means_of_labels_and_very_different_resolutions_are_errors() {
    let of = |how, data_type, nm| {
        let nm = Resolution::new([4.0, 4.0, nm]).unwrap();
        Resampler::new(nm, resolution([40; 3]), how, data_type)
    };
    let problem = of(AREA, DataType::UInt64, 4.0).unwrap_err();
    assert!(problem.contains("uint64") && problem.contains("`nearest`"));
    assert!(of(LINEAR, DataType::Float64, 4.0).is_ok());
    assert!(of(Nearest, DataType::UInt64, 8.0).is_ok());
    let problem = of(Nearest, DataType::UInt8, 1e9).unwrap_err();
    assert!(problem.contains("4 nm along z"), "{problem}");
}

#[test]
fn a_window_outside_of_the_volume_has_no_support() {
    let resample = Resampler::new(
        resolution([80; 3]),
        resolution([40; 3]),
        AREA,
        DataType::UInt8,
    );
    let (resample, bounds) = (resample.unwrap(), boxed([0; 3], [5; 3]));
    assert!(
        resample
            .window(&boxed([3, 0, 0], [4; 3]), &bounds)
            .is_none()
    );
    assert!(
        resample
            .window(&boxed([-4, 0, 0], [4; 3]), &bounds)
            .is_none()
    );
    let made = resample.window(&boxed([-1; 3], [5; 3]), &bounds).unwrap();
    assert_eq!(made.support(), boxed([1; 3], [3; 3]));
    assert_eq!(made.source_box(), bounds);
    assert!(!made.is_supported());
}
