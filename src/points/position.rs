//! The position of an annotation, computed from its vectors in the same way for every source.

use super::annotation::Anchor;
use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::GeometryKind;

/// The position of an annotation: its anchor and its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AnnotationPosition {
    pub(super) anchor: PointNm,
    pub(super) ends: [PointNm; 2],
}

impl AnnotationPosition {
    /// The position of an annotation with these vectors in nm; `None` if there are none, or if a coordinate is not
    /// finite. Midpoints are computed in nm.
    pub(super) fn of(
        kind: GeometryKind,
        mut points: impl Iterator<Item = PointNm> + Clone,
        anchor: Anchor,
    ) -> Option<Self> {
        let all = points.clone();
        let first = points.next()?;
        let (anchor, ends) = match kind {
            // The second vector of an ellipsoid is its radii.
            GeometryKind::Point | GeometryKind::Ellipsoid => (first, [first; 2]),
            GeometryKind::Box => {
                let centre = first.midpoint(&points.next()?);
                (centre, [centre; 2])
            }
            GeometryKind::Line | GeometryKind::Polyline => {
                let last = points.last().unwrap_or(first);
                let anchor = match (anchor, kind) {
                    (Anchor::Start, _) => first,
                    (Anchor::End, _) => last,
                    (Anchor::Midpoint, GeometryKind::Line) => first.midpoint(&last),
                    (Anchor::Midpoint, _) => middle_by_length(all.clone()),
                };
                (anchor, [first, last])
            }
        };
        let is_polyline = kind == GeometryKind::Polyline;
        let finite = anchor.is_finite()
            && ends.iter().all(PointNm::is_finite)
            && (!is_polyline || all.clone().all(|p| p.is_finite()));
        finite.then_some(Self { anchor, ends })
    }
}

/// The bounds of the points that were added.
#[derive(Debug, Default)]
pub(super) struct PointBounds(Option<(PointNm, PointNm)>);

impl PointBounds {
    pub(super) fn add(&mut self, p: PointNm) {
        let (min, max) = self.0.get_or_insert((p, p));
        for d in 0..3 {
            min.0[d] = min.0[d].min(p.0[d]);
            max.0[d] = max.0[d].max(p.0[d]);
        }
    }

    /// Adds the points of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        if let Some((min, max)) = other.0 {
            self.add(min);
            self.add(max);
        }
    }

    /// The bounds; `None` if no point was added.
    pub(super) fn finish(self) -> Option<BoxNm> {
        let (min, max) = self.0?;
        BoxNm::from_corners(min, max)
    }
}

/// The point halfway along a polyline.
fn middle_by_length(points: impl Iterator<Item = PointNm>) -> PointNm {
    let points: Vec<PointNm> = points.collect();
    let steps: Vec<f64> = points
        .windows(2)
        .map(|pair| {
            (0..3)
                .map(|d| (pair[1].0[d] - pair[0].0[d]).powi(2))
                .sum::<f64>()
                .sqrt()
        })
        .collect();
    let mut remaining = steps.iter().sum::<f64>() / 2.0;
    for (pair, step) in points.windows(2).zip(steps) {
        if step > 0.0 && remaining <= step {
            let (from, to) = (pair[0].0, pair[1].0);
            return PointNm(std::array::from_fn(|d| {
                from[d] + remaining / step * (to[d] - from[d])
            }));
        }
        remaining -= step;
    }
    // All points are equal.
    points.last().copied().unwrap_or(PointNm([f64::NAN; 3]))
}
