//! Compares scores with counts by hand, with scikit-learn, and with an exact average precision by sorting.

use super::*;
use proptest::prelude::*;

fn counts(probabilities: &[f32], targets: &[u8]) -> VoxelCounts {
    let mut counts = VoxelCounts::default();
    counts.add(probabilities, targets, None);
    counts
}

fn close(left: Option<f64>, right: f64, tolerance: f64) {
    let left = left.expect("a number");
    assert!((left - right).abs() <= tolerance, "{left} is not {right}");
}

/// Average precision by definition: sorts, and treats equal probabilities as one.
fn exact(probabilities: &[f32], targets: &[u8]) -> f64 {
    let mut voxels: Vec<_> = probabilities.iter().zip(targets).collect();
    voxels.sort_by(|a, b| b.0.total_cmp(a.0));
    let positives = targets.iter().filter(|t| **t != 0).count() as f64;
    let (mut seen, mut right, mut sum) = (0.0, 0.0, 0.0);
    for equal in voxels.chunk_by(|a, b| a.0 == b.0) {
        let gain = equal.iter().filter(|(_, t)| **t != 0).count() as f64;
        seen += equal.len() as f64;
        right += gain;
        sum += gain / positives * right / seen;
    }
    sum
}

#[test]
fn scores_at_one_half_equal_counts_by_hand() {
    let scores = counts(&[0.9, 0.5, 0.49999997, 0.6, 0.1], &[1, 1, 1, 0, 0]).scores();
    assert_eq!((scores.voxels, scores.positives), (5, 3));
    assert_eq!(scores.precision, Some(2.0 / 3.0));
    assert_eq!(scores.recall, Some(2.0 / 3.0));
    assert_eq!(scores.dice, Some(4.0 / 6.0));
    assert_eq!(scores.iou, Some(2.0 / 4.0));
    assert_eq!(scores.curve.len(), 19);
    let half = &scores.curve[9];
    assert_eq!(half.threshold, 0.5);
    assert_eq!((half.dice, half.iou), (scores.dice, scores.iou));
    assert_eq!(scores.curve[8].recall, Some(1.0));
}

#[test]
fn the_best_threshold_is_the_highest_one_with_the_best_dice() {
    let (p, t) = ([0.9, 0.2, 0.15, 0.1], [1, 1, 0, 0]);
    let scores = counts(&p, &t).scores();
    assert_eq!(scores.best_dice, Some(1.0));
    close(scores.best_threshold, 0.2, 0.2 / 1024.0);
    assert!(scores.best_threshold <= Some(f64::from(0.2f32)));
    close(scores.dice, 2.0 / 3.0, 0.0);
}

#[test]
fn a_mask_of_zero_ignores_a_voxel_and_any_other_counts_once() {
    let mut masked = VoxelCounts::default();
    let mask = [1.0, 0.0, 0.25, 3.0];
    masked.add(&[0.9, 0.9, 0.2, 0.7], &[1, 0, 0, 255], Some(&mask));
    assert_eq!(masked, counts(&[0.9, 0.2, 0.7], &[1, 0, 1]));
}

#[test]
fn nan_and_infinite_probabilities_are_counted_separately() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.9];
    let scores = counts(&odd, &[1, 0, 1, 1]).scores();
    assert_eq!((scores.not_finite, scores.voxels), (3, 1));
    assert_eq!(scores.average_precision, Some(1.0));
}

#[test]
fn undefined_scores_are_null_in_json() {
    let scores = counts(&[0.1, 0.2], &[0, 0]).scores();
    assert_eq!(scores.dice, None);
    assert_eq!(scores.recall, None);
    assert_eq!(scores.average_precision, None);
    assert_eq!(scores.best_threshold, None);
    let json = serde_json::to_value(&scores).unwrap();
    assert!(json["precision"].is_null());
    assert_eq!(serde_json::from_value::<Scores>(json).unwrap(), scores);
    let wrong = counts(&[0.1, 0.7], &[0, 0]).scores();
    assert_eq!((wrong.dice, wrong.precision), (Some(0.0), Some(0.0)));
}

#[test]
fn without_voxels_there_are_no_scores() {
    let scores = VoxelCounts::default().scores();
    assert_eq!(scores.voxels, 0);
    assert_eq!(scores.dice, None);
    assert!(scores.curve.iter().all(|point| point.iou.is_none()));
}

#[test]
fn average_precision_equals_scikit_learn_for_a_few_voxels() {
    let easy = counts(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]);
    close(easy.scores().average_precision, 0.8333333333333333, 1e-12);
    let ties = counts(
        &[0.9, 0.9, 0.8, 0.7, 0.7, 0.3, 0.2, 0.1],
        &[1, 0, 1, 0, 1, 0, 0, 1],
    );
    close(ties.scores().average_precision, 0.5666666666666667, 1e-12);
}

/// Three kinds of networks: certain, hardly trained (probabilities close to each other), and in between.
#[test]
fn average_precision_is_close_to_scikit_learn_for_all_kinds_of_networks() {
    for (scale, shift, offset, of_scikit_learn) in [
        (8.0, 12.0, -14.0, 0.47706477670955294),
        (0.05, 0.1, -1.0, 0.6693493492818295),
        (1.0, 2.0, -2.0, 0.6693501540063224),
    ] {
        let (p, t) = network(scale, shift, offset);
        assert_eq!(t.iter().filter(|t| **t == 1).count(), 1976);
        let scores = counts(&p, &t).scores();
        close(scores.average_precision, of_scikit_learn, 6e-4);
    }
}

/// The input given to scikit-learn 1.9: a linear congruential generator, a tenth of the voxels positive, logistic noise.
fn network(scale: f64, shift: f64, offset: f64) -> (Vec<f32>, Vec<u8>) {
    const N: usize = 20_000;
    let mut state = 12345u64;
    let uniform: Vec<f64> = (0..2 * N)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect();
    let targets: Vec<u8> = uniform[..N].iter().map(|u| u8::from(*u < 0.1)).collect();
    let logit = |u: f64| (u / (1.0 - u)).ln() * scale * 0.5 + offset;
    let probability = |(u, t): (&f64, &u8)| {
        let z = logit(u.clamp(1e-9, 1.0 - 1e-9)) + f64::from(*t) * shift;
        (1.0 / (1.0 + (-z).exp())) as f32
    };
    let noise = uniform[N..].iter().zip(&targets);
    (noise.map(probability).collect(), targets)
}

fn voxels() -> impl Strategy<Value = Vec<(f32, u8)>> {
    // Values close to 0 and 1, and thresholds.
    let p = prop_oneof![
        (-25f32..25.0).prop_map(|z| 1.0 / (1.0 + (-z).exp())),
        (0u8..=20).prop_map(|i| f32::from(i) / 20.0),
        0f32..=1.0,
    ];
    prop::collection::vec((p, 0u8..2), 1..300)
}

proptest! {
    #[test]
    fn average_precision_is_exact_for_probabilities_rounded_to_bins(voxels in voxels()) {
        let (p, t): (Vec<_>, Vec<_>) = voxels.into_iter().unzip();
        let rounded: Vec<_> = p.iter().map(|p| bins::lower_edge(bins::of(*p))).collect();
        match counts(&p, &t).scores().average_precision {
            Some(found) => prop_assert!((found - exact(&rounded, &t)).abs() < 1e-9),
            None => prop_assert!(t.iter().all(|t| *t == 0)),
        }
    }

    #[test]
    fn the_curve_is_exact(voxels in voxels()) {
        let (p, t): (Vec<_>, Vec<_>) = voxels.iter().copied().unzip();
        for point in counts(&p, &t).scores().curve {
            let threshold = point.threshold as f32;
            let predicted = voxels.iter().filter(|(p, _)| *p >= threshold);
            let (predicted, right) = predicted.fold((0, 0), |(n, r), v| (n + 1, r + u64::from(v.1)));
            prop_assert_eq!(point.precision, ratio(right, predicted));
        }
    }

    #[test]
    fn counting_in_batches_equals_counting_all_at_once(voxels in voxels(), at in 0usize..300) {
        let (p, t): (Vec<_>, Vec<_>) = voxels.into_iter().unzip();
        let at = at.min(p.len());
        let mut both = counts(&p[at..], &t[at..]);
        both.add(&p[..at], &t[..at], None);
        prop_assert_eq!(both, counts(&p, &t));
    }
}
