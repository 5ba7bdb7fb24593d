//! Weighted means.

use std::ops::{AddAssign, Mul};

use super::axis::WeightedAxis;
use super::stage::Stage;
use crate::config::Rounding;
use crate::data_type::{DataType, with_type};
use crate::voxels::cast::Cast;

/// Sums of integers up to this are exact in `f64`, and a quotient of two of them that is not an integer is not rounded to
/// one.
const EXACT: f64 = (1u64 << 53) as f64;

/// Where sums are not exact, a mean whose relative distance to an integer is at most this is that integer.
const NEAR: f64 = 1.0 / (1u64 << 38) as f64;

/// Computes the voxels of `stage`, in the layout of [`Stage`].
pub(crate) fn run(
    stage: &Stage,
    rounding: Rounding,
    data_type: DataType,
    channels: usize,
    source: &[u8],
    out: &mut [u8],
) {
    let largest_total: f64 = stage.axes.iter().map(WeightedAxis::largest_total).product();
    let largest_sum = largest_total * 2f64.powi(8 * data_type.size_bytes() as i32);
    let truncate = rounding == Rounding::Truncate && !data_type.is_float();
    // Sums of integers that `f32` holds exactly: a vector has twice as many of them.
    let fits_f32 = !data_type.is_float() && largest_sum <= 2f64.powi(24);
    with_type!(data_type, T => {
        let from_mean = |mean: f64| {
            let (value, _): (T, bool) = if truncate {
                truncated(mean, largest_sum <= EXACT).cast()
            } else {
                mean.cast()
            };
            value.to_le_bytes()
        };
        if fits_f32 {
            let value = |v| -> f32 { T::from_le_bytes(v).cast().0 };
            mean_in(stage, channels, source, out, value, |w| w as f32, from_mean);
        } else {
            let value = |v| -> f64 { T::from_le_bytes(v).cast().0 };
            mean_in(stage, channels, source, out, value, |w| w, from_mean);
        }
    });
}

/// Adds up in numbers `A`: along y and z whole rows at a time, then along x.
fn mean_in<const N: usize, A>(
    stage: &Stage,
    channels: usize,
    source: &[u8],
    out: &mut [u8],
    value: impl Fn([u8; N]) -> A,
    weight: impl Fn(f64) -> A,
    from_mean: impl Fn(f64) -> [u8; N],
) where
    A: Copy + Default + Into<f64> + Mul<Output = A> + AddAssign,
{
    let ((source, _), (out, _)) = (source.as_chunks::<N>(), out.as_chunks_mut::<N>());
    let [x, y, z] = &stage.axes;
    let x_weights: Vec<A> = x.weights.iter().map(|w| weight(*w)).collect();
    let mut sums = vec![A::default(); (x.source.end - x.source.start) as usize];
    for row in stage.rows(channels) {
        sums.fill(A::default());
        for (from, [of_y, of_z]) in stage.source_rows(&row) {
            let by = weight(y.weights[of_y] * z.weights[of_z]);
            for (sum, v) in sums.iter_mut().zip(&source[from]) {
                *sum += value(*v) * by;
            }
        }
        let total = y.spans[row.y].total * z.spans[row.z].total;
        for (to, span) in out[row.out].iter_mut().zip(&x.spans) {
            let mut sum = A::default();
            let weights = &x_weights[span.weights.clone()];
            for (v, by) in sums[span.first..].iter().zip(weights) {
                sum += *v * *by;
            }
            *to = from_mean(sum.into() / (total * span.total));
        }
    }
}

/// The truncated mean of integers of at most 32 bits.
fn truncated(mean: f64, exact: bool) -> i64 {
    // A conversion is one instruction; `trunc` is a call on processors without an instruction for it.
    let whole = mean as i64;
    if exact {
        return whole;
    }
    let nearest = mean.round_ties_even();
    if (mean - nearest).abs() <= nearest.abs() * NEAR {
        nearest as i64
    } else {
        whole
    }
}
