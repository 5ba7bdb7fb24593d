//! Adam, AdamW and RAdam with a state that can be saved. The optimizers of libtorch don't expose their state, so a
//! resumed training would not continue exactly. The formulas are those of `torch.optim`: a step equals a step of PyTorch.

use indexmap::IndexMap;
use pointshard::trainer_api::{Algorithm, OptimizerConfig};
use tch::{Kind, TchError, Tensor};

/// Scales the gradients of the weights so that their norm, that of all together, is at most `norm`, as
/// `torch.nn.utils.clip_grad_norm_` does.
pub(super) fn clip_gradients<'a>(
    weights: impl Iterator<Item = (&'a str, &'a Tensor)>,
    norm: f64,
) -> Result<(), TchError> {
    let _no_grad = tch::no_grad_guard();
    let mut gradients = Vec::new();
    for (_, weight) in weights {
        let gradient = weight.f_grad()?;
        if gradient.defined() {
            gradients.push(gradient);
        }
    }
    let squares = gradients.iter().map(|g| g.f_square()?.f_sum(Kind::Float));
    let squares = squares.collect::<Result<Vec<_>, _>>()?;
    if squares.is_empty() {
        return Ok(());
    }
    let found = Tensor::f_stack(&squares, 0)?.f_sum(Kind::Float)?.f_sqrt()?;
    let factor = found
        .f_add_scalar(1e-6)?
        .f_reciprocal()?
        .f_mul_scalar(norm)?;
    let factor = factor.f_clamp_max(1.0)?;
    for gradient in &mut gradients {
        let _ = gradient.f_mul_(&factor)?;
    }
    Ok(())
}

/// An optimizer with its state.
#[derive(Debug)]
pub(super) struct Optimizer {
    config: OptimizerConfig,
    /// Number of steps so far.
    steps: u64,
    /// By name of the weight: the running means of its gradient and of the square of its gradient.
    moments: IndexMap<String, [Tensor; 2]>,
}

/// Names of the moments of a weight in a checkpoint, as in PyTorch.
const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

impl Optimizer {
    /// An optimizer before its first step.
    pub(super) fn new(config: &OptimizerConfig) -> Self {
        Self {
            config: config.clone(),
            steps: 0,
            moments: IndexMap::new(),
        }
    }

    /// Number of steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Updates every weight that has a gradient with the learning rate `lr`, and resets the gradients.
    pub(super) fn step<'a>(
        &mut self,
        weights: impl Iterator<Item = (&'a str, &'a Tensor)>,
        lr: f64,
    ) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        self.steps += 1;
        for (name, weight) in weights {
            let mut grad = weight.f_grad()?;
            if !grad.defined() {
                continue;
            }
            self.update(name, weight, &grad, lr)?;
            let _ = grad.f_detach_()?;
            let _ = grad.f_zero_()?;
        }
        Ok(())
    }

    fn update(
        &mut self,
        name: &str,
        weight: &Tensor,
        grad: &Tensor,
        lr: f64,
    ) -> Result<(), TchError> {
        let [beta1, beta2] = self.config.betas;
        let mut weight = weight.shallow_clone();
        let grad = self.decay(&mut weight, grad, lr)?;
        if !self.moments.contains_key(name) {
            let zeros = [grad.f_zeros_like()?, grad.f_zeros_like()?];
            self.moments.insert(name.to_owned(), zeros);
        }
        let [mean, square] = &mut self.moments[name];
        let _ = mean.f_mul_scalar_(beta1)?;
        let _ = mean.f_add_(&grad.f_mul_scalar(1.0 - beta1)?)?;
        let _ = square.f_mul_scalar_(beta2)?;
        let _ = square.f_add_(&grad.f_mul(&grad)?.f_mul_scalar(1.0 - beta2)?)?;
        let correction = 1.0 - beta1.powf(self.steps as f64);
        let step = self.direction(&self.moments[name])?;
        let _ = weight.f_sub_(&step.f_mul_scalar(lr / correction)?)?;
        Ok(())
    }

    /// Applies weight decay to the weight or, by algorithm, to the gradient; returns the gradient.
    fn decay(&self, weight: &mut Tensor, grad: &Tensor, lr: f64) -> Result<Tensor, TchError> {
        let decay = self.config.weight_decay();
        match self.config.name {
            _ if decay == 0.0 => Ok(grad.shallow_clone()),
            Algorithm::Adam | Algorithm::Radam if !self.config.decouples() => {
                grad.f_add(&weight.f_mul_scalar(decay)?)
            }
            _ => {
                let _ = weight.f_mul_scalar_(1.0 - lr * decay)?;
                Ok(grad.shallow_clone())
            }
        }
    }

    /// The step, before the learning rate and the correction of the mean.
    fn direction(&self, [mean, square]: &[Tensor; 2]) -> Result<Tensor, TchError> {
        let OptimizerConfig {
            eps,
            betas: [_, beta2],
            ..
        } = self.config;
        let t = self.steps as f64;
        let correction = 1.0 - beta2.powf(t);
        if self.config.name != Algorithm::Radam {
            let root = square.f_sqrt()?.f_div_scalar(correction.sqrt())?;
            return mean.f_div(&root.f_add_scalar(eps)?);
        }
        let longest = 2.0 / (1.0 - beta2) - 1.0;
        let length = longest - 2.0 * t * beta2.powf(t) / correction;
        if length <= 5.0 {
            return Ok(mean.shallow_clone());
        }
        let rectified = ((length - 4.0) * (length - 2.0) * longest
            / ((longest - 4.0) * (longest - 2.0) * length))
            .sqrt();
        let root = square.f_sqrt()?.f_add_scalar(eps)?;
        mean.f_div(&root)?
            .f_mul_scalar(rectified * correction.sqrt())
    }

    /// The state as named tensors, for a checkpoint.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.moments.iter().flat_map(|(name, moments)| {
            let named = MOMENTS.iter().zip(moments);
            named.map(move |(moment, tensor)| (format!("optimizer.{moment}.{name}"), tensor))
        })
    }

    /// Resumes after `steps` steps. `tensor` returns the saved state by name.
    pub(super) fn resume(
        config: &OptimizerConfig,
        steps: u64,
        weights: impl Iterator<Item = String>,
        mut tensor: impl FnMut(&str) -> Option<Tensor>,
    ) -> Self {
        let mut moments = IndexMap::new();
        for name in weights {
            let saved = MOMENTS.map(|moment| tensor(&format!("optimizer.{moment}.{name}")));
            if let [Some(mean), Some(square)] = saved {
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

    fn config(name: Algorithm) -> OptimizerConfig {
        OptimizerConfig {
            name,
            lr: 0.1,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: None,
            decoupled_weight_decay: false,
        }
    }

    /// The weight after each step of minimizing `(w - 3)^2`.
    fn minimize(optimizer: &mut Optimizer, weight: &Tensor, steps: usize) -> Vec<f64> {
        let step = |_| {
            let loss = (weight - 3.0).square();
            loss.backward();
            optimizer.step([("w", weight)].into_iter(), 0.1).unwrap();
            weight.double_value(&[])
        };
        (0..steps).map(step).collect()
    }

    fn weight(value: f32) -> Tensor {
        Tensor::from(value).set_requires_grad(true)
    }

    #[test]
    fn every_algorithm_finds_the_minimum() {
        for algorithm in [Algorithm::Adam, Algorithm::Adamw, Algorithm::Radam] {
            let mut optimizer = Optimizer::new(&config(algorithm));
            let last = minimize(&mut optimizer, &weight(0.0), 400).pop().unwrap();
            assert!((last - 3.0).abs() < 0.1, "{algorithm:?}: {last}");
        }
    }

    #[test]
    fn the_first_step_of_adam_is_the_learning_rate() {
        let mut optimizer = Optimizer::new(&config(Algorithm::Adam));
        let first = minimize(&mut optimizer, &weight(0.0), 1)[0];
        assert!((first - 0.1).abs() < 1e-6, "{first}");
    }

    #[test]
    fn resuming_from_a_saved_state_gives_the_same_steps() {
        for algorithm in [Algorithm::Adam, Algorithm::Adamw, Algorithm::Radam] {
            let whole = minimize(&mut Optimizer::new(&config(algorithm)), &weight(0.0), 12);
            let mut first = Optimizer::new(&config(algorithm));
            let w = weight(0.0);
            let mut found = minimize(&mut first, &w, 7);
            let state: IndexMap<String, Tensor> =
                first.state().map(|(n, t)| (n, t.shallow_clone())).collect();
            let names = ["w".to_owned()].into_iter();
            let mut second = Optimizer::resume(&config(algorithm), first.steps(), names, |name| {
                state.get(name).map(Tensor::shallow_clone)
            });
            found.extend(minimize(&mut second, &w, 5));
            assert_eq!(found, whole, "{algorithm:?}");
        }
    }
}
