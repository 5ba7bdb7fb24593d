//! The random crop, rotation and change of values of a sample.
//!
//! They depend on the seed, the epoch and the number of the sample, never on a thread or a clock.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::options::LoaderOptions;
use super::voxel_map::VoxelMap;

/// The random transform of one sample in one epoch.
#[derive(Clone, Debug)]
pub(super) struct SampleTransform {
    /// Crop, mirroring and rotation.
    pub map: VoxelMap,
    /// Added to the values of the image.
    pub brightness: f32,
    /// Factor of their distances from the mean.
    pub contrast: f32,
    /// The z section of the image to set to 0.
    pub missing_section: Option<usize>,
    /// Source of noise.
    pub noise: Pcg64Mcg,
}

impl SampleTransform {
    /// Draws the transform of a sample of `shape` from which `window` is loaded, both z, y, x.
    pub fn new(
        options: &LoaderOptions,
        epoch: u64,
        sample: u64,
        shape: [usize; 3],
        window: [usize; 3],
    ) -> Self {
        let mut rng = seeded_rng("sample", &[options.seed, epoch, sample]);
        let augmentation = &options.augmentation;
        let mut map = VoxelMap::whole(shape);
        if let Some(crop) = &options.crop {
            map = map.crop(crop.first(shape, &mut rng), window);
        }
        // Draw every number even if its option is off: then an option doesn't change the effect of the others.
        let flips = [
            augmentation.flip.z,
            augmentation.flip.y,
            augmentation.flip.x,
        ];
        for (axis, flip) in flips.into_iter().enumerate() {
            if rng.random::<bool>() && flip {
                map = map.flip(axis);
            }
        }
        if rng.random::<bool>() && augmentation.transpose_xy {
            map = map.transpose_xy();
        }
        let quarters = rng.random::<u32>() >> 30;
        if augmentation.rotate_xy {
            map = map.rotate_xy(quarters);
        }
        let mut uniform =
            |middle: f32, range: f32| middle + range * (2.0 * rng.random::<f32>() - 1.0);
        let brightness = uniform(0.0, augmentation.brightness);
        let contrast = uniform(1.0, augmentation.contrast);
        let missing = rng.random::<f32>() < augmentation.missing_section;
        let section = rng.random_range(0..window[0]);
        Self {
            map,
            brightness,
            contrast,
            missing_section: missing.then_some(section),
            noise: rng,
        }
    }
}

/// A random number generator seeded by `purpose` and `numbers`.
pub(super) fn seeded_rng(purpose: &str, numbers: &[u64]) -> Pcg64Mcg {
    let mut hasher = blake3::Hasher::new();
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(purpose.as_bytes());
    let mut seed = [0; 16];
    hasher.finalize_xof().fill(&mut seed);
    Pcg64Mcg::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tests::{all_options, options};

    fn draw(options: &LoaderOptions, epoch: u64, sample: u64) -> SampleTransform {
        let shape = [8, 16, 16];
        SampleTransform::new(
            options,
            epoch,
            sample,
            shape,
            options.window(shape).unwrap(),
        )
    }

    #[test]
    fn without_options_a_sample_is_unchanged() {
        for sample in 0..20 {
            let d = draw(&options(), 3, sample);
            assert_eq!(d.map, VoxelMap::whole([8, 16, 16]));
            assert_eq!(
                (d.brightness, d.contrast, d.missing_section),
                (0.0, 1.0, None)
            );
        }
    }

    #[test]
    fn a_transform_depends_on_seed_epoch_and_sample_only() {
        let all = all_options();
        let values = |d: SampleTransform| (d.map, d.brightness, d.contrast);
        assert_eq!(values(draw(&all, 1, 2)), values(draw(&all, 1, 2)));
        assert_ne!(values(draw(&all, 1, 2)), values(draw(&all, 2, 2)));
        assert_ne!(values(draw(&all, 1, 2)), values(draw(&all, 1, 3)));
        let other = LoaderOptions {
            seed: 9,
            ..all.clone()
        };
        assert_ne!(values(draw(&all, 1, 2)), values(draw(&other, 1, 2)));
        let more = LoaderOptions {
            workers: 9,
            batch_size: 9,
            prefetch: 9,
            ..all.clone()
        };
        assert_eq!(values(draw(&all, 1, 2)), values(draw(&more, 1, 2)));
    }

    #[test]
    fn every_option_takes_effect_at_its_rate() {
        let mut all = all_options();
        all.crop = None;
        all.augmentation.missing_section = 0.25;
        let draws: Vec<_> = (0..4000).map(|sample| draw(&all, 0, sample)).collect();
        let missing: Vec<_> = draws.iter().filter_map(|d| d.missing_section).collect();
        assert!((900..1100).contains(&missing.len()), "{}", missing.len());
        assert!((0..8).all(|z| missing.contains(&z)));
        // 8 symmetries of a square, and 2 along z.
        let maps: std::collections::HashSet<_> =
            draws.iter().map(|d| format!("{:?}", d.map)).collect();
        assert_eq!(maps.len(), 16);
        let range = all.augmentation.contrast;
        assert!(draws.iter().all(|d| (d.contrast - 1.0).abs() <= range));
        let high = draws.iter().filter(|d| d.contrast > 1.0).count();
        assert!((1850..2150).contains(&high), "{high}");
    }
}
