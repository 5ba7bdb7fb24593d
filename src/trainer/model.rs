//! UNet3D: the network. Logits out of windows, of the same size.
//!
//! A level is a block of convolutions, each followed by a norm and an activation. Between levels a convolution with
//! kernel = stride goes down, a transposed one comes up, and the way up takes over what the way down saw at that
//! level, by sum or by concatenation. A convolution of one voxel makes the logits. Weights bear the names that the
//! same network has in PyTorch (docs/train.md shows it), so that either side loads the other's.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

/// A UNet3D. Kernels and strides are x y z.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Channels of the image.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub in_channels: usize,
    /// Channels of the logits: one per target.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub out_channels: usize,
    /// Feature maps of each level, from the finest to the coarsest.
    #[schemars(length(min = 1))]
    pub feature_maps: Vec<i64>,
    /// Convolutions of a level, on the way down and on the way up.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub convolutions: usize,
    /// Kernel of the convolutions of each level, odd numbers. 3 x 3 x 3 where there are fewer than levels.
    #[serde(default)]
    pub kernels: Vec<[i64; 3]>,
    /// Step from each level to the next. 2 x 2 x 2 where there are fewer than steps.
    #[serde(default)]
    pub strides: Vec<[i64; 3]>,
    /// How the way up takes over what the way down saw.
    #[serde(default)]
    pub skip: Skip,
    /// What follows a convolution.
    #[serde(default)]
    pub norm: Norm,
    /// What follows the norm.
    #[serde(default)]
    pub activation: Activation,
}

/// How the way up takes over what the way down saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Skip {
    /// The feature maps are added.
    #[default]
    Sum,
    /// The feature maps stand beside each other.
    Concat,
}

/// What follows a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Instance norm, with weights.
    #[default]
    Instance,
    /// Group norm, with as many groups as divide the feature maps, 8 at most.
    Group,
    /// Batch norm.
    Batch,
    /// Nothing; convolutions have a bias then.
    None,
}

/// What follows the norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// ReLU.
    #[default]
    Relu,
    /// ReLU with a slope of 0.01 below 0.
    LeakyRelu,
    /// ELU.
    Elu,
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

/// Most feature maps of a level, and voxels of a kernel's side: guards against sizes that nobody means.
const MOST: i64 = 1 << 14;

impl ModelConfig {
    pub(super) fn problem(&self) -> Option<(String, String)> {
        let levels = self.feature_maps.len();
        if levels == 0 || self.feature_maps.iter().any(|n| !(1..=MOST).contains(n)) {
            return Some((
                "feature_maps".into(),
                format!(
                    "found {:?}, expected one number per level, from 1 to {MOST}",
                    self.feature_maps
                ),
            ));
        }
        let channels = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("convolutions", self.convolutions),
        ];
        for (path, n) in channels {
            if n == 0 || n as i64 > MOST {
                return Some((path.into(), format!("found {n}, expected 1 to {MOST}")));
            }
        }
        let odd = |k: &[i64; 3]| k.iter().all(|k| k % 2 == 1 && (1..=MOST).contains(k));
        if self.kernels.len() > levels || !self.kernels.iter().all(odd) {
            let problem = format!(
                "found {:?}, expected at most {levels} kernels of odd numbers, one per level",
                self.kernels
            );
            return Some(("kernels".into(), problem));
        }
        let usable = |s: &[i64; 3]| s.iter().all(|s| (1..=MOST).contains(s));
        if self.strides.len() >= levels.max(1) || !self.strides.iter().all(usable) {
            let problem = format!(
                "found {:?}, expected at most {} strides of at least 1, one per step from level to level",
                self.strides,
                levels - 1
            );
            return Some(("strides".into(), problem));
        }
        None
    }

    /// Why windows of `[z, y, x]` voxels of an image of so many channels cannot go through the network, with the key
    /// that is to blame.
    pub(super) fn problem_with(
        &self,
        channels: usize,
        window: [usize; 3],
    ) -> Option<(&'static str, String)> {
        if channels != self.in_channels {
            let expected = self.in_channels;
            let problem = format!("found {expected}, but the image has {channels} channel(s)");
            return Some(("model.in_channels", problem));
        }
        let [z, y, x] = window;
        let multiple = self.multiple();
        let [mz, my, mx] = multiple;
        let mut levels = window.iter().zip(multiple);
        if levels.clone().any(|(n, m)| *n as i64 % m != 0) {
            let problem = format!(
                "the window is {x} x {y} x {z} voxels, expected a multiple of {mx} x {my} x {mz}, the product of the strides; choose a smaller one (`crop` of a training, `--window` of an inference)"
            );
            return Some(("model.strides", problem));
        }
        if self.norm == Norm::Instance && levels.all(|(n, m)| *n as i64 == m) {
            let problem = format!(
                "`instance` makes 0 of a single voxel, which is all that the strides leave of windows of {x} x {y} x {z}; choose fewer levels, smaller strides or another norm"
            );
            return Some(("model.norm", problem));
        }
        None
    }

    /// What a window, z y x, must be a multiple of.
    fn multiple(&self) -> [i64; 3] {
        let mut multiple = [1; 3];
        for step in 0..self.feature_maps.len() - 1 {
            for (m, s) in multiple.iter_mut().zip(self.stride(step)) {
                *m = i64::saturating_mul(*m, s);
            }
        }
        multiple
    }

    /// Of a level, z y x.
    fn kernel(&self, level: usize) -> [i64; 3] {
        let [x, y, z] = self.kernels.get(level).copied().unwrap_or([3; 3]);
        [z, y, x]
    }

    /// From a level to the next, z y x.
    fn stride(&self, level: usize) -> [i64; 3] {
        let [x, y, z] = self.strides.get(level).copied().unwrap_or([2; 3]);
        [z, y, x]
    }

    /// Names and shapes of all weights and, last in each, what it begins with.
    fn weights(&self) -> IndexMap<String, (Vec<i64>, Begin)> {
        let mut all = IndexMap::new();
        let levels = self.feature_maps.len();
        for (level, &maps) in self.feature_maps.iter().enumerate() {
            let first = match level {
                0 => self.in_channels as i64,
                _ => maps,
            };
            self.block(&mut all, &format!("encoder.{level}"), level, first);
            if level + 1 < levels {
                let next = self.feature_maps[level + 1];
                let stride = self.stride(level);
                let (down, up) = ([&[next, maps], &stride[..]], [&[next, maps], &stride[..]]);
                let voxels: i64 = stride.iter().product();
                let mut add = |name: &str, shape: [&[i64]; 2], bias: i64, inputs: i64| {
                    let weight = (shape.concat(), Begin::Spread(inputs));
                    all.insert(format!("{name}.{level}.weight"), weight);
                    all.insert(format!("{name}.{level}.bias"), (vec![bias], Begin::Zeros));
                };
                add("down", down, next, maps * voxels);
                // Strides are as wide as the kernel: every voxel comes from one place only.
                add("up", up, maps, next);
                let first = match self.skip {
                    Skip::Sum => maps,
                    Skip::Concat => 2 * maps,
                };
                self.block(&mut all, &format!("decoder.{level}"), level, first);
            }
        }
        let (out, maps) = (self.out_channels as i64, self.feature_maps[0]);
        all.insert(
            "head.weight".into(),
            (vec![out, maps, 1, 1, 1], Begin::Spread(maps)),
        );
        all.insert("head.bias".into(), (vec![out], Begin::Zeros));
        all
    }

    fn block(
        &self,
        all: &mut IndexMap<String, (Vec<i64>, Begin)>,
        name: &str,
        level: usize,
        first: i64,
    ) {
        let maps = self.feature_maps[level];
        let kernel = self.kernel(level);
        for i in 0..self.convolutions {
            let inputs = if i == 0 { first } else { maps };
            let shape = [&[maps, inputs], &kernel[..]].concat();
            let begin = Begin::Spread(inputs * kernel.iter().product::<i64>());
            let mut add = |part: &str, shape: Vec<i64>, begin| {
                all.insert(format!("{name}.{part}"), (shape, begin));
            };
            add(&format!("conv.{i}.weight"), shape, begin);
            if self.norm == Norm::None {
                add(&format!("conv.{i}.bias"), vec![maps], Begin::Zeros);
                continue;
            }
            add(&format!("norm.{i}.weight"), vec![maps], Begin::Ones);
            add(&format!("norm.{i}.bias"), vec![maps], Begin::Zeros);
            if self.norm == Norm::Batch {
                add(
                    &format!("norm.{i}.running_mean"),
                    vec![maps],
                    Begin::Running(0.0),
                );
                add(
                    &format!("norm.{i}.running_var"),
                    vec![maps],
                    Begin::Running(1.0),
                );
            }
        }
    }
}

/// What a weight is before anything is learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Begin {
    Zeros,
    Ones,
    /// Normally distributed for ReLU behind so many inputs (He et al. 2015).
    Spread(i64),
    /// Not learnt, but counted along.
    Running(f64),
}

/// A network with its weights.
#[derive(Debug)]
pub(super) struct Model {
    config: ModelConfig,
    weights: IndexMap<String, Tensor>,
    /// What convolutions compute with.
    kind: Kind,
}

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

impl Model {
    /// A network that has learnt nothing: the same for the same seed, on whatever device.
    pub(super) fn new(config: &ModelConfig, seed: u64, device: Device) -> Result<Self, TchError> {
        tch::manual_seed(seed as i64);
        let mut weights = IndexMap::new();
        for (name, (shape, begin)) in config.weights() {
            let float = (Kind::Float, Device::Cpu);
            let weight = match begin {
                Begin::Zeros => Tensor::f_zeros(&shape, float)?,
                Begin::Ones => Tensor::f_ones(&shape, float)?,
                Begin::Running(value) => Tensor::f_full(&shape, value, float)?,
                Begin::Spread(inputs) => {
                    let deviation = (2.0 / inputs as f64).sqrt();
                    Tensor::f_randn(&shape, float)?.f_mul_scalar(deviation)?
                }
            };
            weights.insert(name, weight);
        }
        Self::with_weights(config, weights, device)
    }

    /// The network with these weights, which must be all that [`Model::names_and_shapes`] says.
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
            let learnt = !name.contains(".running_");
            let weight = weight.f_set_requires_grad(learnt)?;
            model.weights.insert(name, weight);
        }
        Ok(model)
    }

    /// Names and shapes of the weights that such a network has.
    pub(super) fn names_and_shapes(config: &ModelConfig) -> IndexMap<String, Vec<i64>> {
        let weights = config.weights().into_iter();
        weights.map(|(name, (shape, _))| (name, shape)).collect()
    }

    /// Has convolutions compute with `kind`.
    pub(super) fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Makes weights that nothing is learnt by.
    pub(super) fn freeze(&mut self) -> Result<(), TchError> {
        for weight in self.weights.values_mut() {
            *weight = weight.f_set_requires_grad(false)?;
        }
        Ok(())
    }

    /// What it is.
    pub(super) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All weights by name, those that are only counted along included.
    pub(super) fn weights(&self) -> &IndexMap<String, Tensor> {
        &self.weights
    }

    /// The weights that are learnt.
    pub(super) fn learnt(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let all = self.weights.iter().map(|(name, w)| (name.as_str(), w));
        all.filter(|(name, _)| !name.contains(".running_"))
    }

    /// Number of values that are learnt.
    pub(super) fn size(&self) -> u64 {
        self.learnt().map(|(_, w)| w.numel() as u64).sum()
    }

    /// Logits `[batch, out channel, z, y, x]` of `image`, `[batch, in channel, z, y, x]`. `training` matters to batch
    /// norm only.
    pub(super) fn forward(&self, image: &Tensor, training: bool) -> Result<Tensor, TchError> {
        let last = self.config.feature_maps.len() - 1;
        let mut seen = Vec::new();
        let mut x = self.blocks("encoder", 0, image, training)?;
        for level in 0..last {
            let down = self.convolve(
                &x,
                &format!("down.{level}"),
                self.config.stride(level),
                [0; 3],
            )?;
            seen.push(std::mem::replace(
                &mut x,
                self.blocks("encoder", level + 1, &down, training)?,
            ));
        }
        for (level, seen) in seen.iter().enumerate().rev() {
            let up = self.up(&x, level)?;
            let both = match self.config.skip {
                Skip::Sum => up.f_add(seen)?,
                Skip::Concat => Tensor::f_cat(&[seen, &up], 1)?,
            };
            x = self.blocks("decoder", level, &both, training)?;
        }
        self.convolve(&x, "head", [1; 3], [0; 3])?
            .f_to_kind(Kind::Float)
    }

    fn blocks(
        &self,
        way: &str,
        level: usize,
        x: &Tensor,
        training: bool,
    ) -> Result<Tensor, TchError> {
        let padding = self.config.kernel(level).map(|k| k / 2);
        let mut x = x.shallow_clone();
        for i in 0..self.config.convolutions {
            let block = format!("{way}.{level}");
            x = self.convolve(&x, &format!("{block}.conv.{i}"), [1; 3], padding)?;
            x = self.norm(&x, &format!("{block}.norm.{i}"), training)?;
            x = match self.config.activation {
                Activation::Relu => x.f_relu()?,
                Activation::LeakyRelu => x.f_leaky_relu()?,
                Activation::Elu => x.f_elu()?,
            };
        }
        Ok(x)
    }

    fn convolve(
        &self,
        x: &Tensor,
        name: &str,
        stride: [i64; 3],
        padding: [i64; 3],
    ) -> Result<Tensor, TchError> {
        let (weight, bias) = self.convolution(name)?;
        x.f_to_kind(self.kind)?
            .f_conv3d(&weight, bias.as_ref(), stride, padding, [1; 3], 1)
    }

    fn up(&self, x: &Tensor, level: usize) -> Result<Tensor, TchError> {
        let (weight, bias) = self.convolution(&format!("up.{level}"))?;
        let x = x.f_to_kind(self.kind)?;
        let stride = self.config.stride(level);
        x.f_conv_transpose3d(&weight, bias.as_ref(), stride, [0; 3], [0; 3], 1, [1; 3])
    }

    /// Weight and bias in the type that convolutions compute with.
    fn convolution(&self, name: &str) -> Result<(Tensor, Option<Tensor>), TchError> {
        let bias = self.weights.get(&format!("{name}.bias"));
        let bias = bias.map(|b| b.f_to_kind(self.kind)).transpose()?;
        Ok((self.weight(name, "weight")?.f_to_kind(self.kind)?, bias))
    }

    fn weight(&self, name: &str, part: &str) -> Result<&Tensor, TchError> {
        let name = format!("{name}.{part}");
        let missing = || TchError::TensorNameNotFound(name.clone(), "the network".into());
        self.weights.get(&name).ok_or_else(missing)
    }

    fn norm(&self, x: &Tensor, name: &str, training: bool) -> Result<Tensor, TchError> {
        if self.config.norm == Norm::None {
            return Ok(x.shallow_clone());
        }
        // Norms add up many values: in float32 whatever convolutions compute with.
        let x = x.f_to_kind(Kind::Float)?;
        let (weight, bias) = (self.weight(name, "weight")?, self.weight(name, "bias")?);
        let none = None::<&Tensor>;
        match self.config.norm {
            Norm::None => Ok(x),
            Norm::Instance => x.f_instance_norm(
                Some(weight),
                Some(bias),
                none,
                none,
                true,
                MOMENTUM,
                EPSILON,
                true,
            ),
            Norm::Group => {
                let groups = groups(weight.numel() as i64);
                x.f_group_norm(groups, Some(weight), Some(bias), EPSILON, true)
            }
            Norm::Batch => x.f_batch_norm(
                Some(weight),
                Some(bias),
                Some(self.weight(name, "running_mean")?),
                Some(self.weight(name, "running_var")?),
                training,
                MOMENTUM,
                EPSILON,
                true,
            ),
        }
    }
}

/// The groups of group norm: the largest number up to 8 that divides the feature maps.
fn groups(maps: i64) -> i64 {
    (1..=8).rev().find(|g| maps % g == 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> ModelConfig {
        serde_json::from_value(json).unwrap()
    }

    fn small() -> ModelConfig {
        config(serde_json::json!({
            "feature_maps": [4, 6, 8],
            "kernels": [[3, 3, 1]],
            "strides": [[2, 2, 1], [3, 1, 2]],
        }))
    }

    #[test]
    fn logits_are_of_the_size_of_the_image() {
        assert_eq!(small().multiple(), [2, 2, 6]);
        for (skip, norm) in [
            (Skip::Sum, Norm::Instance),
            (Skip::Concat, Norm::Group),
            (Skip::Sum, Norm::Batch),
            (Skip::Concat, Norm::None),
        ] {
            let config = ModelConfig {
                skip,
                norm,
                ..small()
            };
            let model = Model::new(&config, 1, Device::Cpu).unwrap();
            let image = Tensor::rand([3, 1, 4, 6, 12], (Kind::Float, Device::Cpu));
            let logits = model.forward(&image, true).unwrap();
            assert_eq!(logits.size(), [3, 2, 4, 6, 12]);
            logits.sum(Kind::Float).backward();
            assert!(model.learnt().all(|(_, w)| w.grad().defined()));
        }
    }

    #[test]
    fn one_level_is_a_network_too() {
        let config = config(serde_json::json!({"feature_maps": [3], "out_channels": 1}));
        assert_eq!(config.problem(), None);
        assert_eq!(config.multiple(), [1; 3]);
        let model = Model::new(&config, 1, Device::Cpu).unwrap();
        let image = Tensor::rand([1, 1, 3, 5, 7], (Kind::Float, Device::Cpu));
        let logits = model.forward(&image, false).unwrap();
        assert_eq!(logits.size(), [1, 1, 3, 5, 7]);
    }

    #[test]
    fn windows_that_do_not_go_through_are_named_with_the_key() {
        let problem = |config: &ModelConfig, channels, window| {
            let (key, problem) = config.problem_with(channels, window).unwrap();
            format!("{key}: {problem}")
        };
        assert_eq!(small().problem_with(1, [4, 6, 12]), None);
        assert!(
            problem(&small(), 2, [4, 6, 12]).contains("in_channels: found 1, but the image has 2")
        );
        let strides = problem(&small(), 1, [4, 6, 10]);
        assert!(
            strides.contains("10 x 6 x 4 voxels, expected a multiple of 6 x 2 x 2"),
            "{strides}"
        );
        let instance = problem(&small(), 1, [2, 2, 6]);
        assert!(
            instance.starts_with("model.norm: `instance` makes 0 of a single voxel"),
            "{instance}"
        );
        let group = ModelConfig {
            norm: Norm::Group,
            ..small()
        };
        assert_eq!(group.problem_with(1, [2, 2, 6]), None);
        let huge = config(serde_json::json!({"feature_maps": vec![1; 70]}));
        assert!(problem(&huge, 1, [64, 64, 64]).starts_with("model.strides"));
    }

    #[test]
    fn the_seed_decides_the_weights() {
        let weights = |seed| {
            let model = Model::new(&small(), seed, Device::Cpu).unwrap();
            let all: Vec<_> = model.learnt().map(|(_, w)| w.flatten(0, -1)).collect();
            Vec::<f32>::try_from(Tensor::cat(&all, 0).detach()).unwrap()
        };
        assert_eq!(weights(7), weights(7));
        assert_ne!(weights(7), weights(8));
    }

    #[test]
    fn kernels_and_strides_are_x_y_z_in_a_config_and_z_y_x_in_weights() {
        let shapes = Model::names_and_shapes(&small());
        assert_eq!(shapes["encoder.0.conv.0.weight"], [4, 1, 1, 3, 3]);
        assert_eq!(shapes["encoder.1.conv.0.weight"], [6, 6, 3, 3, 3]);
        assert_eq!(shapes["down.1.weight"], [8, 6, 2, 1, 3]);
        assert_eq!(shapes["up.1.weight"], [8, 6, 2, 1, 3]);
        assert_eq!(shapes["head.weight"], [2, 4, 1, 1, 1]);
    }

    #[test]
    fn mixed_precision_stays_near_float32() {
        let mut model = Model::new(&small(), 1, Device::Cpu).unwrap();
        let image = Tensor::rand([1, 1, 4, 6, 12], (Kind::Float, Device::Cpu));
        let exact = model.forward(&image, false).unwrap();
        model.set_kind(Kind::BFloat16);
        let mixed = model.forward(&image, false).unwrap();
        assert_eq!(mixed.kind(), Kind::Float);
        let error = (&exact - &mixed).abs().max().double_value(&[]);
        let size = exact.abs().max().double_value(&[]);
        assert!(error > 0.0 && error < 0.1 * size, "{error} of {size}");
    }

    #[test]
    fn impossible_networks_are_refused_by_key() {
        for (key, value) in [
            ("feature_maps", serde_json::json!([])),
            ("feature_maps", serde_json::json!([4, 0])),
            ("kernels", serde_json::json!([[2, 3, 3]])),
            (
                "kernels",
                serde_json::json!([[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]),
            ),
            ("strides", serde_json::json!([[0, 1, 1]])),
            (
                "strides",
                serde_json::json!([[2, 2, 2], [2, 2, 2], [2, 2, 2]]),
            ),
            ("out_channels", serde_json::json!(0)),
            ("convolutions", serde_json::json!(0)),
        ] {
            let mut json = serde_json::to_value(small()).unwrap();
            json[key] = value;
            let problem = config(json).problem();
            assert_eq!(problem.map(|p| p.0).as_deref(), Some(key));
        }
    }
}
