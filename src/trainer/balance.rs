//! The weights of the classes of a channel: ones and zeros of its target.

use pointshard::trainer_api::Balance;
use tch::{Kind, TchError, Tensor};

/// The weight of each element of `targets`, 0 or 1, without that of the `mask`. Fractions are clipped to `clip` to
/// 1 - `clip`. `None` if all are 1.
pub(super) fn weights(
    balance: Balance,
    targets: &Tensor,
    mask: &Tensor,
    clip: f64,
) -> Result<Option<Tensor>, TchError> {
    let counts = match balance {
        Balance::ByShare => mask.f_ne(0.0)?.f_to_kind(Kind::Float)?,
        _ => mask.shallow_clone(),
    };
    let fractions = || -> Result<[Tensor; 2], TchError> {
        let ones = targets.f_mul(&counts)?.f_sum(Kind::Float)?;
        let all = counts.f_sum(Kind::Float)?;
        let zeros = all.f_sub(&ones)?;
        let all = match balance {
            Balance::ByShare => all.f_clamp_min(1.0)?,
            _ => all.f_add_scalar(1.0)?,
        };
        let clipped = |n: Tensor| n.f_div(&all)?.f_clamp(clip, 1.0 - clip);
        Ok([clipped(ones)?, clipped(zeros)?])
    };
    let [of_ones, of_zeros] = match balance {
        Balance::None => return Ok(None),
        Balance::ByShare => {
            // Without a voxel that counts, both fractions are 0; then zeros have the smaller weight.
            let [ones, _] = fractions()?;
            let others = ones.f_neg()?.f_add_scalar(1.0)?;
            [others.f_clamp(clip, 1.0 - clip)?, ones]
        }
        Balance::Default => {
            let [ones, zeros] = fractions()?;
            [zeros.f_mul_scalar(2.0)?, ones.f_mul_scalar(2.0)?]
        }
        Balance::Frequency => {
            let [ones, zeros] = fractions()?;
            let inverse = |f: Tensor| f.f_reciprocal()?.f_mul_scalar(0.5);
            [inverse(ones)?, inverse(zeros)?]
        }
        Balance::Fixed(weights) => {
            let scalar = |w: f64| Tensor::f_full([], w, (Kind::Float, targets.device()));
            [scalar(weights.ones)?, scalar(weights.zeros)?]
        }
    };
    let zeros = targets.f_neg()?.f_add_scalar(1.0)?;
    let weights = (targets.f_mul(&of_ones)?).f_add(&zeros.f_mul(&of_zeros)?)?;
    Ok(Some(weights))
}

#[cfg(test)]
mod tests {
    use pointshard::trainer_api::ClassWeights;

    use super::*;

    /// The weights of ones and of zeros for one 1 and three 0s, of which the last does not count.
    fn weights(balance: Balance, mask: [f32; 4], clip: f64) -> [f64; 2] {
        let targets = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 0.0]);
        let weights = super::weights(balance, &targets, &Tensor::from_slice(&mask), clip);
        let weights = weights.unwrap().unwrap();
        [0, 1].map(|i| weights.double_value(&[i]))
    }

    fn assert_close(found: [f64; 2], expected: [f64; 2]) {
        for (f, e) in found.into_iter().zip(expected) {
            assert!((f - e).abs() < 1e-6, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn each_rule_gives_the_weights_of_its_formula() {
        let mask = [0.5, 1.0, 2.0, 0.0];
        // Three voxels count, one of them is 1.
        assert_close(weights(Balance::ByShare, mask, 0.1), [2.0 / 3.0, 1.0 / 3.0]);
        // Weights: 0.5 for ones, 3 for zeros, and 1 is added to their sum.
        let (ones, zeros) = (0.5 / 4.5, 3.0 / 4.5);
        assert_close(
            weights(Balance::Default, mask, 0.1),
            [2.0 * zeros, 2.0 * ones],
        );
        assert_close(
            weights(Balance::Frequency, mask, 0.1),
            [0.5 / ones, 0.5 / zeros],
        );
        assert_close(weights(Balance::Default, mask, 0.2), [2.0 * zeros, 0.4]);
        let fixed = Balance::Fixed(ClassWeights {
            ones: 3.0,
            zeros: 0.5,
        });
        assert_close(weights(fixed, mask, 0.1), [3.0, 0.5]);
        let ones = Tensor::from_slice(&[1.0f32]);
        let none = super::weights(Balance::None, &ones, &ones, 0.1);
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn without_a_voxel_that_counts_the_fractions_are_clipped() {
        assert_close(weights(Balance::ByShare, [0.0; 4], 0.1), [0.9, 0.1]);
        assert_close(weights(Balance::Default, [0.0; 4], 0.1), [0.2, 0.2]);
        assert_close(weights(Balance::Frequency, [0.0; 4], 0.1), [5.0, 5.0]);
    }
}
