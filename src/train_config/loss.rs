//! The loss: masked binary cross-entropy per channel, and which voxels count.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::balance::Balance;

/// The loss function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// How the classes of a channel are weighted. With `true` the weight of ones is the fraction of zeros among the elements
    /// that count in the batch, and the other way round.
    pub balance: Balance,
    /// The fractions of the classes are clipped to the range from this to 1 minus this.
    #[schemars(range(min = 0, max = 0.5))]
    pub balance_clip: f64,
    /// How the losses of the elements are reduced.
    pub reduction: Reduction,
    /// With `mean`: the divisor is at least this fraction of all elements, so that a batch that is mostly masked out has
    /// less weight than a full one.
    #[schemars(range(min = 0, max = 1))]
    pub mean_reduction_clip: f64,
    /// Number of voxels to ignore at either side of each window, x, y, z.
    pub crop_pad: [u32; 3],
    /// Ignore voxels where the image is 0, that is, without data.
    pub mask_on_zeros: bool,
    /// Weights for averaging the channels; without them, the channels are summed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_weights: Option<Vec<f64>>,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            balance: Balance::None,
            balance_clip: 0.1,
            reduction: Reduction::Mean,
            mean_reduction_clip: 0.1,
            crop_pad: [0; 3],
            mask_on_zeros: false,
            channel_weights: None,
        }
    }
}

/// How the losses of the elements are reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Sum of the elements.
    Sum,
    /// Mean of the elements that count.
    #[default]
    Mean,
}

impl LossConfig {
    /// Fails if no voxel of windows of `[z, y, x]` voxels would count: the config key at fault, and the problem.
    pub fn problem_with(&self, [z, y, x]: [usize; 3]) -> Option<(String, String)> {
        let pad = self.crop_pad.map(u64::from);
        let window = [x, y, z].map(|n| n as u64);
        let fits = pad.iter().zip(window).all(|(pad, n)| 2 * pad < n);
        (!fits).then(|| {
            let problem = format!(
                "found {pad:?}, expected less than half of the window ({x} x {y} x {z} voxels), so that some voxels count"
            );
            ("loss.crop_pad".to_owned(), problem)
        })
    }

    /// The key and the problem there, for that many targets.
    pub fn problem(&self, targets: usize) -> Option<(String, String)> {
        let invalid = |path: &str, problem: String| Some((path.to_owned(), problem));
        if let Some(problem) = self.balance.problem() {
            return invalid("balance", problem);
        }
        if !(0.0..=0.5).contains(&self.balance_clip) {
            let found = self.balance_clip;
            return invalid(
                "balance_clip",
                format!("found {found}, expected a number from 0 to 0.5"),
            );
        }
        if !(0.0..=1.0).contains(&self.mean_reduction_clip) {
            let found = self.mean_reduction_clip;
            return invalid(
                "mean_reduction_clip",
                format!("found {found}, expected a number from 0 to 1"),
            );
        }
        if let Some(weights) = &self.channel_weights {
            let usable = weights.iter().all(|w| w.is_finite() && *w >= 0.0)
                && weights.iter().sum::<f64>() > 0.0;
            if weights.len() != targets || !usable {
                return invalid(
                    "channel_weights",
                    format!(
                        "found {weights:?}, expected {targets} weight(s), one per target, none below 0 and not all 0"
                    ),
                );
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_that_covers_the_window_is_an_error() {
        let padded = |crop_pad| LossConfig {
            crop_pad,
            ..LossConfig::default()
        };
        assert_eq!(padded([1, 0, 0]).problem_with([1, 2, 3]), None);
        let (key, problem) = padded([1, 1, 0]).problem_with([1, 2, 3]).unwrap();
        assert_eq!(key, "loss.crop_pad");
        assert!(problem.contains("found [1, 1, 0]") && problem.contains("3 x 2 x 1"));
        assert!(padded([u32::MAX; 3]).problem_with([1, 2, 3]).is_some());
    }
}
