//! Rotation by any angle and misalignment of sections: where each voxel of a window comes from, in the plane.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::augmentation::{Augmentation, Misalignment};
use super::transform::seeded_rng;

/// Rotates a window about its centre, then displaces some of its z sections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Warp {
    /// Cosine and sine of the angle, if the window is rotated.
    rotation: Option<[f32; 2]>,
    displacements: [Displacement; 2],
}

/// Sections `first..end` are displaced by `voxels` y, x.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Displacement {
    first: usize,
    end: usize,
    voxels: [isize; 2],
}

impl Warp {
    /// Draws rotation and misalignment of a window with that many sections; `None` if there is neither. `numbers` are those
    /// of the sample. Each option has its own random numbers, so that it doesn't change the effect of the others.
    pub fn draw(augmentation: &Augmentation, numbers: &[u64], sections: usize) -> Option<Self> {
        if !augmentation.may_leave_sample() {
            return None;
        }
        let rotation = (augmentation.rotate_xy_degrees > 0.0).then(|| {
            let mut rng = seeded_rng("rotate_xy_degrees", numbers);
            let degrees = augmentation.rotate_xy_degrees * (2.0 * rng.random::<f32>() - 1.0);
            let (sin, cos) = degrees.to_radians().sin_cos();
            [cos, sin]
        });
        let slip = augmentation.slip.and_then(|slip| {
            let mut rng = seeded_rng("slip", numbers);
            let first = rng.random_range(0..sections);
            Displacement::draw(slip, first..first + 1, &mut rng)
        });
        let step = augmentation.step.and_then(|step| {
            let mut rng = seeded_rng("step", numbers);
            let first = rng.random_range(1..sections.max(2));
            Displacement::draw(step, first..sections, &mut rng)
        });
        if (rotation, slip, step) == (None, None, None) {
            return None;
        }
        Some(Self {
            rotation,
            displacements: [slip.unwrap_or_default(), step.unwrap_or_default()],
        })
    }

    /// Whether voxels come from between stored voxels.
    pub fn is_rotated(&self) -> bool {
        self.rotation.is_some()
    }

    /// Calls `fill` with each voxel of a channel of `shape` z, y, x, with its section, and with the position y, x in the
    /// window that it comes from. That may be outside of the window.
    pub fn each_voxel<O>(
        &self,
        shape: [usize; 3],
        out: &mut [O],
        fill: impl Fn(&mut O, usize, [f32; 2]),
    ) {
        let [nz, ny, nx] = shape;
        let [cos, sin] = self.rotation.unwrap_or([1.0, 0.0]);
        let [center_y, center_x] = [ny, nx].map(|n| (n as f32 - 1.0) / 2.0);
        let mut rows = out.chunks_exact_mut(nx);
        for z in 0..nz {
            let [dy, dx] = self.displacement(z).map(|voxels| voxels as f32);
            for (y, row) in (0..ny).zip(&mut rows) {
                let from_center_y = y as f32 - dy - center_y;
                for (x, voxel) in row.iter_mut().enumerate() {
                    let from_center_x = x as f32 - dx - center_x;
                    let source = [
                        center_y + cos * from_center_y + sin * from_center_x,
                        center_x - sin * from_center_y + cos * from_center_x,
                    ];
                    fill(voxel, z, source);
                }
            }
        }
    }

    /// By how many voxels y, x a section is displaced.
    fn displacement(&self, z: usize) -> [isize; 2] {
        let here = |d: &&Displacement| (d.first..d.end).contains(&z);
        let displaced = self.displacements.iter().filter(here);
        displaced.fold([0, 0], |[y, x], d| [y + d.voxels[0], x + d.voxels[1]])
    }
}

impl Displacement {
    fn draw(
        misalignment: Misalignment,
        sections: std::ops::Range<usize>,
        rng: &mut Pcg64Mcg,
    ) -> Option<Self> {
        let is_misaligned = rng.random::<f32>() < misalignment.probability;
        let largest = misalignment.max_voxels as isize;
        let voxels = std::array::from_fn(|_| {
            let voxels = rng.random_range(0..=2 * misalignment.max_voxels as u64);
            voxels as isize - largest
        });
        is_misaligned.then_some(Self {
            first: sections.start,
            end: sections.end,
            voxels,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Rotates by that many quarter turns, and displaces sections from `first` on by `voxels` y, x.
    pub fn warp(quarters: u32, first: usize, voxels: [isize; 2]) -> Warp {
        let [cos, sin] = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]][quarters as usize % 4];
        let displacement = Displacement {
            first,
            end: usize::MAX,
            voxels,
        };
        Warp {
            rotation: (quarters > 0).then_some([cos, sin]),
            displacements: [Displacement::default(), displacement],
        }
    }

    /// Rotates by an angle.
    pub fn turned(degrees: f32) -> Warp {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Warp {
            rotation: Some([cos, sin]),
            displacements: Default::default(),
        }
    }

    fn draws(augmentation: &Augmentation) -> Vec<Option<Warp>> {
        let draw = |sample| Warp::draw(augmentation, &[1, 0, sample], 5);
        (0..4000).map(draw).collect()
    }

    const MISALIGNMENT: Misalignment = Misalignment {
        probability: 0.25,
        max_voxels: 2,
    };

    #[test]
    fn one_section_slips_and_all_sections_from_one_on_step_at_the_given_rate() {
        let slip = Augmentation {
            slip: Some(MISALIGNMENT),
            ..Augmentation::default()
        };
        let step = Augmentation {
            step: Some(MISALIGNMENT),
            ..Augmentation::default()
        };
        for (augmentation, i) in [(&slip, 0), (&step, 1)] {
            let found: Vec<_> = draws(augmentation).into_iter().flatten().collect();
            assert!((900..1100).contains(&found.len()), "{}", found.len());
            assert!(found.iter().all(|w| !w.is_rotated()));
            let of = |w: &Warp| w.displacements[i];
            assert!(
                found
                    .iter()
                    .all(|w| w.displacements[1 - i] == Displacement::default())
            );
            let mut firsts: Vec<_> = found.iter().map(|w| of(w).first).collect();
            let ends_fit = |d: Displacement| d.end == if i == 0 { d.first + 1 } else { 5 };
            assert!(found.iter().all(|w| ends_fit(of(w))));
            firsts.sort_unstable();
            firsts.dedup();
            assert_eq!(firsts, (i..5).collect::<Vec<_>>());
            let mut voxels: Vec<_> = found.iter().map(|w| of(w).voxels).collect();
            voxels.sort_unstable();
            voxels.dedup();
            let all = (-2..=2).flat_map(|y| (-2..=2).map(move |x| [y, x]));
            assert_eq!(voxels, all.collect::<Vec<_>>());
        }
    }

    #[test]
    fn angles_are_uniform_up_to_the_largest_in_both_directions() {
        let rotation = Augmentation {
            rotate_xy_degrees: 30.0,
            ..Augmentation::default()
        };
        let degrees = |w: Option<Warp>| {
            let [cos, sin] = w.unwrap().rotation.unwrap();
            sin.atan2(cos).to_degrees()
        };
        let found: Vec<_> = draws(&rotation).into_iter().map(degrees).collect();
        assert!(found.iter().all(|d| d.abs() < 30.001));
        for (low, high) in [(-30.0, -15.0), (-15.0, 0.0), (0.0, 15.0), (15.0, 30.0)] {
            let n = found.iter().filter(|d| (low..high).contains(*d)).count();
            assert!((900..1100).contains(&n), "{low}: {n}");
        }
    }

    #[test]
    fn an_option_does_not_change_the_effect_of_the_others() {
        let one = Augmentation {
            slip: Some(MISALIGNMENT),
            ..Augmentation::default()
        };
        let all = Augmentation {
            step: Some(MISALIGNMENT),
            rotate_xy_degrees: 10.0,
            ..one
        };
        for (one, all) in draws(&one).into_iter().zip(draws(&all)) {
            let slip = one.map_or_else(Displacement::default, |w| w.displacements[0]);
            assert_eq!(slip, all.unwrap().displacements[0]);
        }
    }
}
