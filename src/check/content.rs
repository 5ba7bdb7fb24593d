//! What is suspicious in the values of samples: constant images, masks with other values than 0 and 1, numbers that are not
//! finite, and equal samples.

use super::kind::FindingKind;
use super::report::Finding;
use crate::data_type::DataType;
use crate::dataset::{ArrayEntry, Manifest};

/// Most samples of a split whose digests are kept. Of larger splits, those with certain digests: of two equal samples, either both
/// are kept or none.
pub(super) const MAX_DIGESTS: u64 = 1 << 21;

/// What the values of an array must be like.
#[derive(Debug)]
pub(super) struct ContentRules {
    data_type: DataType,
    is_image: bool,
    /// The values of a mask, little-endian; empty for other arrays.
    mask_values: Vec<Vec<u8>>,
    /// Keep the digests of samples that are divisible by this. `None`: of no sample.
    digest_divisor: Option<u64>,
}

/// What was found in some samples of an array.
#[derive(Debug, Default)]
pub(super) struct Content {
    constant: Vec<u64>,
    not_finite: Vec<u64>,
    not_mask: Vec<u64>,
    /// Digest of the values, and sample.
    digests: Vec<(u64, u64)>,
}

impl ContentRules {
    /// The rules for the array `name` of the manifest, in a split with this many samples.
    pub(super) fn new(manifest: &Manifest, name: &str, samples: u64) -> Self {
        let array = &manifest.arrays[name];
        let is_identifying =
            manifest.arrays.keys().position(|n| n == name) == Some(identifying_array(manifest));
        Self {
            data_type: array.data_type,
            is_image: is_image(array),
            mask_values: if is_mask(array) {
                let fill = manifest.config["arrays"][name]["fill"].as_f64();
                let values = [Some(0.0), Some(1.0), fill].into_iter().flatten();
                values.map(|v| whole(v, array.data_type)).collect()
            } else {
                Vec::new()
            },
            digest_divisor: is_identifying.then(|| samples.div_ceil(MAX_DIGESTS).max(1)),
        }
    }
}

/// The array whose values tell samples apart: the first image, or else the first array.
fn identifying_array(manifest: &Manifest) -> usize {
    manifest.arrays.values().position(is_image).unwrap_or(0)
}

fn is_image(array: &ArrayEntry) -> bool {
    match array.role.as_deref() {
        Some(role) => role == "image",
        // Segmentations have wide integers.
        None => {
            !array.has_mask_transform()
                && (array.data_type.is_float() || array.data_type.size_bytes() <= 2)
        }
    }
}

/// Whether the array is what a network should predict.
pub(super) fn is_target(array: &ArrayEntry) -> bool {
    match array.role.as_deref() {
        Some(role) => role == "target",
        None => array.has_mask_transform(),
    }
}

/// Whether the array should have no values but 0 and 1. A float mask may be interpolated.
fn is_mask(array: &ArrayEntry) -> bool {
    let is_target = matches!(array.role.as_deref(), Some("target" | "mask"));
    let is_byte = matches!(array.data_type, DataType::UInt8 | DataType::Int8);
    !array.data_type.is_float() && (array.has_mask_transform() || is_target && is_byte)
}

/// The whole number as a value of the type, little-endian.
fn whole(value: f64, data_type: DataType) -> Vec<u8> {
    let bytes = if value < 0.0 {
        (value as i64).to_le_bytes()
    } else {
        (value as u64).to_le_bytes()
    };
    bytes[..data_type.size_bytes().min(8)].to_vec()
}

impl Content {
    /// Looks at the values of a sample.
    pub(super) fn add(&mut self, sample: u64, values: &[u8], rules: &ContentRules) {
        let value_bytes = rules.data_type.size_bytes();
        let is_constant = is_constant(values, value_bytes);
        if rules.is_image && is_constant {
            self.constant.push(sample);
        }
        if !has_only(values, value_bytes, &rules.mask_values) {
            self.not_mask.push(sample);
        }
        if !is_finite(values, rules.data_type) {
            self.not_finite.push(sample);
        }
        if let Some(divisor) = rules.digest_divisor.filter(|_| !is_constant) {
            let digest = blake3::hash(values);
            let first = digest.as_bytes().first_chunk().copied();
            let digest = u64::from_le_bytes(first.unwrap_or_default());
            if digest.is_multiple_of(divisor) {
                self.digests.push((digest, sample));
            }
        }
    }

    /// Adds what was found in later samples.
    pub(super) fn append(&mut self, mut later: Self) {
        self.constant.append(&mut later.constant);
        self.not_finite.append(&mut later.not_finite);
        self.not_mask.append(&mut later.not_mask);
        self.digests.append(&mut later.digests);
    }

    /// Groups of samples with equal values in this array, each in order.
    pub(super) fn equal_samples(&mut self) -> Vec<Vec<u64>> {
        self.digests.sort_unstable();
        let groups = self.digests.chunk_by(|a, b| a.0 == b.0);
        let groups = groups.filter(|group| group.len() > 1);
        groups
            .map(|group| group.iter().map(|(_, i)| *i).collect())
            .collect()
    }

    /// What is suspicious in the array `file` of the split.
    pub(super) fn findings(self, split: &str, file: &str) -> Vec<Finding> {
        let of = [
            (
                FindingKind::ConstantImage,
                self.constant,
                "all values of the window are equal: it lies in an empty part of the layer",
            ),
            (
                FindingKind::NotFinite,
                self.not_finite,
                "values are infinite or not a number",
            ),
            (
                FindingKind::MaskValues,
                self.not_mask,
                "a mask has values other than 0 and 1; with \"transform\": \"nonzero\" in the config they become 1",
            ),
        ];
        let of = of.into_iter().filter(|(_, samples, _)| !samples.is_empty());
        of.map(|(kind, samples, message)| {
            Finding::new(kind, file, message)
                .in_split(split)
                .in_samples(samples)
        })
        .collect()
    }
}

fn is_constant(values: &[u8], value_bytes: usize) -> bool {
    let (first, others) = values.split_at(value_bytes.min(values.len()));
    others.chunks_exact(value_bytes.max(1)).all(|v| v == first)
}

/// Whether every value is one of `allowed`, which may be empty: then every value is allowed.
fn has_only(values: &[u8], value_bytes: usize, allowed: &[Vec<u8>]) -> bool {
    match allowed {
        [] => true,
        // The loop over bytes is fast, and masks are bytes.
        [zero, one] if value_bytes == 1 && zero == &[0] && one == &[1] => {
            values.iter().fold(0, |all, v| all | v) <= 1
        }
        _ => values
            .chunks_exact(value_bytes)
            .all(|value| allowed.iter().any(|a| a == value)),
    }
}

fn is_finite(values: &[u8], data_type: DataType) -> bool {
    match data_type {
        DataType::Float32 => values
            .as_chunks()
            .0
            .iter()
            .all(|v| f32::from_le_bytes(*v).is_finite()),
        DataType::Float64 => values
            .as_chunks()
            .0
            .iter()
            .all(|v| f64::from_le_bytes(*v).is_finite()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use serde_json::json;

    fn array(data_type: DataType, role: Option<&str>, transform: Value) -> ArrayEntry {
        let array = json!({
            "layer": "l", "data_type": data_type, "role": role, "transform": transform, "dimensions": [],
            "sample_shape": [1, 1, 1, 4], "window_voxels": [4, 1, 1], "statistics": {},
        });
        serde_json::from_value(array).unwrap()
    }

    fn manifest(arrays: Vec<(&str, ArrayEntry)>, config: Value) -> Manifest {
        let manifest = json!({
            "schema_version": 3, "plan_digest": "", "config": config, "collection": "", "window_voxels": [4, 1, 1],
            "sources": [], "splits": {}, "arrays": {}, "shards": [], "files": [], "warnings": [], "digest": "",
            "groups": [], "boxes": [],
        });
        let mut manifest: Manifest = serde_json::from_value(manifest).unwrap();
        manifest.arrays = arrays.into_iter().map(|(n, a)| (n.to_owned(), a)).collect();
        manifest
    }

    /// Kinds and samples of the findings in these samples of the only array.
    fn found(array: ArrayEntry, config: Value, samples: &[&[u8]]) -> Vec<(FindingKind, Vec<u64>)> {
        let rules = ContentRules::new(&manifest(vec![("a", array)], config), "a", 9);
        let mut content = Content::default();
        for (i, values) in samples.iter().enumerate() {
            let mut one = Content::default();
            one.add(i as u64, values, &rules);
            content.append(one);
        }
        let findings = content.findings("train", "train.zarr/a").into_iter();
        findings.map(|f| (f.kind, f.samples)).collect()
    }

    #[test]
    fn a_window_of_one_value_is_a_constant_image_but_no_suspicious_mask() {
        let samples: [&[u8]; 3] = [&[7; 4], &[7, 7, 7, 8], &[0; 4]];
        for role in [None, Some("image")] {
            let image = array(DataType::UInt8, role, json!("none"));
            let expected = vec![(FindingKind::ConstantImage, vec![0, 2])];
            assert_eq!(found(image, json!({}), &samples), expected);
        }
        let wide = array(DataType::UInt16, Some("image"), json!("none"));
        let expected = vec![(FindingKind::ConstantImage, vec![0])];
        assert_eq!(
            found(wide, json!({}), &[&[1, 2, 1, 2], &[1, 1, 2, 2]]),
            expected
        );
        for (data_type, role, transform) in [
            (DataType::UInt8, Some("target"), json!("nonzero")),
            (DataType::UInt8, None, json!("nonzero")),
            (DataType::UInt64, None, json!("none")),
        ] {
            let values: [&[u8]; 1] = [&[0; 8]];
            assert_eq!(
                found(array(data_type, role, transform), json!({}), &values),
                []
            );
        }
    }

    #[test]
    fn masks_have_no_values_but_0_and_1_and_their_fill() {
        let samples: [&[u8]; 3] = [&[0, 1, 1, 0], &[0, 1, 2, 0], &[1, 255, 0, 1]];
        let wrong = |samples: &[u64]| vec![(FindingKind::MaskValues, samples.to_vec())];
        for (role, transform) in [
            (None, json!("nonzero")),
            (None, json!({"object_at": {"point": "start"}})),
            (Some("target"), json!("none")),
            (Some("mask"), json!(null)),
        ] {
            let mask = || array(DataType::UInt8, role, transform.clone());
            assert_eq!(
                found(mask(), json!({}), &samples),
                wrong(&[1, 2]),
                "{transform}"
            );
            let config = json!({"arrays": {"a": {"fill": 255}}});
            assert_eq!(found(mask(), config, &samples), wrong(&[1]));
        }
        let signed = array(DataType::Int16, None, json!({"in": [4, 5]}));
        let config = json!({"arrays": {"a": {"fill": -1}}});
        assert_eq!(
            found(signed, config, &[&[255, 255, 1, 0], &[255, 0, 1, 0]]),
            wrong(&[1])
        );
        let labels = array(DataType::UInt64, Some("target"), json!("none"));
        assert_eq!(found(labels, json!({}), &[&[9, 0, 0, 0, 0, 0, 0, 0]]), []);
    }

    #[test]
    fn numbers_that_are_not_finite_are_found() {
        let values = |v: f32| [1.0f32, v].map(f32::to_le_bytes).concat();
        let samples = [values(2.0), values(f32::NAN), values(f32::NEG_INFINITY)];
        let samples: Vec<_> = samples.iter().map(Vec::as_slice).collect();
        let array = array(DataType::Float32, None, json!("none"));
        let expected = vec![(FindingKind::NotFinite, vec![1, 2])];
        assert_eq!(found(array, json!({}), &samples), expected);
    }

    #[test]
    fn equal_samples_are_found_in_the_first_image_and_constant_ones_do_not_count() {
        let arrays = vec![
            (
                "mask",
                array(DataType::UInt8, Some("target"), json!("nonzero")),
            ),
            ("em", array(DataType::UInt8, Some("image"), json!("none"))),
        ];
        let manifest = manifest(arrays, json!({}));
        let samples: [&[u8]; 6] = [&[1, 2], &[3, 3], &[1, 2], &[2, 1], &[3, 3], &[1, 2]];
        let groups = |array: &str| {
            let rules = ContentRules::new(&manifest, array, 6);
            let mut content = Content::default();
            for (i, values) in samples.iter().enumerate() {
                content.add(i as u64, values, &rules);
            }
            content.equal_samples()
        };
        assert_eq!(groups("em"), [[0, 2, 5]]);
        assert!(groups("mask").is_empty());
    }

    #[test]
    fn of_a_large_split_a_part_is_compared_and_equal_samples_are_kept_together() {
        let array = array(DataType::UInt64, None, json!("none"));
        let manifest = manifest(vec![("a", array)], json!({}));
        let rules = ContentRules::new(&manifest, "a", 4 * MAX_DIGESTS);
        let mut content = Content::default();
        for i in 0..4000u64 {
            content.add(
                i,
                &[i % 2000, i % 2000 + 1].map(u64::to_le_bytes).concat(),
                &rules,
            );
        }
        let groups = content.equal_samples();
        assert!((300..700).contains(&groups.len()), "{}", groups.len());
        assert!(groups.iter().all(|g| g.len() == 2 && g[1] == g[0] + 2000));
    }
}
