//! Colors of voxels: gray for the image, and overlays for targets, predictions and masks.
//!
//! Targets are blue; predictions are orange to yellow. People with any common color blindness can tell these apart (Okabe
//! and Ito), and they differ in brightness, too. Only the image is gray.

/// Red, green, blue.
pub(in crate::preview) type Rgb = [u8; 3];

/// Targets: sky blue.
pub(super) const TARGET: Rgb = [86, 180, 233];
/// Unlikely predictions: vermilion.
pub(super) const UNLIKELY: Rgb = [213, 94, 0];
/// Likely predictions: yellow.
pub(super) const LIKELY: Rgb = [240, 228, 66];
/// NaN predictions: reddish purple.
pub(super) const NAN: Rgb = [204, 121, 167];
/// Gaps between tiles: darker than most images, and visible on light and dark pages.
pub(super) const GAP: Rgb = [20, 22, 26];

/// Overlays of arrays with one class: orange, sky blue, green, purple, yellow. Further arrays begin again.
pub(in crate::preview) const OVERLAY_COLORS: [Rgb; 5] = [
    [245, 130, 40],
    [86, 180, 233],
    [0, 200, 140],
    [214, 120, 190],
    [240, 228, 66],
];

/// Objects of a segmentation: an object mostly has the same color in all samples.
pub(in crate::preview) const LABEL_COLORS: [Rgb; 12] = [
    [230, 75, 60],
    [245, 150, 40],
    [240, 215, 60],
    [150, 205, 60],
    [50, 180, 100],
    [40, 195, 185],
    [60, 160, 235],
    [75, 105, 225],
    [140, 95, 230],
    [200, 90, 215],
    [235, 95, 160],
    [175, 130, 95],
];

/// The gray of a brightness from 0 to 1; NaN is black.
pub(in crate::preview) fn gray(brightness: f32) -> Rgb {
    [(brightness * 255.0).round() as u8; 3]
}

/// `top` over `bottom` with the given opacity.
pub(in crate::preview) fn blend(bottom: Rgb, top: Rgb, opacity: f32) -> Rgb {
    let mix = |b: u8, t: u8| (f32::from(b) + (f32::from(t) - f32::from(b)) * opacity).round() as u8;
    std::array::from_fn(|i| mix(bottom[i], top[i]))
}

/// A probability over `bottom`: the more likely, the more opaque and the more yellow. Unlikely voxels are hardly visible, so
/// that the image is.
pub(super) fn heat(bottom: Rgb, probability: f32) -> Rgb {
    if probability.is_nan() {
        return NAN;
    }
    let p = probability.clamp(0.0, 1.0);
    blend(bottom, blend(UNLIKELY, LIKELY, p), 0.7 * p * p)
}

/// A masked-out pixel at (x, y): dark, with bright diagonal stripes.
pub(in crate::preview) fn masked_out(bottom: Rgb, x: usize, y: usize) -> Rgb {
    const PERIOD: usize = 8;
    if (x + y).is_multiple_of(PERIOD) {
        blend(bottom, [255; 3], 0.25)
    } else {
        blend(bottom, [0; 3], 0.6)
    }
}

/// The meaning of the colors: a name, and one color or both ends of a range.
pub(in crate::preview) fn legend() -> [(&'static str, Vec<Rgb>); 3] {
    [
        ("target", vec![TARGET]),
        ("prediction, unlikely to likely", vec![UNLIKELY, LIKELY]),
        ("prediction is NaN", vec![NAN]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_outside_the_range_is_black_or_white() {
        assert_eq!(gray(0.5), [128; 3]);
        assert_eq!(gray(7.0), [255; 3]);
        assert_eq!(gray(-1.0), [0; 3]);
        assert_eq!(gray(f32::NAN), [0; 3]);
    }

    #[test]
    fn a_probability_of_zero_leaves_the_image_unchanged() {
        assert_eq!(heat([9, 10, 11], 0.0), [9, 10, 11]);
    }

    #[test]
    fn a_nan_prediction_has_its_own_color() {
        assert_eq!(heat([0; 3], f32::NAN), NAN);
    }
}
