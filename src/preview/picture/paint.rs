//! Colours of voxels: gray from brightness, and what is laid over it.
//!
//! Blue for what is there and orange to yellow for what is predicted: the two that people with any common colour
//! blindness tell apart (Okabe and Ito), and that differ in brightness too. Gray stays the image's own.

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

/// Of targets: sky blue.
pub(super) const TARGET: Rgb = [86, 180, 233];
/// Of weak predictions: vermilion.
pub(super) const WEAK: Rgb = [213, 94, 0];
/// Of strong predictions: yellow.
pub(super) const STRONG: Rgb = [240, 228, 66];
/// Of predictions that are no numbers: reddish purple.
pub(super) const NO_NUMBER: Rgb = [204, 121, 167];
/// Between tiles: darker than most of an image, and fit for light and dark pages.
pub(super) const GAP: Rgb = [20, 22, 26];

/// A brightness of 0 to 1; what is no number is black.
pub(super) fn gray(brightness: f32) -> Rgb {
    [(brightness * 255.0).round() as u8; 3]
}

/// `top` over `bottom`, `share` of it.
pub(super) fn blend(bottom: Rgb, top: Rgb, share: f32) -> Rgb {
    let mix = |b: u8, t: u8| (f32::from(b) + (f32::from(t) - f32::from(b)) * share).round() as u8;
    std::array::from_fn(|i| mix(bottom[i], top[i]))
}

/// A probability over `bottom`: the more likely, the less of the image shines through and the more yellow it is.
pub(super) fn heat(bottom: Rgb, probability: f32) -> Rgb {
    if probability.is_nan() {
        return NO_NUMBER;
    }
    let p = probability.clamp(0.0, 1.0);
    blend(bottom, blend(WEAK, STRONG, p), 0.8 * p)
}

/// What is masked out, at a place of the picture: dark, with bright stripes from the upper right to the lower left.
pub(super) fn masked_out(bottom: Rgb, x: usize, y: usize) -> Rgb {
    const EVERY: usize = 8;
    match (x + y) % EVERY {
        0 => blend(bottom, [255; 3], 0.25),
        _ => blend(bottom, [0; 3], 0.6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_out_of_range_is_black_or_white() {
        assert_eq!(gray(0.5), [128; 3]);
        assert_eq!(gray(7.0), [255; 3]);
        assert_eq!(gray(-1.0), [0; 3]);
        assert_eq!(gray(f32::NAN), [0; 3]);
    }

    #[test]
    fn nothing_predicted_leaves_the_image_as_it_is() {
        assert_eq!(heat([9, 10, 11], 0.0), [9, 10, 11]);
    }

    #[test]
    fn a_prediction_that_is_no_number_is_seen() {
        assert_eq!(heat([0; 3], f32::NAN), NO_NUMBER);
    }
}
