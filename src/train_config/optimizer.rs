//! The optimizer: algorithm, learning rate and weight decay.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Name of the algorithm.
    #[serde(default)]
    pub name: Algorithm,
    /// Learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr: f64,
    /// Decay rates of the running means of the gradients and of their squares.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the denominator for numerical stability.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Weight decay. The defaults are those of PyTorch: 0.01 for AdamW, 0 for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// With `radam`: weight decay is decoupled from the gradient, as in AdamW.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decoupled_weight_decay: bool,
}

/// An optimization algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Adam (Kingma and Ba 2015); weight decay is added to the gradient.
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
    /// Rectified Adam (Liu et al. 2020).
    Radam,
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

impl OptimizerConfig {
    pub(super) fn problem(&self) -> Option<(String, String)> {
        let wrong = |path: &str, found: f64, expected: &str| {
            Some((path.into(), format!("found {found}, expected {expected}")))
        };
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return wrong("lr", self.lr, "a number above 0");
        }
        if let Some(beta) = self.betas.iter().find(|b| !(0.0..1.0).contains(*b)) {
            return wrong("betas", *beta, "numbers from 0 to below 1");
        }
        if self.decoupled_weight_decay && self.name != Algorithm::Radam {
            let problem =
                "found true, expected it only with `radam`; `adamw` always decouples, `adam` never";
            return Some(("decoupled_weight_decay".into(), problem.into()));
        }
        let decay = self.weight_decay.unwrap_or_default();
        for (path, value) in [("eps", self.eps), ("weight_decay", decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(path, value, "a number of at least 0");
            }
        }
        None
    }

    /// Whether weight decay is decoupled from the gradient.
    pub fn decouples(&self) -> bool {
        self.name == Algorithm::Adamw || self.decoupled_weight_decay
    }

    /// The weight decay, or the default of the algorithm.
    pub fn weight_decay(&self) -> f64 {
        let default = if self.name == Algorithm::Adamw {
            0.01
        } else {
            0.0
        };
        self.weight_decay.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: Algorithm) -> OptimizerConfig {
        OptimizerConfig {
            name,
            lr: 0.1,
            betas: default_betas(),
            eps: default_eps(),
            weight_decay: None,
            decoupled_weight_decay: false,
        }
    }

    #[test]
    fn the_default_weight_decay_is_that_of_pytorch() {
        assert_eq!(config(Algorithm::Adam).weight_decay(), 0.0);
        assert_eq!(config(Algorithm::Adamw).weight_decay(), 0.01);
        assert_eq!(config(Algorithm::Radam).weight_decay(), 0.0);
    }

    #[test]
    fn an_error_about_a_number_names_the_key() {
        let with = |change: fn(&mut OptimizerConfig)| {
            let mut config = config(Algorithm::Adam);
            change(&mut config);
            config.problem().map(|p| p.0)
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|c| c.lr = 0.0).as_deref(), Some("lr"));
        assert_eq!(with(|c| c.lr = f64::NAN).as_deref(), Some("lr"));
        assert_eq!(with(|c| c.betas = [0.9, 1.0]).as_deref(), Some("betas"));
        assert_eq!(with(|c| c.eps = -1.0).as_deref(), Some("eps"));
        assert_eq!(
            with(|c| c.weight_decay = Some(-1.0)).as_deref(),
            Some("weight_decay")
        );
    }
}
