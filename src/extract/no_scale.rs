//! What to write into the config where a layer has no scale of the wanted resolution.

use crate::config::{ArrayConfig, Interpolation, Role, Rounding, Transform};
use crate::geometry::Resolution;
use crate::plan::Plan;

/// Scales further apart than this factor along an axis are not suggested: the unit is more likely to be wrong.
const LARGEST_FACTOR: f64 = 64.0;

/// Most scales that are listed.
const SCALES: usize = 3;

/// What to write into the config so that the source at position `source` is read at one of its own resolutions instead of
/// `wanted`: the keys, and a line with the nearest resolution.
pub(super) fn remedy(
    plan: &Plan,
    source: usize,
    wanted: &Resolution,
    available: &[Resolution],
) -> String {
    let arrays = plan.arrays.iter().zip(&plan.config.arrays);
    let arrays = arrays.filter(|(planned, _)| planned.source_of_group.contains(&source));
    let arrays: Vec<_> = arrays.map(|(_, array)| array).collect();
    remedy_for(&arrays, wanted, available)
}

/// What to write into the config if the layer named `layer` has the numbers of `wanted` in another order. Resampling would cut
/// the wrong voxels. `config_may_set`: whether `layers.NAME.resolution` in the config may set the layer's resolution.
pub(super) fn reordered_remedy(
    layer: &str,
    wanted: &Resolution,
    available: &[Resolution],
    config_may_set: bool,
) -> Option<String> {
    let scale = available.iter().find(|scale| scale.is_reordered(wanted))?;
    let scale = written(scale);
    let correct = format!(
        "it has {scale}, which are the same numbers in another order. Correct the order in the config if it is not x y z"
    );
    Some(if config_may_set {
        format!(
            "{correct}. If the metadata of the layer have the wrong order, set `layers.{layer}.resolution`: {}, or `layers.{layer}.axes` if its dimensions are in another order",
            written(wanted)
        )
    } else {
        format!("{correct}, or the metadata of the layer if they are wrong")
    })
}

fn remedy_for(
    arrays: &[(&String, &ArrayConfig)],
    wanted: &Resolution,
    available: &[Resolution],
) -> String {
    let nearest = by_distance(wanted, available);
    let ([closest, ..], [(_, config), ..]) = (nearest.as_slice(), arrays) else {
        return "name one of the layer's scales in the config, or change the layer".to_owned();
    };
    let scales: Vec<_> = nearest.iter().map(written).collect();
    let keys = |key: &str| {
        let of_array = |(name, _): &(&String, _)| format!("`arrays.{name}.{key}`");
        let keys: Vec<_> = arrays.iter().map(of_array).collect();
        keys.join(" and ")
    };
    let resolution = format!("\"data_resolution\": {}", written(closest));
    if config.data_resolution.is_some() {
        return format!(
            "set {} to one that it has: {resolution}; its scales, the nearest first: {}",
            keys("data_resolution"),
            scales.join(", ")
        );
    }
    let interpolation = serde_json::json!(suited(config));
    format!(
        "to resample the layer, set {} and {}: {resolution}, \"interpolation\": {interpolation} ({}); its scales, the nearest first: {}. Or change `resolution`",
        keys("data_resolution"),
        keys("interpolation"),
        Interpolation::CHOICES,
        scales.join(", ")
    )
}

/// The nearest scales. Of two equally near ones, the finer comes first.
fn by_distance(wanted: &Resolution, available: &[Resolution]) -> Vec<Resolution> {
    let factors = |scale: &Resolution| -> [f64; 3] {
        std::array::from_fn(|d| (scale.nm()[d] / wanted.nm()[d]).ln())
    };
    let distance = |scale: &Resolution| factors(scale).map(f64::abs).iter().sum::<f64>();
    let finer = |scale: &Resolution| factors(scale).iter().sum::<f64>();
    let is_near = |scale: &&Resolution| {
        let far = LARGEST_FACTOR.ln() + 1e-6;
        factors(scale).iter().all(|f| f.abs() <= far)
    };
    let mut near: Vec<_> = available.iter().filter(is_near).copied().collect();
    near.sort_by(|a, b| {
        // Rounding makes equal distances differ.
        let apart = distance(a) - distance(b);
        let order = if apart.abs() < 1e-6 {
            finer(a) - finer(b)
        } else {
            apart
        };
        order.total_cmp(&0.0)
    });
    near.dedup();
    near.truncate(SCALES);
    near
}

/// The interpolation that an array most likely needs.
fn suited(config: &ArrayConfig) -> Interpolation {
    let image = matches!(config.transform, Transform::Scale(_)) || config.role == Some(Role::Image);
    if image {
        Interpolation::Area(Rounding::default())
    } else {
        Interpolation::Nearest
    }
}

/// As JSON of a config.
fn written(resolution: &Resolution) -> String {
    format!("{:?}", resolution.nm())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nm(nm: [f64; 3]) -> Resolution {
        Resolution::new(nm).unwrap()
    }

    fn array(value: serde_json::Value) -> ArrayConfig {
        serde_json::from_value(value).unwrap()
    }

    fn remedy(arrays: &[(&str, serde_json::Value)], available: &[[f64; 3]]) -> String {
        let owned: Vec<_> = arrays
            .iter()
            .map(|(name, value)| (name.to_string(), array(value.clone())))
            .collect();
        let arrays: Vec<_> = owned.iter().map(|(n, a)| (n, a)).collect();
        let available: Vec<_> = available.iter().copied().map(nm).collect();
        remedy_for(&arrays, &nm([8.0, 8.0, 40.0]), &available)
    }

    #[test]
    fn the_remedy_names_the_nearest_scale_and_the_finer_of_two() {
        let scales = [
            [64.0, 64.0, 40.0],
            [16.0, 16.0, 40.0],
            [4.0, 4.0, 40.0],
            [32.0, 32.0, 40.0],
        ];
        let remedy_text = remedy(&[("seg", json!({"layer": "cells"}))], &scales);
        for part in [
            "`arrays.seg.data_resolution` and `arrays.seg.interpolation`",
            r#""data_resolution": [4.0, 4.0, 40.0], "interpolation": "nearest""#,
            "[4.0, 4.0, 40.0], [16.0, 16.0, 40.0], [32.0, 32.0, 40.0].",
        ] {
            assert!(remedy_text.contains(part), "{part}: {remedy_text}");
        }
    }

    #[test]
    fn the_remedy_averages_images_and_names_every_array_of_the_layer() {
        let arrays = [
            ("img", json!({"layer": "em", "role": "image"})),
            ("raw", json!({"layer": "em"})),
        ];
        let remedy_text = remedy(&arrays, &[[16.0, 16.0, 40.0]]);
        assert!(
            remedy_text.contains(r#""interpolation": "area""#),
            "{remedy_text}"
        );
        assert!(
            remedy_text.contains("`arrays.img.interpolation` and `arrays.raw.interpolation`"),
            "{remedy_text}"
        );
    }

    #[test]
    fn a_data_resolution_that_the_layer_does_not_have_is_replaced() {
        let of = json!({"layer": "em", "data_resolution": [8, 8, 40], "interpolation": "area"});
        let remedy_text = remedy(&[("img", of)], &[[16.0, 16.0, 40.0]]);
        assert!(
            remedy_text.starts_with("set `arrays.img.data_resolution` to"),
            "{remedy_text}"
        );
        assert!(!remedy_text.contains("interpolation"), "{remedy_text}");
    }

    #[test]
    fn the_same_numbers_in_another_order_are_not_resampled() {
        let (job, layer) = (nm([8.0, 8.0, 40.0]), nm([40.0, 8.0, 8.0]));
        let remedy =
            |available: &[Resolution], may_set| reordered_remedy("em", &job, available, may_set);
        let settable = remedy(&[layer], true).unwrap();
        assert!(
            settable.contains("`layers.em.resolution`: [8.0, 8.0, 40.0]"),
            "{settable}"
        );
        let fixed = remedy(&[nm([16.0; 3]), layer], false).unwrap();
        assert!(!fixed.contains("layers.em"), "{fixed}");
        assert_eq!(remedy(&[nm([16.0, 16.0, 40.0])], true), None);
        // Not in another order, but the same.
        assert_eq!(remedy(&[job], true), None);
    }

    #[test]
    fn scales_of_another_unit_are_not_suggested() {
        let remedy_text = remedy(&[("img", json!({"layer": "em"}))], &[[0.008, 0.008, 0.04]]);
        assert!(!remedy_text.contains("data_resolution"), "{remedy_text}");
    }
}
