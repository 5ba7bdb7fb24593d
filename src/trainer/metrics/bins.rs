//! Bins of probabilities: narrow next to 0 and 1, and with edges at the thresholds of the curve.
//!
//! The number of a bin ascends with the probability. It is made of the leading bits of the smaller of `p` and `1 - p` as a
//! floating point number, which divide each power of two into equal steps: 4,096 steps down to 2^-8, because an untrained
//! network predicts nearly the same everywhere, and 1,024 steps from there to 2^-50, because a trained one predicts values
//! very close to 0 and 1. The number of thresholds up to `p` is added, so that no bin contains a threshold.

/// Number of bins.
pub(super) const BINS: usize = (2 * HALF + TWENTIETHS as u32 + 1) as usize;

/// The smallest probability that has another bin than 0.
const LEAST: f32 = 1.0 / (1u64 << 50) as f32;
/// The smallest probability of the finer bins.
const FINE: f32 = 1.0 / (1 << 8) as f32;
/// Bits of the mantissa that are kept below `FINE`, and from `FINE` on.
const KEPT: [u32; 2] = [10, 12];
/// Number of bins below `FINE`, including the one of 0.
const COARSE_BINS: u32 = leading(FINE, KEPT[0]) - leading(LEAST, KEPT[0]) + 1;
/// Number of bins below 0.5.
const HALF: u32 = steps(0.5);
/// The thresholds of the curve are multiples of 1/20.
const TWENTIETHS: f32 = 20.0;

/// The bin of a probability, which must not be NaN. Values outside 0 to 1 are in the first or last bin. Branchless, because
/// branches would often be mispredicted.
#[inline]
pub(super) fn of(p: f32) -> u32 {
    let p = p.clamp(0.0, 1.0).abs();
    // `1 - p` is exact if it is the smaller one: subtracting a value of at least 1/2 from 1 loses no bits.
    let steps = steps(p.min(1.0 - p));
    let bin = if p < 0.5 { steps } else { 2 * HALF - steps };
    bin + thresholds_up_to(p)
}

#[inline]
fn thresholds_up_to(p: f32) -> u32 {
    // Adding 2^23 rounds to an integer, which is then in the lowest bits.
    const WHOLE: f32 = (1 << 23) as f32;
    let nearest = p * TWENTIETHS + WHOLE;
    let threshold = (nearest - WHOLE) / TWENTIETHS;
    nearest.to_bits() - WHOLE.to_bits() - u32::from(p < threshold)
}

/// Number of bins below the one of `x`, which is from 0 to 0.5.
#[inline]
const fn steps(x: f32) -> u32 {
    let below = leading(LEAST, KEPT[0]) - 1;
    let coarse = leading(x, KEPT[0]).saturating_sub(below);
    let fine = leading(x, KEPT[1]).saturating_sub(leading(FINE, KEPT[1])) + COARSE_BINS;
    if x < FINE { coarse } else { fine }
}

#[inline]
const fn leading(x: f32, kept: u32) -> u32 {
    x.to_bits() >> (f32::MANTISSA_DIGITS - 1 - kept)
}

/// The smallest probability in a bin or, if the bin contains none, in the next one that does.
pub(super) fn lower_edge(bin: u32) -> f32 {
    // The bits of positive floating point numbers ascend with their values.
    let (mut low, mut high) = (0, 1f32.to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if of(f32::from_bits(middle)) < bin {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    f32::from_bits(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_in_the_first_bin_and_one_in_the_last() {
        assert_eq!(of(0.0), 0);
        assert_eq!(of(-0.0), 0);
        assert_eq!(of(-3.0), 0);
        assert_eq!(of(1.0), BINS as u32 - 1);
        assert_eq!(of(7.0), BINS as u32 - 1);
    }

    #[test]
    fn every_threshold_is_the_lower_edge_of_a_bin() {
        for twentieths in 1..20 {
            let threshold = (f64::from(twentieths) / 20.0) as f32;
            assert_eq!(lower_edge(of(threshold)), threshold);
            assert!(of(threshold.next_down()) < of(threshold), "{threshold}");
        }
    }

    #[test]
    fn the_largest_numbers_below_one_have_bins_of_their_own() {
        let mut p = 1f32;
        for _ in 0..1000 {
            assert!(of(p.next_down()) < of(p), "{p}");
            p = p.next_down();
        }
    }

    proptest! {
        #[test]
        fn the_bin_ascends_with_the_probability(bits in 0..1f32.to_bits()) {
            let p = f32::from_bits(bits);
            prop_assert!(of(p) <= of(p.next_up()));
            prop_assert!(lower_edge(of(p)) <= p);
            prop_assert_eq!(of(lower_edge(of(p))), of(p));
        }

        #[test]
        fn every_bin_is_narrow(z in -34f32..17.0) {
            let p = 1.0 / (1.0 + (-z).exp());
            let width = p - lower_edge(of(p));
            prop_assert!(width <= p.min(1.0 - p) / 1024.0, "{} at {}", width, p);
        }
    }
}
