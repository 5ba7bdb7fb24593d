//! The configuration of the network and its checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A UNet3D. Kernels and strides are x, y, z.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Channels of the image.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub in_channels: usize,
    /// Output channels: one per target.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub out_channels: usize,
    /// Feature maps of each level, from the finest to the coarsest.
    #[schemars(length(min = 1))]
    pub feature_maps: Vec<i64>,
    /// Number of convolutions of each level, in the encoder and in the decoder.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub convolutions: usize,
    /// Kernel of the convolutions of each level, odd numbers. 3 x 3 x 3 for levels without an entry.
    #[serde(default)]
    pub kernels: Vec<[i64; 3]>,
    /// Downsampling factor from each level to the next. 2 x 2 x 2 for levels without an entry.
    #[serde(default)]
    pub strides: Vec<[i64; 3]>,
    /// How the decoder combines its input with the output of the encoder.
    #[serde(default)]
    pub skip: Skip,
    /// Normalization after each convolution.
    #[serde(default)]
    pub norm: Norm,
    /// Activation after each norm.
    #[serde(default)]
    pub activation: Activation,
    /// Add the input of each level's convolutions to the output of the last norm, before the last activation, as ResNet
    /// (He et al. 2016) and nnU-Net's residual encoder do. If the numbers of feature maps differ, a convolution with a
    /// kernel of one voxel, a bias and no norm adapts the input, as in MONAI's `UNet`. Lee et al. 2017 have these sums in
    /// a U-Net for EM, with another convolution before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub residual: bool,
}

/// How the decoder combines its input with the output of the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Skip {
    /// The feature maps are added.
    #[default]
    Sum,
    /// The feature maps are concatenated.
    Concat,
}

/// Normalization after a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Instance norm with learned weights.
    #[default]
    Instance,
    /// Group norm. The number of groups is the largest one up to 8 that divides the feature maps.
    Group,
    /// Batch norm.
    Batch,
    /// No norm; convolutions have a bias.
    None,
}

/// Activation after a norm.
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

/// Largest number of feature maps of a level, and largest kernel and stride: larger ones are mistakes.
const LARGEST: i64 = 1 << 14;

impl ModelConfig {
    /// The key and the problem there.
    pub fn problem(&self) -> Option<(String, String)> {
        self.size_problem()
            .or_else(|| self.kernel_problem())
            .map(|(key, problem)| (key.to_owned(), problem))
    }

    fn size_problem(&self) -> Option<(&'static str, String)> {
        let levels = self.feature_maps.len();
        if levels == 0 || self.feature_maps.iter().any(|n| !(1..=LARGEST).contains(n)) {
            return Some((
                "feature_maps",
                format!(
                    "found {:?}, expected one number per level, from 1 to {LARGEST}",
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
            if n == 0 || n as i64 > LARGEST {
                return Some((path, format!("found {n}, expected 1 to {LARGEST}")));
            }
        }
        None
    }

    fn kernel_problem(&self) -> Option<(&'static str, String)> {
        let levels = self.feature_maps.len();
        let odd = |k: &[i64; 3]| k.iter().all(|k| k % 2 == 1 && (1..=LARGEST).contains(k));
        if self.kernels.len() > levels || !self.kernels.iter().all(odd) {
            let problem = format!(
                "found {:?}, expected at most {levels} kernels of odd numbers, one per level",
                self.kernels
            );
            return Some(("kernels", problem));
        }
        let usable = |s: &[i64; 3]| s.iter().all(|s| (1..=LARGEST).contains(s));
        if self.strides.len() >= levels.max(1) || !self.strides.iter().all(usable) {
            let problem = format!(
                "found {:?}, expected at most {} strides of at least 1, one from each level to the next",
                self.strides,
                levels - 1
            );
            return Some(("strides", problem));
        }
        None
    }

    /// Why the network cannot process windows of `[z, y, x]` voxels with that many channels: the config key at fault, and
    /// the problem.
    pub fn problem_with(
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
                "the window is {x} x {y} x {z} voxels, expected a multiple of {mx} x {my} x {mz}, the product of the strides; choose a smaller window (`crop` in a training config, `--window` of `infer`)"
            );
            return Some(("model.strides", problem));
        }
        if self.norm == Norm::Instance && levels.all(|(n, m)| *n as i64 == m) {
            let problem = format!(
                "`instance` turns a single voxel into 0, and the strides reduce windows of {x} x {y} x {z} to a single voxel; choose fewer levels, smaller strides or another norm"
            );
            return Some(("model.norm", problem));
        }
        None
    }

    /// The size, z y x, of which a window must be a multiple.
    pub fn multiple(&self) -> [i64; 3] {
        let mut multiple = [1; 3];
        for step in 0..self.feature_maps.len() - 1 {
            for (m, s) in multiple.iter_mut().zip(self.stride(step)) {
                *m = i64::saturating_mul(*m, s);
            }
        }
        multiple
    }

    /// Number of feature maps that enter the encoder's block of a level.
    pub fn encoder_inputs(&self, level: usize) -> i64 {
        match level {
            0 => self.in_channels as i64,
            _ => self.feature_maps[level],
        }
    }

    /// Number of feature maps that enter the decoder's block of a level.
    pub fn decoder_inputs(&self, level: usize) -> i64 {
        match self.skip {
            Skip::Sum => self.feature_maps[level],
            Skip::Concat => 2 * self.feature_maps[level],
        }
    }

    /// Whether a residual block of a level needs a convolution to add that many inputs to its output.
    pub fn has_projection(&self, level: usize, inputs: i64) -> bool {
        self.residual && inputs != self.feature_maps[level]
    }

    /// The kernel of a level, z y x.
    pub fn kernel(&self, level: usize) -> [i64; 3] {
        let [x, y, z] = self.kernels.get(level).copied().unwrap_or([3; 3]);
        [z, y, x]
    }

    /// The stride from a level to the next, z y x.
    pub fn stride(&self, level: usize) -> [i64; 3] {
        let [x, y, z] = self.strides.get(level).copied().unwrap_or([2; 3]);
        [z, y, x]
    }
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
    fn the_json_of_a_plain_network_has_no_key_of_residual_ones() {
        let json = serde_json::to_value(small()).unwrap();
        assert_eq!(json.get("residual"), None);
        let residual = ModelConfig {
            residual: true,
            ..small()
        };
        let json = serde_json::to_value(&residual).unwrap();
        assert_eq!(config(json), residual);
    }

    #[test]
    fn an_error_about_an_invalid_network_names_the_key() {
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
