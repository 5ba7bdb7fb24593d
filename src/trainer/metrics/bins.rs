//! Bins of probabilities: fine where networks are sure, next to 0 and to 1, and bounded by the curve's thresholds.
//!
//! A probability comes in, the number of its bin goes out; bins ascend with probability. The bin is the leading bits of
//! the floating point number that is the smaller of `p` and `1 - p`, which are even steps to each halving of it: 4,096
//! down to 2^-8, as a network that has learnt little says nearly the same everywhere, and 1,024 from there to 2^-50, as
//! one that has learnt much is sure. To it is added the number of thresholds that are not above `p`, so that no bin lies
//! across one.

/// Number of bins.
pub(super) const BINS: usize = (2 * HALF + TWENTIETHS as u32 + 1) as usize;

/// The smallest probability but 0 that is told from 0.
const LEAST: f32 = 1.0 / (1u64 << 50) as f32;
/// The smallest probability of the finer bins.
const FINE: f32 = 1.0 / (1 << 8) as f32;
/// Bits of the mantissa that are kept below `FINE`, and from there on.
const KEPT: [u32; 2] = [10, 12];
/// Bins below `FINE`, that of 0 among them.
const COARSE_BINS: u32 = leading(FINE, KEPT[0]) - leading(LEAST, KEPT[0]) + 1;
/// Bins below 0.5.
const HALF: u32 = steps(0.5);
/// The curve's thresholds are the twentieths.
const TWENTIETHS: f32 = 20.0;

/// The bin of a probability that is a number; of those outside 0 to 1, the first or the last. Free of branches, as
/// processors would often guess wrong.
#[inline]
pub(super) fn of(p: f32) -> u32 {
    let p = p.clamp(0.0, 1.0).abs();
    // Exact where it is the smaller: `f32` loses nothing by subtracting from 1 what is at least a half of it.
    let steps = steps(p.min(1.0 - p));
    let bin = if p < 0.5 { steps } else { 2 * HALF - steps };
    bin + thresholds_up_to(p)
}

#[inline]
fn thresholds_up_to(p: f32) -> u32 {
    // Adding 2^23 rounds to a whole number and leaves it in the lowest bits.
    const WHOLE: f32 = (1 << 23) as f32;
    let nearest = p * TWENTIETHS + WHOLE;
    let threshold = (nearest - WHOLE) / TWENTIETHS;
    nearest.to_bits() - WHOLE.to_bits() - u32::from(p < threshold)
}

/// Bins below that of `x`, which is 0 to 0.5.
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

/// The smallest probability of a bin, or of the next that has any.
pub(super) fn lower_edge(bin: u32) -> f32 {
    // Bits of positive floating point numbers ascend with the numbers.
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
    fn the_ends_are_the_first_and_the_last_bin() {
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
    fn the_last_steps_below_one_have_their_own_bins() {
        let mut p = 1f32;
        for _ in 0..1000 {
            assert!(of(p.next_down()) < of(p), "{p}");
            p = p.next_down();
        }
    }

    proptest! {
        #[test]
        fn bins_ascend_with_probability(bits in 0..1f32.to_bits()) {
            let p = f32::from_bits(bits);
            prop_assert!(of(p) <= of(p.next_up()));
            prop_assert!(lower_edge(of(p)) <= p);
            prop_assert_eq!(of(lower_edge(of(p))), of(p));
        }

        #[test]
        fn a_bin_is_narrow(z in -34f32..17.0) {
            let p = 1.0 / (1.0 + (-z).exp());
            let width = p - lower_edge(of(p));
            prop_assert!(width <= p.min(1.0 - p) / 1024.0, "{} at {}", width, p);
        }
    }
}
