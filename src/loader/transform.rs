//! The random crop, rotation and change of values of a sample.
//!
//! They depend on the seed, the epoch and the number of the sample, never on a thread or a clock.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::augmentation::Augmentation;
use super::intensity::{SectionChanges, ValueChange, VoxelRanges};
use super::options::LoaderOptions;
use super::voxel_map::VoxelMap;
use super::warp::Warp;

/// The random transform of one sample in one epoch.
#[derive(Clone, Debug)]
pub(super) struct SampleTransform {
    /// Crop, mirroring, rotation and misalignment.
    pub map: VoxelMap,
    /// The change of all values of the image.
    pub values: ValueChange,
    /// Source of its noise.
    pub noise: Pcg64Mcg,
    /// Then the change of each z section, if any.
    pub sections: Option<SectionChanges>,
    /// Voxels of the image to set to 0: missing sections and dropout.
    pub blanks: Vec<VoxelRanges>,
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
        let numbers = [options.seed, epoch, sample];
        let mut rng = seeded_rng("sample", &numbers);
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
        let brightness = uniform(&mut rng, 0.0, augmentation.brightness);
        let contrast = uniform(&mut rng, 1.0, augmentation.contrast);
        let missing = rng.random::<f32>() < augmentation.missing_section;
        let section = rng.random_range(0..window[0]);
        // The options below came later. Each has its own generator: then configs without them give the same batches as before.
        let mut blanks = Vec::new();
        if missing {
            add_missing_sections(augmentation, &numbers, section, window, &mut blanks);
        }
        add_dropout(augmentation, &numbers, window, &mut blanks);
        Self {
            map: map.warp(Warp::draw(augmentation, &numbers, window[0])),
            values: ValueChange {
                brightness,
                contrast,
                noise: augmentation.noise,
            },
            noise: rng,
            sections: section_changes(augmentation, &numbers, window[0]),
            blanks,
        }
    }
}

/// Draws a number from `middle - range` to `middle + range`.
fn uniform(rng: &mut Pcg64Mcg, middle: f32, range: f32) -> f32 {
    middle + range * (2.0 * rng.random::<f32>() - 1.0)
}

/// Draws how the values of each z section are changed.
fn section_changes(
    augmentation: &Augmentation,
    numbers: &[u64],
    sections: usize,
) -> Option<SectionChanges> {
    if !augmentation.changes_sections() {
        return None;
    }
    let mut rng = seeded_rng("sections", numbers);
    let draw = |_| ValueChange {
        brightness: uniform(&mut rng, 0.0, augmentation.section_brightness),
        contrast: uniform(&mut rng, 1.0, augmentation.section_contrast),
        noise: augmentation.section_noise * rng.random::<f32>(),
    };
    let changes = (0..sections).map(draw).collect();
    Some(SectionChanges {
        changes,
        noise: rng,
    })
}

/// Adds the missing section `first`, and draws more of them.
fn add_missing_sections(
    augmentation: &Augmentation,
    numbers: &[u64],
    first: usize,
    [z, y, x]: [usize; 3],
    blanks: &mut Vec<VoxelRanges>,
) {
    let mut add = |section: usize| blanks.push([section..section + 1, 0..y, 0..x]);
    add(first);
    if let Some(most) = augmentation.missing_sections_max {
        let mut rng = seeded_rng("missing_sections", numbers);
        let more = rng.random_range(0..z.min(most.get() as usize));
        let mut others: Vec<usize> = (0..z).filter(|section| *section != first).collect();
        for _ in 0..more {
            add(others.swap_remove(rng.random_range(0..others.len())));
        }
    }
}

/// Draws the boxes of coarse dropout.
fn add_dropout(
    augmentation: &Augmentation,
    numbers: &[u64],
    window: [usize; 3],
    blanks: &mut Vec<VoxelRanges>,
) {
    let Some(dropout) = augmentation.coarse_dropout else {
        return;
    };
    let mut rng = seeded_rng("coarse_dropout", numbers);
    if rng.random::<f32>() >= dropout.probability {
        return;
    }
    let [x, y, z] = dropout.size.map(|n| n.get() as usize);
    let size = [z, y, x];
    for _ in 0..dropout.boxes {
        blanks.push(std::array::from_fn(|axis| {
            let first = rng.random_range(0..=window[axis] - size[axis]);
            first..first + size[axis]
        }));
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
    use std::num::NonZeroU32;

    use super::*;
    use crate::loader::augmentation::{CoarseDropout, Misalignment};
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
            let ValueChange {
                brightness,
                contrast,
                noise,
            } = d.values;
            assert_eq!([brightness, contrast, noise], [0.0, 1.0, 0.0]);
            assert!(d.blanks.is_empty() && d.sections.is_none());
        }
    }

    #[test]
    fn a_transform_depends_on_seed_epoch_and_sample_only() {
        let all = all_options();
        let values = |d: SampleTransform| (d.map, d.values, d.sections, d.blanks);
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
    fn every_option_has_other_numbers_in_each_epoch_sample_and_seed() {
        let always = |max_voxels| Misalignment {
            probability: 1.0,
            max_voxels,
        };
        let options = LoaderOptions {
            augmentation: Augmentation {
                rotate_xy_degrees: 90.0,
                slip: Some(always(8)),
                step: Some(always(8)),
                section_brightness: 0.1,
                missing_section: 1.0,
                missing_sections_max: NonZeroU32::new(8),
                coarse_dropout: Some(CoarseDropout {
                    probability: 1.0,
                    boxes: 1,
                    size: [NonZeroU32::MIN; 3],
                }),
                ..Augmentation::default()
            },
            ..options()
        };
        let other_seed = LoaderOptions {
            seed: options.seed + 1,
            ..options.clone()
        };
        let parts = |d: SampleTransform| {
            let (dropout, missing) = d.blanks.split_last().unwrap();
            let changes = d.sections.unwrap().changes;
            [
                format!("{:?}", d.map),
                format!("{:?}", changes[0].brightness),
                format!("{dropout:?}"),
                missing.len().to_string(),
            ]
        };
        let mut same = [[0; 4]; 3];
        for sample in 0..200 {
            let one = parts(draw(&options, 3, sample));
            let others = [
                draw(&options, 4, sample),
                draw(&options, 3, sample + 1),
                draw(&other_seed, 3, sample),
            ];
            for (same, other) in same.iter_mut().zip(others.map(parts)) {
                for (same, (one, other)) in same.iter_mut().zip(one.iter().zip(&other)) {
                    *same += usize::from(one == other);
                }
            }
        }
        // By chance, one of 8 numbers of missing sections is the same, and hardly ever a box.
        let is_other = |same: &[usize; 4]| same[..3].iter().all(|n| *n < 5) && same[3] < 50;
        assert!(same.iter().all(is_other), "{same:?}");
    }

    #[test]
    fn every_option_takes_effect_at_its_rate() {
        let mut all = all_options();
        all.crop = None;
        all.augmentation.missing_section = 0.25;
        all.augmentation.missing_sections_max = None;
        all.augmentation.coarse_dropout = None;
        let draws: Vec<_> = (0..4000).map(|sample| draw(&all, 0, sample)).collect();
        let missing: Vec<_> = draws.iter().flat_map(|d| &d.blanks).collect();
        assert!((900..1100).contains(&missing.len()), "{}", missing.len());
        let section = |z| [z..z + 1, 0..16, 0..16];
        assert!((0..8).all(|z| missing.contains(&&section(z))));
        // 8 symmetries of a square, and 2 along z.
        let maps: std::collections::HashSet<_> = draws
            .iter()
            .map(|d| format!("{:?}", d.map.warp(None)))
            .collect();
        assert_eq!(maps.len(), 16);
        let range = all.augmentation.contrast;
        assert!(
            draws
                .iter()
                .all(|d| (d.values.contrast - 1.0).abs() <= range)
        );
        let high = draws.iter().filter(|d| d.values.contrast > 1.0).count();
        assert!((1850..2150).contains(&high), "{high}");
    }

    /// The transforms of 4000 samples.
    fn draws(augmentation: Augmentation) -> impl Iterator<Item = SampleTransform> {
        let options = LoaderOptions {
            augmentation,
            ..options()
        };
        (0..4000).map(move |sample| draw(&options, 0, sample))
    }

    #[test]
    fn up_to_the_given_number_of_different_sections_are_missing() {
        for (most, largest) in [(1, 1), (3, 3), (8, 8), (99, 8)] {
            let mut counts = [0_usize; 9];
            for d in draws(Augmentation {
                missing_section: 0.5,
                missing_sections_max: NonZeroU32::new(most),
                ..Augmentation::default()
            }) {
                let mut sections: Vec<_> = d.blanks.iter().map(|b| b[0].start).collect();
                counts[sections.len()] += 1;
                sections.sort_unstable();
                sections.dedup();
                assert_eq!(sections.len(), d.blanks.len());
            }
            assert!((1850..2150).contains(&counts[0]), "{counts:?}");
            let expected = 2000 / largest;
            for (n, count) in counts.iter().enumerate().skip(1) {
                let expected = if n <= largest { expected } else { 0 };
                assert!(count.abs_diff(expected) <= expected / 4, "{n}: {counts:?}");
            }
        }
    }

    #[test]
    fn dropout_sets_boxes_of_the_given_number_and_size_anywhere_in_the_window_to_zero() {
        let size = [3, 4, 2].map(|n| NonZeroU32::new(n).unwrap());
        let dropout = CoarseDropout {
            probability: 0.25,
            boxes: 3,
            size,
        };
        let augmentation = Augmentation {
            coarse_dropout: Some(dropout),
            ..Augmentation::default()
        };
        let found: Vec<_> = draws(augmentation).map(|d| d.blanks).collect();
        let hit: Vec<_> = found.iter().filter(|b| !b.is_empty()).collect();
        assert!((900..1100).contains(&hit.len()), "{}", hit.len());
        assert!(hit.iter().all(|b| b.len() == 3));
        let boxes = || hit.iter().flat_map(|b| b.iter());
        assert!(boxes().all(|b| b.each_ref().map(|r| r.len()) == [2, 4, 3]));
        for (axis, last) in [(0, 6), (1, 12), (2, 13)] {
            let at = |i| boxes().any(|b| b[axis].start == i);
            assert!((0..=last).all(at) && boxes().all(|b| b[axis].start <= last));
        }
    }

    #[test]
    fn each_section_has_another_change_within_the_given_ranges() {
        let augmentation = Augmentation {
            section_brightness: 0.1,
            section_contrast: 0.2,
            section_noise: 0.3,
            ..Augmentation::default()
        };
        let sections: Vec<_> = draws(augmentation).map(|d| d.sections.unwrap()).collect();
        assert!(sections.iter().all(|s| s.changes.len() == 8));
        let changes = || sections.iter().flat_map(|s| &s.changes);
        for (change, [middle, low, high]) in [
            (
                changes().map(|c| c.brightness).collect::<Vec<_>>(),
                [0.0, -0.1, 0.1],
            ),
            (changes().map(|c| c.contrast).collect(), [1.0, 0.8, 1.2]),
            (changes().map(|c| c.noise).collect(), [0.15, 0.0, 0.3]),
        ] {
            assert!(change.iter().all(|v| (low..=high).contains(v)));
            let above = change.iter().filter(|v| **v > middle).count();
            assert!((15_500..16_500).contains(&above), "{above}");
            assert!(change[0] != change[1]);
        }
    }

    #[test]
    fn an_option_does_not_change_the_effect_of_the_others() {
        let LoaderOptions { augmentation, .. } = all_options();
        let old = Augmentation {
            rotate_xy_degrees: 0.0,
            slip: None,
            step: None,
            section_brightness: 0.0,
            section_contrast: 0.0,
            section_noise: 0.0,
            missing_sections_max: None,
            coarse_dropout: None,
            ..augmentation
        };
        for (old, all) in draws(old).zip(draws(augmentation)).take(200) {
            assert_eq!((old.map, old.values), (all.map.warp(None), all.values));
            assert_eq!(old.noise, all.noise);
            assert!(all.blanks.starts_with(&old.blanks));
        }
        let one = Augmentation {
            section_noise: augmentation.section_noise,
            ..old
        };
        for (one, all) in draws(one).zip(draws(augmentation)).take(200) {
            let (one, all) = (one.sections.unwrap(), all.sections.unwrap());
            assert_eq!(one.noise, all.noise);
            let same = |(one, all): (&ValueChange, &ValueChange)| one.noise == all.noise;
            assert!(one.changes.iter().zip(&all.changes).all(same));
        }
    }
}
