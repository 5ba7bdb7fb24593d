//! Resampling by its definition, voxel by voxel, in whole numbers: see docs/config.md and `voxels::resample`.

use std::ops::Range;

use super::number::Number;
use super::voxels::{Voxel, Voxels};
use crate::config::{Interpolation, Rounding};
use crate::geometry::VoxelBox;
use crate::volume::VolumeError;
use crate::voxels::Ratio;

/// Values of a box of voxels, `[channel, z, y, x]`. `None`: no support in the volume.
pub(super) struct Grid {
    pub covers: VoxelBox,
    pub values: Vec<Option<Number>>,
}

impl Grid {
    fn value(&self, channel: usize, at: [i64; 3]) -> Option<Number> {
        let VoxelBox { start, end } = self.covers;
        if (0..3).any(|d| at[d] < start[d] || at[d] >= end[d]) {
            return None;
        }
        let [nx, ny, nz] = [0, 1, 2].map(|d| (end[d] - start[d]) as usize);
        let [x, y, z] = [0, 1, 2].map(|d| (at[d] - start[d]) as usize);
        self.values[((channel * nz + z) * ny + y) * nx + x]
    }
}

/// The voxels of a box, in C order z, y, x.
pub(super) fn voxels_of(b: &VoxelBox) -> impl Iterator<Item = [i64; 3]> + use<> {
    let VoxelBox { start, end } = *b;
    (start[2]..end[2]).flat_map(move |z| {
        (start[1]..end[1]).flat_map(move |y| (start[0]..end[0]).map(move |x| [x, y, z]))
    })
}

/// How a voxel follows from those that it covers.
#[derive(Clone, Copy)]
enum Rule {
    Weighted(Interpolation),
    /// Majorities of 2 x 2, of 2 x 2 x 2, and of 2 x 2 x 2 as one of several steps.
    Square,
    Cube,
    CubeStep,
}

/// The window, resampled from voxels that are longer or shorter by `ratios`. `None` if no chunk of it is stored, or no voxel is inside.
pub(super) fn resampled(
    source: &mut Voxels<'_>,
    channels: u32,
    window: &VoxelBox,
    ratios: [Ratio; 3],
    how: Interpolation,
) -> Result<Option<Grid>, VolumeError> {
    let steps = steps(ratios, how);
    // The boxes that each step makes, from the window back to the data; and how far the volume reaches in each.
    let mut bounds = vec![*source.bounds()];
    for (ratios, _) in &steps {
        let before = bounds[bounds.len() - 1];
        let along = |d: usize| ratios[d].covering(before.start[d]..before.end[d]);
        let [x, y, z] = [0, 1, 2].map(along);
        bounds.push(VoxelBox {
            start: [x.start, y.start, z.start],
            end: [x.end, y.end, z.end],
        });
    }
    let mut wanted = vec![*window];
    for (n, (ratios, rule)) in steps.iter().enumerate().rev() {
        let of = wanted[wanted.len() - 1];
        match covered_box(&of, ratios, *rule, &bounds[n]) {
            Some(covered) => wanted.push(covered),
            None => return Ok(None),
        }
    }
    let from = wanted.pop().unwrap_or(*window);
    if !source.any_stored(&from)? {
        return Ok(None);
    }
    let mut grid = read(source, channels, &from)?;
    for (ratios, rule) in steps {
        let to = wanted.pop().unwrap_or(*window);
        grid = step(&grid, channels, &to, &ratios, rule);
    }
    Ok(Some(grid))
}

/// The voxels of a box inside of the volume; those of missing chunks have the layer's fill value.
fn read(source: &mut Voxels<'_>, channels: u32, of: &VoxelBox) -> Result<Grid, VolumeError> {
    let mut values =
        Vec::with_capacity(channels as usize * of.shape().iter().product::<u64>() as usize);
    for channel in 0..channels {
        for at in voxels_of(of) {
            values.push(match source.voxel(channel, at)? {
                Voxel::Outside => None,
                Voxel::Missing => Some(source.fill_value()),
                Voxel::Stored(value) => Some(value),
            });
        }
    }
    Ok(Grid {
        covers: *of,
        values,
    })
}

fn steps(ratios: [Ratio; 3], how: Interpolation) -> Vec<([Ratio; 3], Rule)> {
    let factors = ratios.map(|r| r.power_of_two());
    if let (Interpolation::Majority, [Some(x), Some(y), Some(z)]) = (how, factors)
        && let Some(halves) = halves([x, y, z])
    {
        return halves;
    }
    vec![(ratios, Rule::Weighted(how))]
}

/// tinybrain's steps: cubes while all factors are even, then squares along the two axes that are left.
fn halves(mut factors: [u64; 3]) -> Option<Vec<([Ratio; 3], Rule)>> {
    let by = |factors: [u64; 3]| {
        factors.map(|n| Ratio {
            voxels: n.into(),
            per: 1,
        })
    };
    let mut steps = Vec::new();
    while factors.iter().all(|n| *n >= 2) {
        factors = factors.map(|n| n / 2);
        steps.push((by([2; 3]), Rule::CubeStep));
    }
    if steps.len() == 1 && factors == [1; 3] {
        return Some(vec![(by([2; 3]), Rule::Cube)]);
    }
    while factors != [1; 3] {
        let halved = factors.map(|n| if n >= 2 { 2 } else { 1 });
        if halved.iter().filter(|n| **n == 2).count() != 2 {
            return None;
        }
        factors = [0, 1, 2].map(|d| factors[d] / halved[d]);
        steps.push((by(halved), Rule::Square));
    }
    (!steps.is_empty()).then_some(steps)
}

/// The weight of the voxel `of` the data in `voxel`, along an axis.
fn weight(how: Interpolation, voxel: i128, of: i128, ratio: &Ratio) -> i128 {
    let Ratio { voxels, per } = *ratio;
    let twice_centre = (2 * voxel + 1) * voxels;
    match how {
        Interpolation::Nearest => {
            i128::from(2 * of * per < twice_centre && twice_centre <= 2 * (of + 1) * per)
        }
        Interpolation::Linear(_) => 2 * per - (twice_centre - (2 * of + 1) * per).abs(),
        _ => ((voxel + 1) * voxels).min((of + 1) * per) - (voxel * voxels).max(of * per),
    }
}

/// The voxels that have a weight in `voxel`, along an axis, and their weights.
fn weights(voxel: i64, ratio: &Ratio, rule: Rule, bounds: &Range<i64>) -> Vec<(i64, i128)> {
    let how = match rule {
        Rule::Weighted(how) => how,
        _ => Interpolation::Majority,
    };
    let around = |voxel: i128| (voxel * ratio.voxels).div_euclid(ratio.per);
    let (first, last) = (around(voxel.into()) - 2, around(i128::from(voxel) + 1) + 2);
    let inside = first.max(bounds.start.into())..(last + 1).min(bounds.end.into());
    let with_weights = inside.map(|of| (of as i64, weight(how, voxel.into(), of, ratio)));
    with_weights.filter(|(_, weight)| *weight > 0).collect()
}

/// The box of all voxels that have a weight in a voxel of `of`.
fn covered_box(
    of: &VoxelBox,
    ratios: &[Ratio; 3],
    rule: Rule,
    bounds: &VoxelBox,
) -> Option<VoxelBox> {
    let along = |d: usize| {
        let bounds = bounds.start[d]..bounds.end[d];
        let voxels = of.start[d]..of.end[d];
        let covered = voxels.flat_map(|v| weights(v, &ratios[d], rule, &bounds));
        let covered: Vec<_> = covered.map(|(of, _)| of).collect();
        Some((*covered.iter().min()?, covered.iter().max()? + 1))
    };
    let [x, y, z] = [along(0)?, along(1)?, along(2)?];
    Some(VoxelBox {
        start: [x.0, y.0, z.0],
        end: [x.1, y.1, z.1],
    })
}

fn step(from: &Grid, channels: u32, to: &VoxelBox, ratios: &[Ratio; 3], rule: Rule) -> Grid {
    let bounds = [0, 1, 2].map(|d| from.covers.start[d]..from.covers.end[d]);
    // The same for all voxels in a plane.
    let along = [0, 1, 2].map(|d| {
        let voxels = to.start[d]..to.end[d];
        let weights = voxels.map(|v| weights(v, &ratios[d], rule, &bounds[d]));
        weights.collect::<Vec<_>>()
    });
    let mut values =
        Vec::with_capacity(channels as usize * to.shape().iter().product::<u64>() as usize);
    for channel in 0..channels as usize {
        for at in voxels_of(to) {
            let [x, y, z] = [0, 1, 2].map(|d| &along[d][(at[d] - to.start[d]) as usize]);
            let mut covered = Vec::new();
            for (z, by_z) in z {
                for (y, by_y) in y {
                    for (x, by_x) in x {
                        let value = from.value(channel, [*x, *y, *z]);
                        covered.extend(value.map(|value| (value, by_x * by_y * by_z)));
                    }
                }
            }
            values.push(vote(&covered, rule));
        }
    }
    Grid {
        covers: *to,
        values,
    }
}

/// The value of a voxel that covers these values, x first, then y, then z, with their weights.
fn vote(covered: &[(Number, i128)], rule: Rule) -> Option<Number> {
    let (first, _) = *covered.first()?;
    Some(match rule {
        Rule::Weighted(Interpolation::Nearest) => first,
        Rule::Weighted(Interpolation::Any) => {
            let any = covered.iter().any(|(value, _)| value.is_positive());
            match first {
                Number::Int(_) => Number::Int(any.into()),
                Number::Float(_) => Number::Float(any.into()),
            }
        }
        Rule::Weighted(Interpolation::Area(rounding) | Interpolation::Linear(rounding)) => {
            mean(covered, rounding)
        }
        Rule::Weighted(Interpolation::Majority) | Rule::Cube => most(covered),
        Rule::Square => match covered {
            [(a, _), (b, _), (c, _), (d, _)] => match (a == b, a == c, b == c) {
                (true, ..) | (_, true, _) => *a,
                (.., true) => *b,
                _ => *d,
            },
            fewer => most(fewer),
        },
        Rule::CubeStep => match covered.len() {
            8 => cube_step(covered),
            _ => most(covered),
        },
    })
}

/// The value with the largest weight; of several, the first.
fn most(covered: &[(Number, i128)]) -> Number {
    let mut sums: Vec<(Number, i128)> = Vec::new();
    for (value, weight) in covered {
        match sums.iter_mut().find(|(v, _)| v == value) {
            Some((_, sum)) => *sum += weight,
            None => sums.push((*value, *weight)),
        }
    }
    let mut largest = sums[0];
    for of_value in sums {
        if of_value.1 > largest.1 {
            largest = of_value;
        }
    }
    largest.0
}

/// tinybrain's `countless3d`: values z first; the last one does not count as one of a pair.
fn cube_step(covered: &[(Number, i128)]) -> Number {
    let values = [0, 4, 2, 6, 1, 5, 3, 7].map(|i: usize| covered[i].0);
    let count = |value: &Number, of: &[Number]| of.iter().filter(|v| *v == value).count();
    for least in [4, 3] {
        if let Some(value) = values[..7].iter().find(|v| count(v, &values) >= least) {
            return *value;
        }
    }
    let pair = values[..7].iter().find(|v| count(v, &values[..7]) == 2);
    pair.copied().unwrap_or(values[7])
}

fn mean(covered: &[(Number, i128)], rounding: Rounding) -> Number {
    let total: i128 = covered.iter().map(|(_, weight)| weight).sum();
    if let Number::Float(only) = covered[0].0
        && covered.len() == 1
    {
        return Number::Float(only);
    }
    let whole: Option<i128> = covered
        .iter()
        .map(|(value, weight)| match value {
            Number::Int(v) => v.checked_mul(*weight),
            Number::Float(_) => None,
        })
        .try_fold(0i128, |sum, v| sum.checked_add(v?));
    match whole {
        Some(sum) => Number::Int(match rounding {
            Rounding::Truncate => sum / total,
            Rounding::HalfEven => {
                let (floor, rest) = (sum.div_euclid(total), 2 * sum.rem_euclid(total));
                let is_up = rest > total || rest == total && floor % 2 != 0;
                floor + i128::from(is_up)
            }
        }),
        None => {
            let sum: f64 = covered.iter().map(|(v, w)| v.as_f64() * *w as f64).sum();
            Number::Float(sum / total as f64)
        }
    }
}
