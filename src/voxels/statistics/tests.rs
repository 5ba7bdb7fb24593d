//! Statistics, compared with plain loops over all values.

use super::*;
use crate::data_type::with_type;
use proptest::prelude::*;

fn samples() -> impl Strategy<Value = (DataType, Vec<Vec<u8>>)> {
    prop::sample::select(&DataType::ALL[..]).prop_flat_map(|t| {
        let value = prop_oneof![
            3 => Just(0i64),
            3 => -100i64..100,
            1 => any::<i64>(),
            1 => (0u32..64).prop_map(|k| 1i64 << k),
        ];
        let bytes = move |v: i64| match t {
            DataType::Float32 if v == 99 => f32::NAN.to_le_bytes().to_vec(),
            DataType::Float64 if v == 99 => f64::INFINITY.to_le_bytes().to_vec(),
            DataType::Float32 => (v as f32 / 2.0).to_le_bytes().to_vec(),
            DataType::Float64 => (v as f64 / 2.0).to_le_bytes().to_vec(),
            _ => v.to_le_bytes()[..t.size_bytes()].to_vec(),
        };
        let values = prop::collection::vec(value.prop_map(bytes), 0..300);
        let sample = values.prop_map(|v| v.concat());
        let zeros = (0usize..100).prop_map(move |n| vec![0; n * t.size_bytes()]);
        let bit = prop_oneof![Just(0i64), Just(1)].prop_map(bytes);
        let mask = prop::collection::vec(bit, 0..300).prop_map(|v| v.concat());
        let sample = prop_oneof![3 => sample, 1 => zeros, 1 => mask];
        prop::collection::vec(sample, 0..8).prop_map(move |samples| (t, samples))
    })
}

fn gather<'a>(t: DataType, samples: impl IntoIterator<Item = &'a Vec<u8>>) -> Statistics {
    let mut statistics = Statistics::new(t);
    for sample in samples {
        statistics.observe(sample, None);
    }
    statistics
}

/// Value as a number, and exactly where it is whole.
fn numbers(t: DataType, sample: &[u8]) -> Vec<(f64, i128)> {
    with_type!(t, T => {
        let (values, _) = sample.as_chunks::<{ size_of::<T>() }>();
        let values = values.iter().map(|v| T::from_le_bytes(*v));
        #[allow(clippy::unnecessary_cast, reason = "T is any type")]
        values.map(|v| (v as f64, v as i128)).collect()
    })
}

fn close(found: Option<f64>, expected: f64, scale: f64) -> bool {
    found.is_some_and(|f| (f - expected).abs() <= 1e-12 * scale)
}

proptest! {
    #[test]
    fn statistics_are_equal_to_a_plain_loop_over_all_values((t, samples) in samples()) {
        let all: Vec<_> = samples.iter().flat_map(|s| numbers(t, s)).collect();
        let finite: Vec<_> = all.iter().copied().filter(|(v, _)| v.is_finite()).collect();
        let summary = gather(t, &samples).finish();
        let count = |of: &dyn Fn(f64) -> bool| all.iter().filter(|(v, _)| of(*v)).count() as u64;
        prop_assert_eq!(summary.samples, samples.len() as u64);
        let empty = samples.iter().filter(|s| t.count_nonzero(s) == 0).count() as u64;
        prop_assert_eq!(summary.empty_samples, empty);
        prop_assert_eq!(summary.count, all.len() as u64);
        prop_assert_eq!(summary.nonzero, count(&|v| v != 0.0));
        prop_assert_eq!(summary.nan, count(&f64::is_nan));
        prop_assert_eq!(summary.infinite, count(&f64::is_infinite));
        let positive = (!all.is_empty()).then(|| count(&|v| v > 0.0) as f64 / all.len() as f64);
        prop_assert_eq!(summary.positive_fraction, positive);
        let extremes = |pick: fn(f64, f64) -> f64| finite.iter().map(|(v, _)| *v).reduce(pick);
        prop_assert_eq!((summary.min, summary.max), (extremes(f64::min), extremes(f64::max)));
        if finite.is_empty() {
            prop_assert_eq!((summary.mean, summary.std), (None, None));
        } else {
            let n = finite.len() as f64;
            let largest = finite.iter().map(|(v, _)| v.abs()).fold(0.0, f64::max);
            let mean = if t.is_float() {
                finite.iter().map(|(v, _)| v).sum::<f64>() / n
            } else {
                finite.iter().map(|(_, v)| v).sum::<i128>() as f64 / n
            };
            let variance = finite.iter().map(|(v, _)| (v - mean) * (v - mean)).sum::<f64>() / n;
            prop_assert!(close(summary.mean, mean, largest), "mean {:?}, not {}", summary.mean, mean);
            let off = summary.std.unwrap() - variance.sqrt();
            prop_assert!(off.abs() <= 1e-7 * largest, "std {:?}, not {}", summary.std, variance.sqrt());
        }
    }

    #[test]
    fn the_histogram_counts_every_8th_value((t, samples) in samples()) {
        let bins = gather(t, &samples).finish().histogram;
        let counted = samples.iter().flat_map(|s| numbers(t, s).into_iter().step_by(8));
        let mut counted: Vec<_> = counted.filter(|(v, _)| !v.is_nan()).collect();
        // Whole numbers as such: not every one is an `f64`.
        let order = |(real, whole): &(f64, i128), edge: f64| {
            if t.is_float() {
                real.total_cmp(&edge)
            } else {
                whole.cmp(&(edge as i128))
            }
        };
        prop_assert!(bins.is_sorted_by(|a, b| a.to <= b.from));
        for bin in &bins {
            let before = counted.len();
            counted.retain(|v| {
                let (from, to) = (order(v, bin.from), order(v, bin.to));
                let inside = match bin.from {
                    edge if edge == bin.to => v.0 == edge,
                    edge if edge < 0.0 && t != DataType::Int8 => from.is_gt() && to.is_le(),
                    _ => from.is_ge() && (to.is_lt() || bin.to == 2f64.powi(128)),
                };
                !inside
            });
            prop_assert_eq!(bin.count, (before - counted.len()) as u64);
        }
        prop_assert!(counted.is_empty(), "{:?}", counted);
    }

    #[test]
    fn merged_parts_are_equal_to_the_whole_after_a_round_trip_through_json((t, samples) in samples(), a: prop::sample::Index, b: prop::sample::Index) {
        let n = samples.len() + 1;
        let (a, b) = (a.index(n), b.index(n));
        let (a, b) = (a.min(b), a.max(b));
        let parts = [&samples[..a], &samples[a..b], &samples[b..]].map(|part| {
            let json = serde_json::to_string(&gather(t, part)).unwrap();
            serde_json::from_str::<Statistics>(&json).unwrap()
        });
        let merged = |into: &Statistics, later: &Statistics| {
            let mut into = into.clone();
            into.merge(later);
            into
        };
        let left = merged(&merged(&parts[0], &parts[1]), &parts[2]);
        let right = merged(&parts[0], &merged(&parts[1], &parts[2]));
        let whole = merged(&Statistics::new(t), &merged(&gather(t, &samples), &Statistics::new(t)));
        if !t.is_float() {
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(&left, &whole);
        }
        let (left, whole) = (left.finish(), whole.finish());
        prop_assert_eq!((left.min, left.max, left.count, &left.histogram), (whole.min, whole.max, whole.count, &whole.histogram));
        if let Some(mean) = whole.mean {
            let largest = whole.min.unwrap().abs().max(whole.max.unwrap().abs());
            prop_assert!(close(left.mean, mean, largest));
        }
    }

    #[test]
    fn a_known_count_of_nonzero_values_does_not_change_the_statistics((t, samples) in samples()) {
        let mut statistics = Statistics::new(t);
        for sample in &samples {
            match t.count_nonzero(sample) {
                0 => statistics.observe_zeros((sample.len() / t.size_bytes()) as u64),
                nonzero => statistics.observe(sample, Some(nonzero)),
            }
        }
        prop_assert_eq!(statistics, gather(t, &samples));
    }
}

#[test]
fn the_largest_values_of_each_type_add_up_exactly() {
    for (t, max) in [
        (DataType::UInt8, u64::from(u8::MAX)),
        (DataType::UInt16, u64::from(u16::MAX)),
        (DataType::UInt32, u64::from(u32::MAX)),
        (DataType::UInt64, u64::MAX),
    ] {
        let sample = max.to_le_bytes()[..t.size_bytes()].repeat(100_000);
        let mut statistics = Statistics::new(t);
        statistics.observe(&sample, None);
        let Moments::Whole {
            sum,
            squares_low,
            squares_high,
            ..
        } = statistics.moments
        else {
            panic!("whole numbers have whole sums");
        };
        let square = u128::from(max) * u128::from(max);
        assert_eq!(sum, i128::from(max) * 100_000);
        assert_eq!(squares_low, u128::from(square as u64) * 100_000);
        assert_eq!(squares_high, (square >> 64) * 100_000);
        if t != DataType::UInt64 {
            let summary = statistics.finish();
            assert_eq!((summary.mean, summary.std), (Some(max as f64), Some(0.0)));
        }
    }
}

#[test]
fn a_small_deviation_far_from_zero_is_not_lost() {
    let values = [4_000_000_000u32, 4_000_000_001]
        .map(u32::to_le_bytes)
        .concat();
    let mut statistics = Statistics::new(DataType::UInt32);
    statistics.observe(&values, None);
    assert_eq!(statistics.finish().std, Some(0.5));
}

#[test]
fn forged_receipts_are_errors_or_harmless() {
    let mut statistics = Statistics::new(DataType::UInt64);
    statistics.observe(&u64::MAX.to_le_bytes(), None);
    let json = serde_json::to_value(&statistics).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut json = json.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        serde_json::from_value::<Statistics>(json)
    };
    assert!(with("/histogram", serde_json::json!([[512, 1]])).is_err());
    assert!(with("/moments/whole/sum", "much".into()).is_err());
    let most = i128::MAX.to_string();
    let mut extreme = with("/moments/whole/sum", most.into()).unwrap();
    extreme.merge(&extreme.clone());
    extreme.finish();
    let summary = with("/nan", u64::MAX.into()).unwrap().finish();
    assert_eq!(summary.mean, None);
}

proptest! {
    #[test]
    fn the_statistics_of_a_mask_are_those_of_its_values(
        samples in prop::collection::vec(prop::collection::vec(0u8..2, 0..5000), 0..4), odd in 0usize..5000, value in 0u8..3,
    ) {
        // Of which one value may make it no mask.
        let mut samples = samples;
        if let Some(v) = samples.first_mut().and_then(|s| s.get_mut(odd)) {
            *v = value;
        }
        let wide: Vec<Vec<u8>> = samples
            .iter()
            .map(|s| s.iter().flat_map(|v| u16::from(*v).to_le_bytes()).collect())
            .collect();
        let (narrow, wide) = (gather(DataType::UInt8, &samples).finish(), gather(DataType::UInt16, &wide).finish());
        prop_assert_eq!((narrow.samples, narrow.empty_samples, narrow.count, narrow.nonzero), (wide.samples, wide.empty_samples, wide.count, wide.nonzero));
        prop_assert_eq!((narrow.min, narrow.max, narrow.mean, narrow.std), (wide.min, wide.max, wide.mean, wide.std));
        prop_assert_eq!(narrow.positive_fraction, wide.positive_fraction);
    }
}

#[test]
fn a_deviation_whose_squares_are_out_of_range_is_left_out() {
    let values: Vec<u8> = [1e200, 3e200].map(f64::to_le_bytes).concat();
    let summary = gather(DataType::Float64, [&values]).finish();
    assert_eq!((summary.mean, summary.std), (Some(2e200), None));
}
