//! Names, shapes and initial values of the weights of a network.

use indexmap::IndexMap;
use pointshard::trainer_api::{ModelConfig, Norm};

/// The initial value of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InitialValue {
    Zeros,
    Ones,
    /// Normally distributed, for ReLU and that many inputs (He et al. 2015).
    HeNormal(i64),
    /// A running statistic, which is not learned.
    Running(f64),
}

/// Shape and initial value of each weight, by name.
pub(super) fn weights(config: &ModelConfig) -> IndexMap<String, (Vec<i64>, InitialValue)> {
    let mut all = IndexMap::new();
    let levels = config.feature_maps.len();
    for (level, &maps) in config.feature_maps.iter().enumerate() {
        let first = config.encoder_inputs(level);
        block(config, &mut all, &format!("encoder.{level}"), level, first);
        if level + 1 < levels {
            let next = config.feature_maps[level + 1];
            let stride = config.stride(level);
            let shape = [&[next, maps], &stride[..]].concat();
            let voxels: i64 = stride.iter().product();
            let mut add = |name: &str, bias: i64, inputs: i64| {
                let weight = (shape.clone(), InitialValue::HeNormal(inputs));
                all.insert(format!("{name}.{level}.weight"), weight);
                all.insert(
                    format!("{name}.{level}.bias"),
                    (vec![bias], InitialValue::Zeros),
                );
            };
            add("down", next, maps * voxels);
            // Kernel = stride: each output voxel has the inputs of one voxel.
            add("up", maps, next);
            let first = config.decoder_inputs(level);
            block(config, &mut all, &format!("decoder.{level}"), level, first);
        }
    }
    let (out, maps) = (config.out_channels as i64, config.feature_maps[0]);
    all.insert(
        "head.weight".into(),
        (vec![out, maps, 1, 1, 1], InitialValue::HeNormal(maps)),
    );
    all.insert("head.bias".into(), (vec![out], InitialValue::Zeros));
    all
}

fn block(
    config: &ModelConfig,
    all: &mut IndexMap<String, (Vec<i64>, InitialValue)>,
    name: &str,
    level: usize,
    first: i64,
) {
    let maps = config.feature_maps[level];
    let kernel = config.kernel(level);
    for i in 0..config.convolutions {
        let inputs = if i == 0 { first } else { maps };
        let shape = [&[maps, inputs], &kernel[..]].concat();
        let initial = InitialValue::HeNormal(inputs * kernel.iter().product::<i64>());
        let mut add = |part: &str, shape: Vec<i64>, initial| {
            all.insert(format!("{name}.{part}"), (shape, initial));
        };
        add(&format!("conv.{i}.weight"), shape, initial);
        if config.norm == Norm::None {
            add(&format!("conv.{i}.bias"), vec![maps], InitialValue::Zeros);
            continue;
        }
        add(&format!("norm.{i}.weight"), vec![maps], InitialValue::Ones);
        add(&format!("norm.{i}.bias"), vec![maps], InitialValue::Zeros);
        if config.norm == Norm::Batch {
            add(
                &format!("norm.{i}.running_mean"),
                vec![maps],
                InitialValue::Running(0.0),
            );
            add(
                &format!("norm.{i}.running_var"),
                vec![maps],
                InitialValue::Running(1.0),
            );
        }
    }
    if config.has_projection(level, first) {
        let weight = (vec![maps, first, 1, 1, 1], InitialValue::HeNormal(first));
        all.insert(format!("{name}.shortcut.weight"), weight);
        let bias = (vec![maps], InitialValue::Zeros);
        all.insert(format!("{name}.shortcut.bias"), bias);
    }
}
