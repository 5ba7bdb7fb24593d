//! Tests of the network.

use pointshard::trainer_api::Skip;

use super::*;

fn config(json: serde_json::Value) -> ModelConfig {
    serde_json::from_value(json).unwrap()
}

/// An image whose values differ. Random numbers would change those of other tests.
fn image(shape: [i64; 5]) -> Tensor {
    let values = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu));
    (values * 0.7).sin().reshape(shape)
}

fn small() -> ModelConfig {
    config(serde_json::json!({
        "feature_maps": [4, 6, 8],
        "kernels": [[3, 3, 1]],
        "strides": [[2, 2, 1], [3, 1, 2]],
    }))
}

#[test]
fn logits_have_the_size_of_the_image() {
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
            residual: norm != Norm::Batch,
            ..small()
        };
        let model = Model::new(&config, 1, Device::Cpu).unwrap();
        let image = image([3, 1, 4, 6, 12]);
        let logits = model.forward(&image, true).unwrap();
        assert_eq!(logits.size(), [3, 2, 4, 6, 12]);
        logits.sum(Kind::Float).backward();
        assert!(model.learned().all(|(_, w)| w.grad().defined()));
    }
}

#[test]
fn a_network_can_have_one_level() {
    let config = config(serde_json::json!({"feature_maps": [3], "out_channels": 1}));
    assert_eq!(config.problem(), None);
    assert_eq!(config.multiple(), [1; 3]);
    let model = Model::new(&config, 1, Device::Cpu).unwrap();
    let image = image([1, 1, 3, 5, 7]);
    let logits = model.forward(&image, false).unwrap();
    assert_eq!(logits.size(), [1, 1, 3, 5, 7]);
}

#[test]
fn an_error_about_a_window_names_the_config_key() {
    let problem = |config: &ModelConfig, channels, window| {
        let (key, problem) = config.problem_with(channels, window).unwrap();
        format!("{key}: {problem}")
    };
    assert_eq!(small().problem_with(1, [4, 6, 12]), None);
    assert!(problem(&small(), 2, [4, 6, 12]).contains("in_channels: found 1, but the image has 2"));
    let strides = problem(&small(), 1, [4, 6, 10]);
    assert!(
        strides.contains("10 x 6 x 4 voxels, expected a multiple of 6 x 2 x 2"),
        "{strides}"
    );
    let instance = problem(&small(), 1, [2, 2, 6]);
    assert!(
        instance.starts_with("model.norm: `instance` turns a single voxel into 0"),
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
fn the_seed_determines_the_weights() {
    let weights = |seed| {
        let model = Model::new(&small(), seed, Device::Cpu).unwrap();
        let all: Vec<_> = model.learned().map(|(_, w)| w.flatten(0, -1)).collect();
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
fn a_shortcut_has_weights_only_where_the_numbers_of_feature_maps_differ() {
    let shortcuts = |skip| {
        let config = ModelConfig {
            skip,
            residual: true,
            ..small()
        };
        let mut shapes = Model::names_and_shapes(&config);
        shapes.retain(|name, _| name.ends_with(".shortcut.weight"));
        shapes.into_iter().collect::<Vec<_>>()
    };
    let first = ("encoder.0.shortcut.weight".to_owned(), vec![4, 1, 1, 1, 1]);
    assert_eq!(shortcuts(Skip::Sum), std::slice::from_ref(&first));
    let decoder = [
        ("decoder.0.shortcut.weight".to_owned(), vec![4, 8, 1, 1, 1]),
        ("decoder.1.shortcut.weight".to_owned(), vec![6, 12, 1, 1, 1]),
    ];
    assert_eq!(shortcuts(Skip::Concat), [&[first], &decoder[..]].concat());
}

#[test]
fn mixed_precision_is_close_to_float32() {
    let mut model = Model::new(&small(), 1, Device::Cpu).unwrap();
    let image = image([1, 1, 4, 6, 12]);
    let exact = model.forward(&image, false).unwrap();
    model.set_kind(Kind::BFloat16);
    let mixed = model.forward(&image, false).unwrap();
    assert_eq!(mixed.kind(), Kind::Float);
    let error = (&exact - &mixed).abs().max().double_value(&[]);
    let size = exact.abs().max().double_value(&[]);
    assert!(error > 0.0 && error < 0.1 * size, "{error} of {size}");
}
