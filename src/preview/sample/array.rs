//! How each array of a dataset is drawn.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::data_type::DataType;
use crate::dataset::{ArrayEntry, Manifest};

/// How an array is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrayKind {
    /// In shades of gray.
    Gray,
    /// Three channels of 8 bits: red, green, blue.
    Color,
    /// As a colored overlay.
    Overlay,
    /// Darkens the voxels that it excludes.
    Mask,
}

impl ArrayKind {
    /// Whether other arrays are drawn over it.
    pub fn is_image(self) -> bool {
        matches!(self, Self::Gray | Self::Color)
    }
}

/// An array, and how it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShownArray {
    pub name: String,
    pub kind: ArrayKind,
    pub data_type: DataType,
    /// Channel, z, y, x.
    pub shape: [usize; 4],
    /// Every so manieth voxel along z, y and x is shown: large windows would make large pages.
    pub step: [usize; 3],
    /// The values that are black and white, of [`ArrayKind::Gray`].
    pub range: [f64; 2],
    /// The contrast at first: the part of `range`, from 0 to 1, that is drawn from black to white.
    pub contrast: [f64; 2],
    /// Number of its color, of overlays with one class.
    pub color: usize,
    /// Whether its values are classes other than 0 and 1, each with a color of its own.
    pub is_segmentation: bool,
}

/// Most voxels per channel of a sample that are shown.
const MAX_VOXELS: usize = 1 << 20;

/// Most channels of an array that are shown.
const MAX_CHANNELS: usize = 4;

/// Standard deviations around the mean that are shown, and those that have contrast at first.
const RANGE_DEVIATIONS: f64 = 5.0;
const CONTRAST_DEVIATIONS: f64 = 2.5;

/// The fraction of values that are black, and of those that are white, of 8-bit images at first.
const OUTLIERS: f64 = 0.005;

impl ShownArray {
    /// Channel, z, y, x of the voxels that are shown.
    pub fn shown_shape(&self) -> [usize; 4] {
        let [channels, z, y, x] = self.shape;
        let [sz, sy, sx] = self.step;
        let channels = channels.min(MAX_CHANNELS);
        [channels, z.div_ceil(sz), y.div_ceil(sy), x.div_ceil(sx)]
    }

    /// Bytes of a sample on a page, about: images hardly shrink, overlays a lot.
    pub fn estimated_bytes(&self) -> u64 {
        let bytes = self.shown_shape().iter().product::<usize>() as u64;
        match self.kind {
            ArrayKind::Gray | ArrayKind::Color => bytes,
            ArrayKind::Overlay | ArrayKind::Mask => bytes / 16 + 1,
        }
    }
}

/// Position of the array that the others are drawn over: the image with the largest window, or the first array.
pub(crate) fn reference(arrays: &[ShownArray]) -> usize {
    let images = arrays.iter().enumerate().filter(|(_, a)| a.kind.is_image());
    // `max_by_key` returns the last of equal ones.
    let largest = images
        .rev()
        .max_by_key(|(_, a)| a.shape[1..].iter().product::<usize>());
    largest.map_or(0, |(i, _)| i)
}

/// The arrays of a dataset, in its order.
pub(crate) fn shown_arrays(manifest: &Manifest) -> Vec<ShownArray> {
    let mut overlays = 0;
    let arrays = manifest.arrays.iter().map(|(name, entry)| {
        let kind = kind(entry);
        let color = overlays;
        overlays += usize::from(kind == ArrayKind::Overlay);
        let shape = shape(entry);
        let (range, contrast) = range(entry);
        ShownArray {
            name: name.clone(),
            kind,
            data_type: entry.data_type,
            shape,
            step: step(shape),
            range,
            contrast,
            color,
            is_segmentation: is_segmentation(entry),
        }
    });
    arrays.collect()
}

fn kind(entry: &ArrayEntry) -> ArrayKind {
    let is_wide_integer = !entry.data_type.is_float() && entry.data_type.size_bytes() > 2;
    let is_image = match entry.role.as_deref() {
        Some("mask") => return ArrayKind::Mask,
        Some("target") => false,
        Some(_) => true,
        None => !is_wide_integer && is_numeric(&entry.transform) && !has_only_0_and_1(entry),
    };
    match (is_image, shape(entry)[0], entry.data_type) {
        (true, 3, DataType::UInt8) => ArrayKind::Color,
        (true, ..) => ArrayKind::Gray,
        (false, ..) => ArrayKind::Overlay,
    }
}

/// Whether its values are those of a mask.
fn has_only_0_and_1(entry: &ArrayEntry) -> bool {
    let max = statistic(entry, "max", f64::max);
    let min = statistic(entry, "min", f64::min);
    !entry.data_type.is_float() && max.is_some_and(|m| m <= 1.0) && min.is_some_and(|m| m >= 0.0)
}

/// Whether the transform keeps numbers, instead of making a mask.
fn is_numeric(transform: &Value) -> bool {
    transform == "none" || transform.is_null() || transform.get("scale").is_some()
}

/// Channel, z, y, x of a sample.
fn shape(entry: &ArrayEntry) -> [usize; 4] {
    let [channels, ..] = entry.sample_shape;
    let [x, y, z] = entry.window_voxels;
    [channels as usize, z as usize, y as usize, x as usize]
}

/// The step along z, y and x with which a window has few enough voxels. Sections are skipped last.
fn step(shape: [usize; 4]) -> [usize; 3] {
    let [_, z, y, x] = shape;
    let mut step = [1, 1, 1];
    let voxels = |[sz, sy, sx]: [usize; 3]| {
        let counts = [z.div_ceil(sz), y.div_ceil(sy), x.div_ceil(sx)];
        counts.iter().fold(1usize, |n, k| n.saturating_mul(*k))
    };
    while voxels(step) > MAX_VOXELS {
        let [sz, sy, sx] = step;
        step = if y.div_ceil(sy).max(x.div_ceil(sx)) > 128 {
            [sz, 2 * sy, 2 * sx]
        } else {
            [2 * sz, sy, sx]
        };
    }
    step
}

/// The statistic of all splits together: the smallest, largest or mean of theirs.
fn statistic(entry: &ArrayEntry, name: &str, join: fn(f64, f64) -> f64) -> Option<f64> {
    let of_splits = entry.statistics.values();
    of_splits.filter_map(|s| s[name].as_f64()).reduce(join)
}

/// The values that are drawn black and white, and the part of them that has contrast at first.
fn range(entry: &ArrayEntry) -> ([f64; 2], [f64; 2]) {
    let min = statistic(entry, "min", f64::min).unwrap_or(0.0);
    let max = statistic(entry, "max", f64::max).unwrap_or(1.0);
    let mean = statistic(entry, "mean", f64::midpoint).unwrap_or(min);
    let deviation = statistic(entry, "std", f64::max).unwrap_or(0.0);
    let around = |deviations: f64| {
        let [low, high] = [mean - deviations * deviation, mean + deviations * deviation];
        let [low, high] = [low.max(min), high.min(max)];
        if low < high {
            [low, high]
        } else {
            [min, min + 1.0]
        }
    };
    let range = match entry.data_type {
        DataType::UInt8 => [0.0, 255.0],
        _ => around(RANGE_DEVIATIONS),
    };
    let contrast = percentiles(entry).unwrap_or_else(|| around(CONTRAST_DEVIATIONS));
    let contrast = contrast.map(|v| (v - range[0]) / (range[1] - range[0]));
    (range, contrast.map(|v| v.clamp(0.0, 1.0)))
}

/// The values of an 8-bit array between which almost all lie. 0 does not count: it is often padding.
fn percentiles(entry: &ArrayEntry) -> Option<[f64; 2]> {
    if entry.data_type.size_bytes() > 1 {
        return None;
    }
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    for statistics in entry.statistics.values() {
        for bin in statistics["histogram"].as_array().into_iter().flatten() {
            let (from, count) = (bin["from"].as_f64()?, bin["count"].as_u64()?);
            if from != 0.0 {
                let of_value = counts.entry(from as i64).or_default();
                *of_value = of_value.saturating_add(count);
            }
        }
    }
    let total = counts.values().fold(0u64, |sum, n| sum.saturating_add(*n));
    let value_at = |share: f64| {
        let mut below = 0u64;
        let mut values = counts.iter();
        let found = values.find(|(_, n)| {
            below = below.saturating_add(**n);
            below as f64 >= share * total as f64
        });
        found.map(|(value, _)| *value as f64)
    };
    let [low, high] = [value_at(OUTLIERS)?, value_at(1.0 - OUTLIERS)?];
    (low < high).then_some([low, high])
}

fn is_segmentation(entry: &ArrayEntry) -> bool {
    let max = statistic(entry, "max", f64::max);
    !entry.data_type.is_float() && max.is_some_and(|max| max > 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(data_type: DataType, role: Option<&str>, statistics: Value) -> ArrayEntry {
        ArrayEntry {
            layer: "layer".into(),
            data_type,
            role: role.map(str::to_owned),
            transform: "none".into(),
            dimensions: Vec::new(),
            sample_shape: [1, 16, 64, 64],
            window_voxels: [64, 64, 16],
            codec: None,
            padded_windows: Default::default(),
            statistics: [("train".to_owned(), statistics)].into_iter().collect(),
        }
    }

    #[test]
    fn the_role_decides_and_without_one_the_type() {
        let of = |data_type, role| kind(&entry(data_type, role, Value::Null));
        assert_eq!(of(DataType::UInt8, None), ArrayKind::Gray);
        assert_eq!(of(DataType::UInt64, None), ArrayKind::Overlay);
        assert_eq!(of(DataType::UInt64, Some("image")), ArrayKind::Gray);
        assert_eq!(of(DataType::UInt8, Some("target")), ArrayKind::Overlay);
        assert_eq!(of(DataType::UInt8, Some("mask")), ArrayKind::Mask);
        let mut rgb = entry(DataType::UInt8, Some("image"), Value::Null);
        rgb.sample_shape[0] = 3;
        assert_eq!(kind(&rgb), ArrayKind::Color);
        let mut mask = entry(DataType::UInt8, None, Value::Null);
        mask.transform = "nonzero".into();
        assert_eq!(kind(&mask), ArrayKind::Overlay);
    }

    #[test]
    fn the_range_of_wide_types_leaves_out_outliers_and_never_is_empty() {
        let statistics = serde_json::json!({"min": 0, "max": 65535, "mean": 1000, "std": 100});
        let (of_wide, contrast) = range(&entry(DataType::UInt16, None, statistics));
        assert_eq!((of_wide, contrast), ([500.0, 1500.0], [0.25, 0.75]));
        let statistics = serde_json::json!({"min": 7, "max": 7, "mean": 7, "std": 0});
        let (of_constant, _) = range(&entry(DataType::Float32, None, statistics));
        assert_eq!(of_constant, [7.0, 8.0]);
        let (of_unknown, contrast) = range(&entry(DataType::Float32, None, Value::Null));
        assert_eq!((of_unknown, contrast), ([0.0, 1.0], [0.0, 1.0]));
    }

    #[test]
    fn the_contrast_of_bytes_leaves_out_zeros_and_rare_values() {
        let bin = |from: u32, count: u32| serde_json::json!({"from": from, "to": from + 1, "count": count});
        let histogram = [
            bin(0, 9999),
            bin(3, 1),
            bin(51, 500),
            bin(204, 500),
            bin(250, 1),
        ];
        let statistics = serde_json::json!({"min": 0, "max": 250, "histogram": histogram});
        let (_, contrast) = range(&entry(DataType::UInt8, None, statistics));
        assert_eq!(contrast, [0.2, 0.8]);
    }

    #[test]
    fn integers_without_a_role_that_are_0_or_1_are_a_mask() {
        let statistics = serde_json::json!({"min": 0, "max": 1});
        let of = |data_type| kind(&entry(data_type, None, statistics.clone()));
        assert_eq!(of(DataType::UInt8), ArrayKind::Overlay);
        assert_eq!(of(DataType::Float32), ArrayKind::Gray);
    }

    #[test]
    fn large_windows_are_shown_with_a_step() {
        assert_eq!(step([1, 16, 64, 64]), [1, 1, 1]);
        assert_eq!(step([1, 64, 256, 256]), [1, 2, 2]);
        assert_eq!(step([1, 4096, 128, 64]), [32, 1, 1]);
        let shown = ShownArray {
            name: String::new(),
            kind: ArrayKind::Gray,
            data_type: DataType::UInt8,
            shape: [9, 3, 5, 7],
            step: [2, 2, 3],
            range: [0.0, 1.0],
            contrast: [0.0, 1.0],
            color: 0,
            is_segmentation: false,
        };
        assert_eq!(shown.shown_shape(), [4, 2, 3, 3]);
    }

    #[test]
    fn the_reference_is_the_largest_image_and_the_first_of_equal_ones() {
        let array = |name: &str, kind, n| ShownArray {
            name: name.into(),
            kind,
            data_type: DataType::UInt8,
            shape: [1, 1, n, n],
            step: [1; 3],
            range: [0.0, 1.0],
            contrast: [0.0, 1.0],
            color: 0,
            is_segmentation: false,
        };
        let arrays = [
            array("target", ArrayKind::Overlay, 99),
            array("small", ArrayKind::Gray, 8),
            array("first", ArrayKind::Gray, 16),
            array("second", ArrayKind::Gray, 16),
        ];
        assert_eq!(arrays[reference(&arrays)].name, "first");
        assert_eq!(reference(&arrays[..1]), 0);
    }
}
