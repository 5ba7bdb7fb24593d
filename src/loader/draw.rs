//! What chance decides for a sample: where it is cropped, how it is turned, how its values are changed.
//!
//! All of it comes out of the seed, the epoch and the sample's number, never out of a thread or a clock.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::Options;
use super::view::View;

/// What is done to one sample.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    /// Which voxels are delivered, and where each goes.
    pub view: View,
    /// What is added to the image's values.
    pub brightness: f32,
    /// What their distances from the mean are multiplied by.
    pub contrast: f32,
    /// The z section of the image that is missing.
    pub missing_section: Option<usize>,
    /// Where noise comes from.
    pub noise: Pcg64Mcg,
}

impl Draw {
    /// For a sample of `shape` of which `window` is delivered, both z, y, x.
    pub fn new(
        options: &Options,
        epoch: u64,
        sample: u64,
        shape: [usize; 3],
        window: [usize; 3],
    ) -> Self {
        let mut random = random("sample", &[options.seed, epoch, sample]);
        let asked = &options.augmentation;
        let mut view = View::whole(shape);
        if let Some(crop) = &options.crop {
            view = view.crop(crop.first(shape, &mut random), window);
        }
        // All is drawn whether it is asked for or not: one more option leaves what the others do as it was.
        let flips = [asked.flip.z, asked.flip.y, asked.flip.x];
        for (axis, flip) in flips.into_iter().enumerate() {
            if random.random::<bool>() && flip {
                view = view.flip(axis);
            }
        }
        if random.random::<bool>() && asked.transpose_xy {
            view = view.transpose_xy();
        }
        let quarters = random.random::<u32>() >> 30;
        if asked.rotate_xy {
            view = view.rotate_xy(quarters);
        }
        let mut about =
            |middle: f32, range: f32| middle + range * (2.0 * random.random::<f32>() - 1.0);
        let brightness = about(0.0, asked.brightness);
        let contrast = about(1.0, asked.contrast);
        let missing = random.random::<f32>() < asked.missing_section;
        let section = random.random_range(0..window[0]);
        Self {
            view,
            brightness,
            contrast,
            missing_section: missing.then_some(section),
            noise: random,
        }
    }
}

/// Random numbers that are always the same for the same `numbers` and the same purpose.
pub(super) fn random(purpose: &str, numbers: &[u64]) -> Pcg64Mcg {
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
    use crate::loader::tests::{everything, options};

    fn draw(options: &Options, epoch: u64, sample: u64) -> Draw {
        let shape = [8, 16, 16];
        Draw::new(
            options,
            epoch,
            sample,
            shape,
            options.window(shape).unwrap(),
        )
    }

    #[test]
    fn without_options_a_sample_is_as_it_is_stored() {
        for sample in 0..20 {
            let d = draw(&options(), 3, sample);
            assert_eq!(d.view, View::whole([8, 16, 16]));
            assert_eq!(
                (d.brightness, d.contrast, d.missing_section),
                (0.0, 1.0, None)
            );
        }
    }

    #[test]
    fn seed_epoch_and_sample_make_a_difference_and_nothing_else_does() {
        let all = everything();
        let view = |d: Draw| (d.view, d.brightness, d.contrast);
        assert_eq!(view(draw(&all, 1, 2)), view(draw(&all, 1, 2)));
        assert_ne!(view(draw(&all, 1, 2)), view(draw(&all, 2, 2)));
        assert_ne!(view(draw(&all, 1, 2)), view(draw(&all, 1, 3)));
        let other = Options {
            seed: 9,
            ..all.clone()
        };
        assert_ne!(view(draw(&all, 1, 2)), view(draw(&other, 1, 2)));
        let more = Options {
            workers: 9,
            batch_size: 9,
            prefetch: 9,
            ..all.clone()
        };
        assert_eq!(view(draw(&all, 1, 2)), view(draw(&more, 1, 2)));
    }

    #[test]
    fn everything_that_is_asked_for_happens_about_as_often_as_it_should() {
        let mut all = everything();
        all.crop = None;
        all.augmentation.missing_section = 0.25;
        let draws: Vec<_> = (0..4000).map(|sample| draw(&all, 0, sample)).collect();
        let missing: Vec<_> = draws.iter().filter_map(|d| d.missing_section).collect();
        assert!((900..1100).contains(&missing.len()), "{}", missing.len());
        assert!((0..8).all(|z| missing.contains(&z)));
        // 8 ways to turn a square, and 2 along z.
        let views: std::collections::HashSet<_> =
            draws.iter().map(|d| format!("{:?}", d.view)).collect();
        assert_eq!(views.len(), 16);
        let range = all.augmentation.contrast;
        assert!(draws.iter().all(|d| (d.contrast - 1.0).abs() <= range));
        let high = draws.iter().filter(|d| d.contrast > 1.0).count();
        assert!((1850..2150).contains(&high), "{high}");
    }
}
