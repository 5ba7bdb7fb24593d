//! UNet3D: the network. It computes logits from windows, of the same size.
//!
//! Each level is a block of convolutions, each followed by a norm and an activation. Between levels, a convolution with
//! kernel = stride downsamples and a transposed convolution upsamples. The decoder combines its input with the output of
//! the encoder at the same level, by sum or by concatenation. In a residual network, the input of each block is added to
//! its output before the last activation. A convolution with a kernel of one voxel computes the logits. The weights have
//! the names of the same network in PyTorch (see docs/train.md), so that either side can load the weights of the other.

mod architecture;
mod layout;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;
use pointshard::trainer_api::{Activation, ModelConfig, Norm};
use tch::{Device, Kind, TchError, Tensor};

use layout::InitialValue;

pub(super) use architecture::{Operations, follow};

/// A network with its weights.
#[derive(Debug)]
pub(super) struct Model {
    config: ModelConfig,
    weights: IndexMap<String, Tensor>,
    /// Data type of convolutions.
    kind: Kind,
}

/// Held while random numbers are drawn.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Added to the variance in norms.
pub(super) const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

impl Model {
    /// An untrained network. The seed determines its weights, on every device.
    pub(super) fn new(config: &ModelConfig, seed: u64, device: Device) -> Result<Self, TchError> {
        // The generator is that of the whole process: networks are made one after the other.
        let _generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(seed as i64);
        let mut weights = IndexMap::new();
        for (name, (shape, initial)) in layout::weights(config) {
            let float = (Kind::Float, Device::Cpu);
            let weight = match initial {
                InitialValue::Zeros => Tensor::f_zeros(&shape, float)?,
                InitialValue::Ones => Tensor::f_ones(&shape, float)?,
                InitialValue::Running(value) => Tensor::f_full(&shape, value, float)?,
                InitialValue::HeNormal(inputs) => {
                    let deviation = (2.0 / inputs as f64).sqrt();
                    Tensor::f_randn(&shape, float)?.f_mul_scalar(deviation)?
                }
            };
            weights.insert(name, weight);
        }
        Self::with_weights(config, weights, device)
    }

    /// The network with these weights, which must match [`Model::names_and_shapes`].
    pub(super) fn with_weights(
        config: &ModelConfig,
        weights: IndexMap<String, Tensor>,
        device: Device,
    ) -> Result<Self, TchError> {
        let mut model = Self {
            config: config.clone(),
            weights: IndexMap::new(),
            kind: Kind::Float,
        };
        for (name, weight) in weights {
            let weight = weight.f_to_device(device)?.f_detach()?;
            let is_learned = !name.contains(".running_");
            let weight = weight.f_set_requires_grad(is_learned)?;
            model.weights.insert(name, weight);
        }
        Ok(model)
    }

    /// Names and shapes of the weights of such a network.
    pub(super) fn names_and_shapes(config: &ModelConfig) -> IndexMap<String, Vec<i64>> {
        let weights = layout::weights(config).into_iter();
        weights.map(|(name, (shape, _))| (name, shape)).collect()
    }

    /// Sets the data type of convolutions.
    pub(super) fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// The data type of convolutions.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Turns off gradients.
    pub(super) fn freeze(&mut self) -> Result<(), TchError> {
        for weight in self.weights.values_mut() {
            *weight = weight.f_set_requires_grad(false)?;
        }
        Ok(())
    }

    /// The configuration of the network.
    pub(super) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All weights by name, including running statistics.
    pub(super) fn weights(&self) -> &IndexMap<String, Tensor> {
        &self.weights
    }

    /// The learned weights.
    pub(super) fn learned(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let all = self.weights.iter().map(|(name, w)| (name.as_str(), w));
        all.filter(|(name, _)| !name.contains(".running_"))
    }

    /// Number of learned values.
    pub(super) fn size(&self) -> u64 {
        self.learned().map(|(_, w)| w.numel() as u64).sum()
    }

    /// Logits `[batch, out channel, z, y, x]` of `image`, `[batch, in channel, z, y, x]`. `training` affects batch norm
    /// only.
    pub(super) fn forward(&self, image: &Tensor, training: bool) -> Result<Tensor, TchError> {
        let mut forward = Forward {
            model: self,
            training,
        };
        follow(&self.config, &mut forward, image.shallow_clone())?.f_to_kind(Kind::Float)
    }

    /// A weight by the name of its operation and its own name.
    pub(super) fn weight(&self, name: &str, part: &str) -> Result<&Tensor, TchError> {
        let name = format!("{name}.{part}");
        let missing = || TchError::TensorNameNotFound(name.clone(), "the network".into());
        self.weights.get(&name).ok_or_else(missing)
    }

    /// Weight and bias in the data type of convolutions.
    fn convolution(&self, name: &str) -> Result<(Tensor, Option<Tensor>), TchError> {
        let bias = self.weights.get(&format!("{name}.bias"));
        let bias = bias.map(|b| b.f_to_kind(self.kind)).transpose()?;
        Ok((self.weight(name, "weight")?.f_to_kind(self.kind)?, bias))
    }
}

/// Computes logits.
struct Forward<'m> {
    model: &'m Model,
    training: bool,
}

impl Operations for Forward<'_> {
    type Maps = Tensor;
    type Error = TchError;

    fn convolve(
        &mut self,
        x: &Tensor,
        name: &str,
        stride: [i64; 3],
        padding: [i64; 3],
    ) -> Result<Tensor, TchError> {
        let (weight, bias) = self.model.convolution(name)?;
        x.f_to_kind(self.model.kind)?
            .f_conv3d(&weight, bias.as_ref(), stride, padding, [1; 3], 1)
    }

    fn upsample(&mut self, x: &Tensor, name: &str, stride: [i64; 3]) -> Result<Tensor, TchError> {
        let (weight, bias) = self.model.convolution(name)?;
        let x = x.f_to_kind(self.model.kind)?;
        x.f_conv_transpose3d(&weight, bias.as_ref(), stride, [0; 3], [0; 3], 1, [1; 3])
    }

    fn norm(&mut self, x: Tensor, name: &str) -> Result<Tensor, TchError> {
        let norm = self.model.config.norm;
        if norm == Norm::None {
            return Ok(x);
        }
        // Norms sum many values: always in float32.
        let x = x.f_to_kind(Kind::Float)?;
        let weight = |part: &str| self.model.weight(name, part);
        let (scale, bias) = (weight("weight")?, weight("bias")?);
        let none = None::<&Tensor>;
        match norm {
            Norm::None => Ok(x),
            Norm::Instance => x.f_instance_norm(
                Some(scale),
                Some(bias),
                none,
                none,
                true,
                MOMENTUM,
                EPSILON,
                true,
            ),
            Norm::Group => {
                let groups = groups(scale.numel() as i64);
                x.f_group_norm(groups, Some(scale), Some(bias), EPSILON, true)
            }
            Norm::Batch => x.f_batch_norm(
                Some(scale),
                Some(bias),
                Some(weight("running_mean")?),
                Some(weight("running_var")?),
                self.training,
                MOMENTUM,
                EPSILON,
                true,
            ),
        }
    }

    fn activate(&mut self, x: Tensor) -> Result<Tensor, TchError> {
        match self.model.config.activation {
            Activation::Relu => x.f_relu(),
            Activation::LeakyRelu => x.f_leaky_relu(),
            Activation::Elu => x.f_elu(),
        }
    }

    fn add(&mut self, a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
        a.f_add(b)
    }

    fn concatenate(&mut self, a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
        Tensor::f_cat(&[a, b], 1)
    }
}

/// Number of groups of group norm: the largest number up to 8 that divides the feature maps.
pub(super) fn groups(maps: i64) -> i64 {
    (1..=8).rev().find(|g| maps % g == 0).unwrap_or(1)
}
