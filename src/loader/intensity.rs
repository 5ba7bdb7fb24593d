//! Augmentation of image values: brightness, contrast, noise, missing sections and dropout.

use std::ops::Range;
use std::sync::LazyLock;

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::values::Buffer;

/// Smallest value of a voxel with data in a bounded input.
const DARKEST: f32 = 1.0 / 255.0;

/// A change of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ValueChange {
    /// Added to the values.
    pub brightness: f32,
    /// Factor of their distances from the mean.
    pub contrast: f32,
    /// Standard deviation of the noise.
    pub noise: f32,
}

/// The changes of the z sections of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SectionChanges {
    pub changes: Vec<ValueChange>,
    /// Source of noise.
    pub noise: Pcg64Mcg,
}

/// Applies brightness, contrast and noise to values of an input. Voxels without data (0) stay 0. If 1 is the largest value
/// (`is_bounded`), all others are clamped to 1/255 to 1.
pub(super) fn change(
    image: &mut [f32],
    is_bounded: bool,
    change: ValueChange,
    source: &mut Pcg64Mcg,
) {
    let limits = if is_bounded {
        [DARKEST, 1.0]
    } else {
        [f32::NEG_INFINITY, f32::INFINITY]
    };
    let ValueChange {
        brightness,
        contrast: factor,
        noise,
    } = change;
    let summand = if factor == 1.0 {
        brightness
    } else {
        brightness + mean(image) * (1.0 - factor)
    };
    if noise > 0.0 {
        let normal = &*NORMAL;
        for values in image.chunks_mut(PER_DRAW) {
            let mut bits = source.next_u64();
            map_nonzero(values, limits, |v| {
                let deviation = normal[bits as usize % LEVELS];
                bits >>= LEVELS.ilog2();
                v * factor + summand + deviation * noise
            });
        }
    } else if (factor, summand) != (1.0, 0.0) {
        map_nonzero(image, limits, |v| v * factor + summand);
    }
}

/// Applies to each z section its own change, the same one in every channel of the input, `[channel, z, y, x]`. The mean of
/// a section is that of its channel.
pub(super) fn change_sections(
    image: &mut [f32],
    is_bounded: bool,
    channels: usize,
    SectionChanges { changes, noise }: &mut SectionChanges,
) {
    let section = image.len() / (channels * changes.len()).max(1);
    let changes = changes.iter().cycle();
    for (section, values) in image.chunks_exact_mut(section.max(1)).zip(changes) {
        change(section, is_bounded, *values, noise);
    }
}

/// Voxels z, y, x of a window.
pub(super) type VoxelRanges = [Range<usize>; 3];

/// Sets voxels to 0 in every channel of an input, `[channel, z, y, x]`, with windows of the given shape.
pub(super) fn blank(image: &mut Buffer<'_>, window: [usize; 3], voxels: &VoxelRanges) {
    match image {
        Buffer::U8(image) => blank_values(image, window, voxels),
        Buffer::F32(image) => blank_values(image, window, voxels),
    }
}

fn blank_values<T: Copy + Default>(
    image: &mut [T],
    [nz, ny, nx]: [usize; 3],
    [z, y, x]: &VoxelRanges,
) {
    for channel in image.chunks_exact_mut(nz * ny * nx) {
        for section in channel[z.start * ny * nx..z.end * ny * nx].chunks_exact_mut(ny * nx) {
            for row in section[y.start * nx..y.end * nx].chunks_exact_mut(nx) {
                row[x.clone()].fill(T::default());
            }
        }
    }
}

/// Number of distinct noise values.
const LEVELS: usize = 1 << 12;

/// Noise values per 64 random bits.
const PER_DRAW: usize = (u64::BITS / LEVELS.ilog2()) as usize;

/// Quantiles of the normal distribution with deviation 1: the middle of each of `LEVELS` parts of equal probability. A
/// lookup takes a tenth of the time of drawing from the distribution.
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
fn map_nonzero(image: &mut [f32], [low, high]: [f32; 2], mut change: impl FnMut(f32) -> f32) {
    for value in image {
        let changed = change(*value).clamp(low, high);
        *value = if *value == 0.0 { 0.0 } else { changed };
    }
}

/// Mean of the finite values that are not 0; 0 if there are none. The order of summation is fixed.
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
    use crate::loader::transform::seeded_rng;

    /// Applies brightness, contrast and noise.
    fn changed(image: &mut [f32], is_bounded: bool, [brightness, contrast, noise]: [f32; 3]) {
        let values = ValueChange {
            brightness,
            contrast,
            noise,
        };
        change(image, is_bounded, values, &mut seeded_rng("noise", &[1]));
    }

    #[test]
    fn voxels_without_data_stay_zero_and_all_others_stay_nonzero() {
        let mut image = [0.0, 0.1, 0.5, 1.0, 0.0];
        changed(&mut image, true, [-0.4, 1.0, 0.0]);
        assert_eq!(image, [0.0, DARKEST, 0.5 - 0.4, 0.6, 0.0]);
        changed(&mut image, true, [2.0, 1.0, 0.0]);
        assert_eq!(image, [0.0, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn values_of_float_images_are_not_clamped() {
        let mut image = [0.0, -2.0, 5.0];
        changed(&mut image, false, [1.0, 1.0, 0.0]);
        assert_eq!(image, [0.0, -1.0, 6.0]);
    }

    #[test]
    fn contrast_scales_around_the_mean_of_the_voxels_with_data() {
        let mut image = [0.0, 0.25, 0.75, f32::NAN, 0.0];
        changed(&mut image, false, [0.0, 0.5, 0.0]);
        assert_eq!(image[..3], [0.0, 0.375, 0.625]);
        assert!(image[3].is_nan());
    }

    #[test]
    fn noise_has_the_given_deviation_and_mean_zero() {
        let mut image = vec![0.5; 100_001];
        image[7] = 0.0;
        changed(&mut image, false, [0.0, 1.0, 0.1]);
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
    fn noise_is_normally_distributed() {
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
    fn each_section_has_its_own_change_the_same_in_every_channel() {
        let section = |brightness, contrast, noise| ValueChange {
            brightness,
            contrast,
            noise,
        };
        let mut sections = SectionChanges {
            changes: vec![section(0.25, 1.0, 0.0), section(0.0, 0.5, 0.0)],
            noise: seeded_rng("noise", &[1]),
        };
        let mut image = [0.5, 0.0, 0.5, 1.0, 0.25, 0.5, 0.0, 0.75];
        change_sections(&mut image, true, 2, &mut sections);
        assert_eq!(image, [0.75, 0.0, 0.625, 0.875, 0.5, 0.75, 0.0, 0.75]);
        sections.changes = vec![section(0.0, 1.0, 0.0), section(0.0, 1.0, 0.1)];
        let mut image = [0.5; 8];
        change_sections(&mut image, true, 2, &mut sections);
        let changed = image.map(|v| v != 0.5);
        assert_eq!(
            changed,
            [false, false, true, true, false, false, true, true]
        );
    }

    #[test]
    fn a_blank_box_is_zero_in_every_channel_and_nowhere_else() {
        let window = [2, 3, 4];
        let mut image = [1.0; 2 * 24];
        blank(&mut Buffer::F32(&mut image), window, &[1..2, 0..2, 1..3]);
        for (i, value) in image.iter().enumerate() {
            let (z, y, x) = (i / 12 % 2, i / 4 % 3, i % 4);
            let is_blank = z == 1 && y < 2 && (x == 1 || x == 2);
            assert_eq!(*value == 0.0, is_blank, "{i}");
        }
    }

    #[test]
    fn a_missing_section_is_zero_in_every_channel_and_nowhere_else() {
        let (mut image, mut bytes) = ([0.5; 2 * 3 * 4], [5; 2 * 3 * 4]);
        let section = [1..2, 0..2, 0..2];
        blank(&mut Buffer::F32(&mut image), [3, 2, 2], &section);
        blank(&mut Buffer::U8(&mut bytes), [3, 2, 2], &section);
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
    fn the_mean_includes_all_values_for_any_length() {
        for n in 1..40 {
            let image: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(mean(&image), (n + 1) as f32 / 2.0);
        }
        assert_eq!(mean(&[0.0; 9]), 0.0);
    }
}
