//! One axis of a window: which voxels of the data each of its voxels covers, and with which weights.

use std::ops::Range;

use super::ratio::Ratio;

/// Which voxels of the data have a weight in a voxel of the window, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// The voxel that holds its centre; between two voxels, the lower one.
    Nearest,
    /// All that overlap it; the length of the overlap is their weight.
    Overlap,
    /// The two with the nearest centres on either side, the nearer one with the larger weight.
    Linear,
}

/// The voxels of the data that have a weight in the voxels of a window, along one axis.
#[derive(Clone, Debug)]
pub(crate) struct WeightedAxis {
    /// Voxels of the window, counted from its start, that have a voxel of the data.
    pub support: Range<usize>,
    /// The data's voxels that are needed.
    pub source: Range<i64>,
    /// One per voxel of `support`.
    pub spans: Vec<Span>,
    /// The weights of all spans, one after the other. They are integers, so that sums of products with integers are exact.
    pub weights: Vec<f64>,
}

/// The voxels of the data that have a weight in one voxel.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Counted from the start of the axis' `source`.
    pub first: usize,
    /// Range of their weights in those of the axis; the first belongs to the voxel `first`.
    pub weights: Range<usize>,
    /// Sum of the weights.
    pub total: f64,
}

impl WeightedAxis {
    /// The axis of a window over `window`, with the voxels of the data that are within `bounds`; `None` where there are none.
    pub fn new(window: Range<i64>, ratio: Ratio, cover: Cover, bounds: Range<i64>) -> Option<Self> {
        let bounds = i128::from(bounds.start)..i128::from(bounds.end);
        let mut weights = Vec::new();
        let mut spans: Vec<(i128, Span)> = Vec::new();
        let mut support = 0..0;
        for (i, voxel) in window.enumerate() {
            let begin = weights.len();
            let all = covered(voxel.into(), ratio, cover);
            let inside = all.start.max(bounds.start)..all.end.min(bounds.end);
            if inside.is_empty() {
                continue;
            }
            for of in inside.clone() {
                weights.push(weight(of, voxel.into(), ratio, cover));
            }
            if let [only] = &mut weights[begin..] {
                // A single voxel keeps its value exactly.
                *only = 1.0;
            }
            let span = Span {
                first: 0,
                total: weights[begin..].iter().sum(),
                weights: begin..weights.len(),
            };
            if spans.is_empty() {
                support.start = i;
            }
            support.end = i + 1;
            spans.push((inside.start, span));
        }
        let (first, _) = spans.first()?;
        let (last, span) = spans.last()?;
        // Within the bounds, so that they are `i64`.
        let source = *first as i64..*last as i64 + span.weights.len() as i64;
        let spans = spans.into_iter().map(|(from, span)| Span {
            first: (from as i64 - source.start) as usize,
            ..span
        });
        Some(Self {
            support,
            spans: spans.collect(),
            source,
            weights,
        })
    }

    /// The voxels of a span, counted from the start of `source`, and the positions of their weights.
    pub fn voxels_of(&self, span: usize) -> impl Iterator<Item = (usize, usize)> {
        let span = &self.spans[span];
        (span.first..).zip(span.weights.clone())
    }

    /// Largest sum of the weights of a voxel.
    pub fn largest_total(&self) -> f64 {
        self.spans.iter().map(|s| s.total).fold(0.0, f64::max)
    }
}

/// The voxels of the data that have a weight in `voxel`, which begins at `voxel * voxels / per`, with the terms of [`Ratio`].
fn covered(voxel: i128, ratio: Ratio, cover: Cover) -> Range<i128> {
    let Ratio { voxels, per } = ratio;
    match cover {
        Cover::Nearest => {
            // The centre at (2 * voxel + 1) * voxels / (2 * per); on an edge it is the lower one's.
            let after = ceil_div((2 * voxel + 1) * voxels, 2 * per);
            after - 1..after
        }
        Cover::Overlap => (voxel * voxels).div_euclid(per)..ceil_div((voxel + 1) * voxels, per),
        Cover::Linear => {
            let from_first_centre = (2 * voxel + 1) * voxels - per;
            let before = from_first_centre.div_euclid(2 * per);
            before..ceil_div(from_first_centre, 2 * per).max(before) + 1
        }
    }
}

/// The weight of a voxel `of` the data in `voxel`, which must be covered by it; an integer.
fn weight(of: i128, voxel: i128, ratio: Ratio, cover: Cover) -> f64 {
    let Ratio { voxels, per } = ratio;
    let weight = match cover {
        Cover::Nearest => 1,
        Cover::Overlap => {
            let end = ((of + 1) * per).min((voxel + 1) * voxels);
            end - (of * per).max(voxel * voxels)
        }
        Cover::Linear => {
            let between_centres = (2 * voxel + 1) * voxels - (2 * of + 1) * per;
            2 * per - between_centres.abs()
        }
    };
    weight as f64
}

fn ceil_div(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}
