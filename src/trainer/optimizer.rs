//! Adam, AdamW and RAdam, with a state that can be saved. libtorch's own are not used: they keep their state to
//! themselves, and a training that is resumed would not go on as if nothing had happened. The formulas are those of
//! PyTorch's `torch.optim`, so that a step equals PyTorch's.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// How weights move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// By which rule.
    #[serde(default)]
    pub name: Rule,
    /// Learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr: f64,
    /// Decay of the running means of gradients and of their squares.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Keeps the division by small gradients small.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decay of the weights; 0.01 with AdamW, none with the others by default, as in PyTorch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

/// An optimizer's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
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
        let decay = self.weight_decay.unwrap_or_default();
        for (path, value) in [("eps", self.eps), ("weight_decay", decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(path, value, "a number of at least 0");
            }
        }
        None
    }

    fn weight_decay(&self) -> f64 {
        let by_rule = if self.name == Rule::Adamw { 0.01 } else { 0.0 };
        self.weight_decay.unwrap_or(by_rule)
    }
}

/// An optimizer with its state.
#[derive(Debug)]
pub(super) struct Optimizer {
    config: OptimizerConfig,
    /// Steps that were made.
    steps: u64,
    /// By weight: the running means of its gradient and of its gradient's square.
    moments: IndexMap<String, [Tensor; 2]>,
}

/// Names of a weight's moments in a saved state, as PyTorch calls them.
const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

impl Optimizer {
    /// Before the first step.
    pub(super) fn new(config: &OptimizerConfig) -> Self {
        Self {
            config: config.clone(),
            steps: 0,
            moments: IndexMap::new(),
        }
    }

    /// Steps that were made.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves every weight that has a gradient, and forgets the gradients.
    pub(super) fn step<'a>(
        &mut self,
        weights: impl Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        self.steps += 1;
        for (name, weight) in weights {
            let mut grad = weight.f_grad()?;
            if !grad.defined() {
                continue;
            }
            self.move_one(name, weight, &grad)?;
            let _ = grad.f_detach_()?;
            let _ = grad.f_zero_()?;
        }
        Ok(())
    }

    fn move_one(&mut self, name: &str, weight: &Tensor, grad: &Tensor) -> Result<(), TchError> {
        let OptimizerConfig {
            lr,
            eps,
            betas: [beta1, beta2],
            ..
        } = self.config;
        let decay = self.config.weight_decay();
        let mut weight = weight.shallow_clone();
        let grad = match self.config.name {
            _ if decay == 0.0 => grad.shallow_clone(),
            Rule::Adamw => {
                let _ = weight.f_mul_scalar_(1.0 - lr * decay)?;
                grad.shallow_clone()
            }
            Rule::Adam | Rule::Radam => grad.f_add(&weight.f_mul_scalar(decay)?)?,
        };
        if !self.moments.contains_key(name) {
            let zeros = [grad.f_zeros_like()?, grad.f_zeros_like()?];
            self.moments.insert(name.to_owned(), zeros);
        }
        let [mean, square] = &mut self.moments[name];
        let _ = mean.f_mul_scalar_(beta1)?;
        let _ = mean.f_add_(&grad.f_mul_scalar(1.0 - beta1)?)?;
        let _ = square.f_mul_scalar_(beta2)?;
        let _ = square.f_add_(&grad.f_mul(&grad)?.f_mul_scalar(1.0 - beta2)?)?;
        let t = self.steps as f64;
        let (correction1, correction2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
        let step = match self.config.name {
            Rule::Adam | Rule::Adamw => {
                let root = square.f_sqrt()?.f_div_scalar(correction2.sqrt())?;
                mean.f_div(&root.f_add_scalar(eps)?)?
            }
            Rule::Radam => {
                let longest = 2.0 / (1.0 - beta2) - 1.0;
                let length = longest - 2.0 * t * beta2.powf(t) / correction2;
                match length > 5.0 {
                    false => mean.shallow_clone(),
                    true => {
                        let rectified = ((length - 4.0) * (length - 2.0) * longest
                            / ((longest - 4.0) * (longest - 2.0) * length))
                            .sqrt();
                        let root = square.f_sqrt()?.f_add_scalar(eps)?;
                        mean.f_div(&root)?
                            .f_mul_scalar(rectified * correction2.sqrt())?
                    }
                }
            }
        };
        let _ = weight.f_sub_(&step.f_mul_scalar(lr / correction1)?)?;
        Ok(())
    }

    /// The state by name, for a checkpoint.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.moments.iter().flat_map(|(name, moments)| {
            let named = MOMENTS.iter().zip(moments);
            named.map(move |(moment, tensor)| (format!("optimizer.{moment}.{name}"), tensor))
        })
    }

    /// Goes on after `steps` steps with the state that was saved: `tensor` gives it by name.
    pub(super) fn resume(
        config: &OptimizerConfig,
        steps: u64,
        weights: impl Iterator<Item = String>,
        mut tensor: impl FnMut(&str) -> Option<Tensor>,
    ) -> Self {
        let mut moments = IndexMap::new();
        for name in weights {
            let both = MOMENTS.map(|moment| tensor(&format!("optimizer.{moment}.{name}")));
            if let [Some(mean), Some(square)] = both {
                moments.insert(name, [mean, square]);
            }
        }
        Self {
            config: config.clone(),
            steps,
            moments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: Rule) -> OptimizerConfig {
        OptimizerConfig {
            name,
            lr: 0.1,
            betas: default_betas(),
            eps: default_eps(),
            weight_decay: None,
        }
    }

    /// The weight after every step towards the least of `(w - 3)^2`.
    fn walk(optimizer: &mut Optimizer, weight: &Tensor, steps: usize) -> Vec<f64> {
        let step = |_| {
            let loss = (weight - 3.0).square();
            loss.backward();
            optimizer.step([("w", weight)].into_iter()).unwrap();
            weight.double_value(&[])
        };
        (0..steps).map(step).collect()
    }

    fn weight(value: f32) -> Tensor {
        Tensor::from(value).set_requires_grad(true)
    }

    #[test]
    fn every_rule_finds_the_least_loss() {
        for rule in [Rule::Adam, Rule::Adamw, Rule::Radam] {
            let mut optimizer = Optimizer::new(&config(rule));
            let last = walk(&mut optimizer, &weight(0.0), 400).pop().unwrap();
            assert!((last - 3.0).abs() < 0.1, "{rule:?}: {last}");
        }
    }

    #[test]
    fn the_first_step_of_adam_is_the_learning_rate() {
        let mut optimizer = Optimizer::new(&config(Rule::Adam));
        let first = walk(&mut optimizer, &weight(0.0), 1)[0];
        assert!((first - 0.1).abs() < 1e-6, "{first}");
    }

    #[test]
    fn a_saved_state_goes_on_as_if_nothing_had_happened() {
        for rule in [Rule::Adam, Rule::Adamw, Rule::Radam] {
            let whole = walk(&mut Optimizer::new(&config(rule)), &weight(0.0), 12);
            let mut first = Optimizer::new(&config(rule));
            let w = weight(0.0);
            let mut found = walk(&mut first, &w, 7);
            let state: IndexMap<String, Tensor> =
                first.state().map(|(n, t)| (n, t.shallow_clone())).collect();
            let names = ["w".to_owned()].into_iter();
            let mut second = Optimizer::resume(&config(rule), first.steps(), names, |name| {
                state.get(name).map(Tensor::shallow_clone)
            });
            found.extend(walk(&mut second, &w, 5));
            assert_eq!(found, whole, "{rule:?}");
        }
    }

    #[test]
    fn weight_decay_is_that_of_pytorch() {
        assert_eq!(config(Rule::Adam).weight_decay(), 0.0);
        assert_eq!(config(Rule::Adamw).weight_decay(), 0.01);
        assert_eq!(config(Rule::Radam).weight_decay(), 0.0);
    }

    #[test]
    fn impossible_numbers_are_refused_by_key() {
        let with = |change: fn(&mut OptimizerConfig)| {
            let mut config = config(Rule::Adam);
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
