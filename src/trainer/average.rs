//! An exponential moving average of the weights (EMA), which often validates better than the weights themselves.

use indexmap::IndexMap;
use tch::{Device, TchError, Tensor};

use super::model::Model;

/// The average of the weights over the steps so far.
#[derive(Debug)]
pub(super) struct AverageWeights {
    decay: f64,
    /// By name of the weight. Running statistics are not averaged: they are averages already.
    weights: IndexMap<String, Tensor>,
}

/// Names in a checkpoint begin with this.
const PREFIX: &str = "average.";

impl AverageWeights {
    /// The average before the first step: the weights of `model`.
    pub(super) fn new(decay: f64, model: &Model) -> Result<Self, TchError> {
        Self::resume(decay, model, |_| None)
    }

    /// The average of a checkpoint. `tensor` returns the saved tensor by name.
    pub(super) fn resume(
        decay: f64,
        model: &Model,
        mut tensor: impl FnMut(&str) -> Option<Tensor>,
    ) -> Result<Self, TchError> {
        let average = |(name, weight): (&str, &Tensor)| {
            let saved = tensor(&format!("{PREFIX}{name}"));
            let average = match saved.filter(|saved| saved.size() == weight.size()) {
                Some(saved) => saved,
                None => weight.f_detach_copy()?,
            };
            Ok((name.to_owned(), average))
        };
        Ok(Self {
            decay,
            weights: model
                .learned()
                .map(average)
                .collect::<Result<_, TchError>>()?,
        })
    }

    /// Adds the weights after a step, the number `step` of those that changed them. The average of the first steps follows
    /// the weights faster, so that it does not keep the random weights at the start.
    pub(super) fn add(&mut self, model: &Model, step: u64) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        for (name, weight) in model.learned() {
            if let Some(average) = self.weights.get_mut(name) {
                let difference = weight.f_sub(average)?;
                let _ = average.f_add_(&difference.f_mul_scalar(1.0 - decay)?)?;
            }
        }
        Ok(())
    }

    /// The network with the average weights.
    pub(super) fn model(&self, model: &Model, device: Device) -> Result<Model, TchError> {
        let weight = |(name, weight): (&String, &Tensor)| {
            let weight = self.weights.get(name).unwrap_or(weight);
            Ok((name.clone(), weight.f_detach_copy()?))
        };
        let weights = model.weights().iter().map(weight);
        let weights = weights.collect::<Result<_, TchError>>()?;
        let mut average = Model::with_weights(model.config(), weights, device)?;
        average.set_kind(model.kind());
        Ok(average)
    }

    /// The average as named tensors, for a checkpoint.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let weights = self.weights.iter();
        weights.map(|(name, weight)| (format!("{PREFIX}{name}"), weight))
    }
}

#[cfg(test)]
mod tests {
    use pointshard::trainer_api::ModelConfig;

    use super::*;

    fn model() -> Model {
        let config: ModelConfig =
            serde_json::from_str(r#"{"feature_maps": [2], "convolutions": 1, "norm": "batch"}"#)
                .unwrap();
        Model::new(&config, 1, Device::Cpu).unwrap()
    }

    fn add_one(model: &Model) {
        let _no_grad = tch::no_grad_guard();
        for weight in model.weights().values() {
            let _ = weight.shallow_clone().g_add_scalar_(1.0);
        }
    }

    #[test]
    fn the_average_follows_the_weights_by_its_decay() {
        let model = model();
        let before = model.weights()["head.weight"].copy();
        let mut average = AverageWeights::new(0.5, &model).unwrap();
        // The decays of the first two steps: 2/11 and 3/12.
        let mut expected = 0.0;
        for (step, decay) in [(1, 2.0 / 11.0), (2, 3.0 / 12.0), (100, 0.5)] {
            add_one(&model);
            average.add(&model, step).unwrap();
            let now = f64::from([1, 2, 3][usize::from(step > 1) + usize::from(step > 2)]);
            expected = decay * expected + (1.0 - decay) * now;
        }
        let averaged = average.model(&model, Device::Cpu).unwrap();
        let moved = (&averaged.weights()["head.weight"] - before).mean(tch::Kind::Double);
        assert!((moved.double_value(&[]) - expected).abs() < 1e-5);
        // Running statistics are those of the model.
        let running = "encoder.0.norm.0.running_mean";
        assert_eq!(averaged.weights()[running], model.weights()[running]);
    }

    #[test]
    fn a_resumed_average_is_the_same() {
        let model = model();
        let mut average = AverageWeights::new(0.9, &model).unwrap();
        add_one(&model);
        average.add(&model, 50).unwrap();
        let state: IndexMap<String, Tensor> = average.state().map(|(n, t)| (n, t.copy())).collect();
        let resumed = AverageWeights::resume(0.9, &model, |name| state.get(name).map(Tensor::copy));
        for (name, weight) in resumed.unwrap().weights {
            assert_eq!(weight, average.weights[&name]);
        }
    }
}
