//! What is done to the values of an image: brightness, contrast, noise, a missing section.

use std::sync::LazyLock;

use rand::Rng;

use super::batch::Room;
use super::draw::Draw;

/// Smallest value that a voxel with data of an image of integers is given.
const DARKEST: f32 = 1.0 / 255.0;

/// Changes the values of a sample's `image` as was drawn for it, with noise of that standard deviation. Voxels without
/// data, 0, stay so; of images of `integers` all others stay within 1/255 and 1.
pub(super) fn change(image: &mut [f32], integers: bool, noise: f32, draw: &mut Draw) {
    let limits = match integers {
        true => [DARKEST, 1.0],
        false => [f32::NEG_INFINITY, f32::INFINITY],
    };
    let factor = draw.contrast;
    let summand = match factor == 1.0 {
        true => draw.brightness,
        false => draw.brightness + mean(image) * (1.0 - factor),
    };
    if noise > 0.0 {
        let normal = &*NORMAL;
        for values in image.chunks_mut(PER_DRAW) {
            let mut bits = draw.noise.next_u64();
            each(values, limits, |v| {
                let deviation = normal[bits as usize % LEVELS];
                bits >>= LEVELS.ilog2();
                v * factor + summand + deviation * noise
            });
        }
    } else if (factor, summand) != (1.0, 0.0) {
        each(image, limits, |v| v * factor + summand);
    }
}

/// Makes all values of a z section 0 in every channel of an `image`, `[channel, z, y, x]`.
pub(super) fn blank(image: &mut Room<'_>, [channels, z]: [usize; 2], section: usize) {
    match image {
        Room::U8(image) => blank_values(image, [channels, z], section),
        Room::F32(image) => blank_values(image, [channels, z], section),
    }
}

fn blank_values<T: Copy + Default>(image: &mut [T], [channels, z]: [usize; 2], missing: usize) {
    let section = image.len() / (channels * z);
    for channel in image.chunks_exact_mut(z * section) {
        channel[missing * section..][..section].fill(T::default());
    }
}

/// Different numbers that noise is made of.
const LEVELS: usize = 1 << 12;

/// Numbers of that many levels out of 64 random bits.
const PER_DRAW: usize = (u64::BITS / LEVELS.ilog2()) as usize;

/// Numbers of equal probability that together are distributed normally, with deviation 1: the middle of each part of the
/// distribution. Looking them up takes a tenth of the time that drawing from the distribution does.
static NORMAL: LazyLock<Box<[f32; LEVELS]>> = LazyLock::new(|| {
    const STEP: f64 = 1e-3;
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let mut levels = [0.0; LEVELS];
    let (mut x, mut below) = (-6.0, 0.0);
    for i in 0..LEVELS / 2 {
        let wanted = (i as f64 + 0.5) / LEVELS as f64;
        while below < wanted {
            below += density(x + STEP / 2.0) * STEP;
            x += STEP;
        }
        let level = x - (below - wanted) / density(x);
        (levels[i], levels[LEVELS - 1 - i]) = (level, -level);
    }
    let variance = levels.iter().map(|v| v * v).sum::<f64>() / LEVELS as f64;
    Box::new(levels.map(|v| (v / variance.sqrt()) as f32))
});

/// Replaces every value that is not 0.
fn each(image: &mut [f32], [low, high]: [f32; 2], mut change: impl FnMut(f32) -> f32) {
    for value in image {
        let changed = change(*value).clamp(low, high);
        *value = if *value == 0.0 { 0.0 } else { changed };
    }
}

/// Mean of the values that are not 0 and finite; 0 where there is none. Always added up in the same order.
fn mean(image: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0f64; LANES];
    let mut counts = [0u32; LANES];
    let mut add = |values: &[f32]| {
        for ((sum, count), value) in sums.iter_mut().zip(&mut counts).zip(values) {
            let has_data = value.is_finite() && *value != 0.0;
            *sum += if has_data { f64::from(*value) } else { 0.0 };
            *count += u32::from(has_data);
        }
    };
    let (whole, rest) = image.as_chunks::<LANES>();
    whole.iter().for_each(|values| add(values));
    add(rest);
    let count: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    match count {
        0 => 0.0,
        _ => (sums.iter().sum::<f64>() / count as f64) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::draw::random;
    use crate::loader::view::View;

    fn draw(brightness: f32, contrast: f32) -> Draw {
        Draw {
            view: View::whole([1, 1, 1]),
            brightness,
            contrast,
            missing_section: None,
            noise: random("noise", &[1]),
        }
    }

    #[test]
    fn voxels_without_data_stay_so_and_all_others_have_data() {
        let mut image = [0.0, 0.1, 0.5, 1.0, 0.0];
        change(&mut image, true, 0.0, &mut draw(-0.4, 1.0));
        assert_eq!(image, [0.0, DARKEST, 0.5 - 0.4, 0.6, 0.0]);
        change(&mut image, true, 0.0, &mut draw(2.0, 1.0));
        assert_eq!(image, [0.0, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn values_of_floating_point_images_are_not_limited() {
        let mut image = [0.0, -2.0, 5.0];
        change(&mut image, false, 0.0, &mut draw(1.0, 1.0));
        assert_eq!(image, [0.0, -1.0, 6.0]);
    }

    #[test]
    fn contrast_is_about_the_mean_of_the_voxels_with_data() {
        let mut image = [0.0, 0.25, 0.75, f32::NAN, 0.0];
        change(&mut image, false, 0.0, &mut draw(0.0, 0.5));
        assert_eq!(image[..3], [0.0, 0.375, 0.625]);
        assert!(image[3].is_nan());
    }

    #[test]
    fn noise_has_the_deviation_that_is_asked_for_and_no_mean() {
        let mut image = vec![0.5; 100_001];
        image[7] = 0.0;
        change(&mut image, false, 0.1, &mut draw(0.0, 1.0));
        assert_eq!(image[7], 0.0);
        let n = image.len() as f64;
        let mean = image.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = image
            .iter()
            .map(|v| (f64::from(*v) - mean).powi(2))
            .sum::<f64>()
            / n;
        assert!((mean - 0.5).abs() < 0.002, "{mean}");
        assert!((variance.sqrt() - 0.1).abs() < 0.002, "{variance}");
    }

    #[test]
    fn noise_is_distributed_normally() {
        assert!(NORMAL.is_sorted());
        let share = |deviations: f32| {
            let beyond = NORMAL.iter().filter(|v| v.abs() > deviations).count();
            beyond as f64 / LEVELS as f64
        };
        for (deviations, expected) in [(0.5, 0.6171), (1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)] {
            assert!((share(deviations) - expected).abs() < 1e-3, "{deviations}");
        }
    }

    #[test]
    fn a_missing_section_is_missing_in_every_channel_and_nowhere_else() {
        let (mut image, mut bytes) = ([0.5; 2 * 3 * 4], [5; 2 * 3 * 4]);
        blank(&mut Room::F32(&mut image), [2, 3], 1);
        blank(&mut Room::U8(&mut bytes), [2, 3], 1);
        let sections: Vec<_> = image.chunks(4).map(|s| s == [0.0; 4]).collect();
        assert_eq!(sections, [false, true, false, false, true, false]);
        assert!(
            image
                .iter()
                .zip(bytes)
                .all(|(v, b)| (*v == 0.0) == (b == 0))
        );
    }

    #[test]
    fn the_mean_is_of_all_values_whatever_their_number() {
        for n in 1..40 {
            let image: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(mean(&image), (n + 1) as f32 / 2.0);
        }
        assert_eq!(mean(&[0.0; 9]), 0.0);
    }
}
