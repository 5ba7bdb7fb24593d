//! Majority, for labels: the most frequent value of the covered voxels.
//!
//! Where the resolutions differ by powers of two, and by the same one along two or three axes, the values are equal to those
//! of tinybrain's `downsample_segmentation`, which computes the mips of segmentations: repeated halving, each step with the
//! tie rule of the function that tinybrain calls for it. All other values are the majority by volume; of several, the first
//! in z, y, x. Labels are compared as stored bytes, so that no bit of an id is lost.

use std::collections::HashMap;

use super::axis::{Cover, WeightedAxis};
use super::ratio::Ratio;
use super::stage::{Kernel, Stage, StageRule, Vote};

/// The steps from the data to voxels that are longer by these ratios.
pub(crate) fn steps(ratios: [Ratio; 3]) -> Vec<StageRule> {
    let halves = ratios.map(|r| r.power_of_two());
    let halves = match halves {
        [Some(x), Some(y), Some(z)] => halving([x, y, z]),
        _ => None,
    };
    let step = |(factors, vote): ([u64; 3], Vote)| StageRule {
        kernel: Kernel::Majority(vote),
        ratios: factors.map(|n| Ratio {
            voxels: n.into(),
            per: 1,
        }),
        cover: Cover::Overlap,
    };
    match halves {
        Some(steps) if !steps.is_empty() => steps.into_iter().map(step).collect(),
        _ => vec![StageRule {
            kernel: Kernel::Majority(Vote::Volume),
            ratios,
            cover: Cover::Overlap,
        }],
    }
}

/// The steps of tinybrain for voxels that are longer by these factors, powers of two; `None` where it has none.
fn halving(mut factors: [u64; 3]) -> Option<Vec<([u64; 3], Vote)>> {
    if factors == [2; 3] {
        return Some(vec![(factors, Vote::Cube)]);
    }
    let mut steps = Vec::new();
    while factors.iter().all(|n| *n > 1) {
        steps.push(([2; 3], Vote::CubeStep));
        factors = factors.map(|n| n / 2);
    }
    while factors != [1; 3] {
        let step = factors.map(|n| n.min(2));
        if step.iter().sum::<u64>() != 5 {
            return None;
        }
        steps.push((step, Vote::Square));
        factors = std::array::from_fn(|d| factors[d] / step[d]);
    }
    Some(steps)
}

/// Computes the voxels of `stage`, in the layout of [`Stage`].
pub(crate) fn run<const N: usize>(
    stage: &Stage,
    vote: Vote,
    channels: usize,
    source: &[u8],
    out: &mut [u8],
) {
    let ((source, _), (out, _)) = (source.as_chunks::<N>(), out.as_chunks_mut::<N>());
    match vote {
        Vote::Square => vote_of_few(stage, channels, source, out, |values| match values {
            [a, b, c, d] => square(*a, *b, *c, *d),
            fewer => most_frequent(fewer),
        }),
        Vote::Cube => vote_of_few(stage, channels, source, out, most_frequent),
        Vote::CubeStep => vote_of_few(stage, channels, source, out, |values| {
            match values.first_chunk::<8>() {
                Some(all) => cube_step(all),
                None => most_frequent(values),
            }
        }),
        Vote::Volume => vote_by_volume(stage, channels, source, out),
    }
}

/// For at most eight covered voxels: calls `vote` with their values, x first, then y, then z.
fn vote_of_few<const N: usize>(
    stage: &Stage,
    channels: usize,
    source: &[[u8; N]],
    out: &mut [[u8; N]],
    vote: impl Fn(&[[u8; N]]) -> [u8; N],
) {
    for row in stage.rows(channels) {
        let mut of_rows: [&[[u8; N]]; 4] = [&[]; 4];
        let mut rows = 0;
        for (to, (from, _)) in of_rows.iter_mut().zip(stage.source_rows(&row)) {
            *to = &source[from];
            rows += 1;
        }
        for (to, span) in out[row.out].iter_mut().zip(&stage.axes[0].spans) {
            let mut values = [[0; N]; 8];
            let mut count = 0;
            for of_row in &of_rows[..rows] {
                for value in &of_row[span.first..span.first + span.weights.len()] {
                    values[count] = *value;
                    count += 1;
                }
            }
            *to = vote(&values[..count]);
        }
    }
}

fn vote_by_volume<const N: usize>(
    stage: &Stage,
    channels: usize,
    source: &[[u8; N]],
    out: &mut [[u8; N]],
) {
    let [x_weights, y_weights, z_weights] = stage.axes.each_ref().map(whole_weights);
    let mut tally = Tally::default();
    for row in stage.rows(channels) {
        for (to, span) in out[row.out.clone()].iter_mut().zip(&stage.axes[0].spans) {
            tally.clear();
            for (from, [y, z]) in stage.source_rows(&row) {
                let by = y_weights[y] * z_weights[z];
                let weights = &x_weights[span.weights.clone()];
                for (value, weight) in source[from][span.first..].iter().zip(weights) {
                    tally.add(*value, weight * by);
                }
            }
            *to = tally.largest();
        }
    }
}

/// COUNTLESS: a value that two neighbours share, else the fourth value. If the first equals a neighbour and the other two are
/// equal as well, the first value.
fn square<T: Copy + PartialEq>(a: T, b: T, c: T, d: T) -> T {
    if a == b || a == c {
        a
    } else if b == c {
        b
    } else {
        d
    }
}

/// The most frequent value; of several, the first.
fn most_frequent<const N: usize>(values: &[[u8; N]]) -> [u8; N] {
    let first = values.first().copied().unwrap_or([0; N]);
    if values.iter().all(|v| *v == first) {
        return first;
    }
    let mut most = (0, first);
    for value in values {
        let count = values.iter().filter(|v| *v == value).count();
        if count > most.0 {
            most = (count, *value);
        }
    }
    most.1
}

/// COUNTLESS in three dimensions: the first value, z before y before x, that occurs four times or more, else three times, else
/// twice. The last voxel does not count as one of a pair, but is chosen if no two others are equal.
fn cube_step<const N: usize>(x_first: &[[u8; N]; 8]) -> [u8; N] {
    let values = [0, 4, 2, 6, 1, 5, 3, 7].map(|i: usize| x_first[i]);
    let mut most = (1, values[7]);
    for value in &values[..7] {
        let equal_to = |of: &[[u8; N]]| of.iter().filter(|v| *v == value).count();
        let mut count = equal_to(&values).min(4);
        if count == 2 {
            count = equal_to(&values[..7]);
        }
        if count > most.0 {
            most = (count, *value);
        }
    }
    most.1
}

/// The axis' weights as integers whose sum is about a million at most for any voxel, so that products of three are exact.
/// None is 0.
fn whole_weights(axis: &WeightedAxis) -> Vec<u64> {
    const LARGEST: f64 = (1 << 20) as f64;
    let by = (LARGEST / axis.largest_total()).min(1.0);
    let whole = |w: &f64| ((w * by).round() as u64).max(1);
    axis.weights.iter().map(whole).collect()
}

/// The weight of each value in a voxel.
#[derive(Default)]
struct Tally<const N: usize> {
    /// In the order of their first voxels.
    values: Vec<([u8; N], u64)>,
    /// Position of each in `values`, once there are many.
    positions: HashMap<[u8; N], usize>,
}

/// Up to this many values are searched one by one.
const FEW: usize = 32;

impl<const N: usize> Tally<N> {
    fn clear(&mut self) {
        self.values.clear();
        self.positions.clear();
    }

    fn add(&mut self, value: [u8; N], weight: u64) {
        let position = if self.positions.is_empty() {
            self.values.iter().position(|(v, _)| *v == value)
        } else {
            self.positions.get(&value).copied()
        };
        if let Some(position) = position {
            self.values[position].1 += weight;
            return;
        }
        self.values.push((value, weight));
        if self.values.len() == FEW {
            let positions = self.values.iter().enumerate();
            self.positions = positions.map(|(i, (v, _))| (*v, i)).collect();
        } else if self.values.len() > FEW {
            self.positions.insert(value, self.values.len() - 1);
        }
    }

    /// The value with the largest weight; of several, the first.
    fn largest(&self) -> [u8; N] {
        let mut most = (0, [0; N]);
        for (value, weight) in &self.values {
            if *weight > most.0 {
                most = (*weight, *value);
            }
        }
        most.1
    }
}
