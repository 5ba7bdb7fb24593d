//! The architecture of the network, for everything that follows it: the computation of logits and the exported graph.
//!
//! [`follow`] passes each step of the network, from the image to the logits, to an implementation of [`Operations`].

use pointshard::trainer_api::{ModelConfig, Skip};

/// The operations of a network. Weights are those that start with `name`. Kernels, strides and paddings are z, y, x.
pub(crate) trait Operations {
    /// Feature maps, `[batch, channel, z, y, x]`.
    type Maps;
    type Error;

    fn convolve(
        &mut self,
        x: &Self::Maps,
        name: &str,
        stride: [i64; 3],
        padding: [i64; 3],
    ) -> Result<Self::Maps, Self::Error>;

    /// A transposed convolution whose kernel is its stride.
    fn upsample(
        &mut self,
        x: &Self::Maps,
        name: &str,
        stride: [i64; 3],
    ) -> Result<Self::Maps, Self::Error>;

    fn norm(&mut self, x: Self::Maps, name: &str) -> Result<Self::Maps, Self::Error>;

    fn activate(&mut self, x: Self::Maps) -> Result<Self::Maps, Self::Error>;

    fn add(&mut self, a: &Self::Maps, b: &Self::Maps) -> Result<Self::Maps, Self::Error>;

    /// Concatenates channels.
    fn concatenate(&mut self, a: &Self::Maps, b: &Self::Maps) -> Result<Self::Maps, Self::Error>;
}

/// Follows the network from `image` and returns its logits.
pub(crate) fn follow<O: Operations>(
    config: &ModelConfig,
    operations: &mut O,
    image: O::Maps,
) -> Result<O::Maps, O::Error> {
    let last = config.feature_maps.len() - 1;
    let mut encoded = Vec::new();
    let encoder = |level| Block {
        name: format!("encoder.{level}"),
        level,
        inputs: config.encoder_inputs(level),
    };
    let mut x = encoder(0).follow(config, operations, image)?;
    for level in 0..last {
        let name = format!("down.{level}");
        let down = operations.convolve(&x, &name, config.stride(level), [0; 3])?;
        encoded.push(x);
        x = encoder(level + 1).follow(config, operations, down)?;
    }
    while let Some(same_level) = encoded.pop() {
        let level = encoded.len();
        let up = operations.upsample(&x, &format!("up.{level}"), config.stride(level))?;
        let combined = match config.skip {
            Skip::Sum => operations.add(&up, &same_level)?,
            Skip::Concat => operations.concatenate(&same_level, &up)?,
        };
        let decoder = Block {
            name: format!("decoder.{level}"),
            level,
            inputs: config.decoder_inputs(level),
        };
        x = decoder.follow(config, operations, combined)?;
    }
    operations.convolve(&x, "head", [1; 3], [0; 3])
}

/// The convolutions of a level, each followed by a norm and an activation.
struct Block {
    name: String,
    level: usize,
    /// Number of feature maps of its input.
    inputs: i64,
}

impl Block {
    fn follow<O: Operations>(
        &self,
        config: &ModelConfig,
        operations: &mut O,
        input: O::Maps,
    ) -> Result<O::Maps, O::Error> {
        let padding = config.kernel(self.level).map(|k| k / 2);
        let mut activated = None;
        for i in 0..config.convolutions {
            let x = activated.as_ref().unwrap_or(&input);
            let name = format!("{}.conv.{i}", self.name);
            let convolved = operations.convolve(x, &name, [1; 3], padding)?;
            let mut normed = operations.norm(convolved, &format!("{}.norm.{i}", self.name))?;
            if config.residual && i + 1 == config.convolutions {
                normed = self.add_shortcut(config, operations, &normed, &input)?;
            }
            activated = Some(operations.activate(normed)?);
        }
        Ok(activated.unwrap_or(input))
    }

    fn add_shortcut<O: Operations>(
        &self,
        config: &ModelConfig,
        operations: &mut O,
        x: &O::Maps,
        input: &O::Maps,
    ) -> Result<O::Maps, O::Error> {
        if !config.has_projection(self.level, self.inputs) {
            return operations.add(x, input);
        }
        let name = format!("{}.shortcut", self.name);
        let projected = operations.convolve(input, &name, [1; 3], [0; 3])?;
        operations.add(x, &projected)
    }
}
