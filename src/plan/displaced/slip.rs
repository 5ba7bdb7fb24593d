//! Which slip explains that things lie apart: a unit, voxels taken for nm, another scale, the order of axes, an offset.
//!
//! Each candidate says how positions (or the layer) would move. It counts only where most things would then be in
//! place. Of several, the one after which both cover each other best wins.

use super::bounding;
use crate::geometry::{BoxNm, PointNm, Resolution};

/// A slip that explains why positions and the place where they should be lie apart. Each is said as what sets it right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slip {
    /// Positions times this factor, a power of 1,000.
    Unit(f64),
    /// Positions are voxels of this size, read as nm.
    VoxelsAsNm(Resolution),
    /// Positions are nm, read as voxels of this size.
    NmAsVoxels(Resolution),
    /// Positions are voxels of the second size, read as voxels of the first.
    OtherScale(Resolution, Resolution),
    /// The axes of positions were written in this order.
    Axes([usize; 3]),
    /// The axes of positions were written in this order, and they are voxels of this size, read as nm.
    AxesOfVoxels([usize; 3], Resolution),
    /// The layer begins at voxel 0 and would hold all windows if it did not.
    OffsetMissing,
    /// The layer has an offset that positions do not have.
    OffsetOfLayerOnly,
    /// The layer's offset times this factor, a power of 1,000.
    OffsetUnit(f64),
    /// The layer's offset is nm, read as voxels.
    OffsetInNm,
    /// The layer's offset is voxels, read as nm.
    OffsetInVoxels,
    /// The layer's offset is voxels of this size, read as voxels of its own.
    OffsetOfScale(Resolution),
    /// The layer's axes are in this order.
    LayerAxes([usize; 3]),
    /// The layer's offset is written in this order of axes.
    OffsetAxes([usize; 3]),
}

/// A window, and the position that it is cut around: windows begin at whole voxels, positions do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The position.
    pub(crate) center: PointNm,
    /// Where the window lies.
    pub(crate) covers: BoxNm,
}

impl Window {
    /// The window, were it cut around `center`.
    fn around(&self, center: PointNm) -> Option<BoxNm> {
        let (min, max) = (self.covers.min(), self.covers.max());
        let corner = |sign: f64| {
            let moved = |d: usize| center.0[d] + sign * (max[d] - min[d]) / 2.0;
            PointNm(std::array::from_fn(moved))
        };
        BoxNm::from_corners(corner(-1.0), corner(1.0))
    }
}

/// Where a layer lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// First voxel.
    pub(super) start: [i64; 3],
    /// Voxels along x, y, z.
    pub(super) size: [u64; 3],
    /// nm per voxel.
    pub(super) resolution: Resolution,
}

/// How positions move: along each axis the coordinate of another one, times a factor.
#[derive(Clone, Copy, Debug)]
struct Move {
    order: [usize; 3],
    factor: [f64; 3],
}

const IN_PLACE: [usize; 3] = [0, 1, 2];
const REVERSED: [usize; 3] = [2, 1, 0];
/// Every other order of the axes, the most common first.
const ORDERS: [[usize; 3]; 5] = [REVERSED, [1, 0, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1]];
const UNITS: [f64; 6] = [1e3, 1e-3, 1e6, 1e-6, 1e9, 1e-9];

impl Move {
    fn scale(factor: [f64; 3]) -> Self {
        Self {
            order: IN_PLACE,
            factor,
        }
    }

    fn of(&self, p: PointNm) -> PointNm {
        PointNm(std::array::from_fn(|d| p.0[self.order[d]] * self.factor[d]))
    }

    /// Whether it makes `things` so small a part of `place` that they would lie there wherever they were before.
    fn squeezes(&self, things: &BoxNm, place: &BoxNm) -> bool {
        const LEAST_SHARE: f64 = 1.0 / 200.0;
        let extent = |b: &BoxNm, d: usize| b.max()[d] - b.min()[d];
        let shrinks = self.factor.iter().all(|f| *f <= 1.0) && self.factor.iter().any(|f| *f < 1.0);
        let are_apart = (0..3).any(|d| extent(things, d) > 0.0);
        let moved = self.of_box(things);
        let is_small =
            |moved: BoxNm| (0..3).all(|d| extent(&moved, d) < LEAST_SHARE * extent(place, d));
        shrinks && are_apart && moved.is_some_and(is_small)
    }

    fn of_box(&self, b: &BoxNm) -> Option<BoxNm> {
        BoxNm::from_corners(self.of(PointNm(b.min())), self.of(PointNm(b.max())))
    }
}

/// How positions may have gone wrong, each with how much it is preferred. `resolutions` are all that may be meant.
fn moves(resolutions: &[Resolution]) -> Vec<(Slip, Move, f64)> {
    let mut all = Vec::new();
    for factor in UNITS {
        all.push((Slip::Unit(factor), Move::scale([factor; 3]), 1.0));
    }
    for order in ORDERS {
        let preferred = if order == REVERSED { 0.99 } else { 0.9 };
        let factor = [1.0; 3];
        all.push((Slip::Axes(order), Move { order, factor }, preferred));
    }
    for (i, r) in resolutions.iter().enumerate() {
        let nm = r.nm();
        all.push((Slip::VoxelsAsNm(*r), Move::scale(nm), 1.0));
        let per_nm = nm.map(|nm| 1.0 / nm);
        all.push((Slip::NmAsVoxels(*r), Move::scale(per_nm), 1.0));
        for (j, other) in resolutions.iter().enumerate().filter(|(j, _)| *j != i) {
            // The first resolution is that of the config: positions are most likely read by it.
            let preferred = if i == 0 || j == 0 { 0.8 } else { 0.7 };
            let ratio = std::array::from_fn(|d| other.nm()[d] / nm[d]);
            let slip = Slip::OtherScale(*r, *other);
            all.push((slip, Move::scale(ratio), preferred));
        }
        for order in ORDERS {
            let preferred = if order == REVERSED { 0.6 } else { 0.4 };
            let slip = Slip::AxesOfVoxels(order, *r);
            all.push((slip, Move { order, factor: nm }, preferred));
            // Voxels of that size whose axes were taken for each other before they became nm.
            let factor = std::array::from_fn(|d| nm[d] / nm[order[d]]);
            let preferred = if order == REVERSED { 0.95 } else { 0.85 };
            all.push((Slip::Axes(order), Move { order, factor }, preferred));
        }
    }
    let changes = |m: &Move| m.order != IN_PLACE || m.factor.iter().any(|f| (f - 1.0).abs() > 1e-5);
    all.retain(|(_, m, _)| changes(m));
    all
}

/// The likeliest slip because of which a layer at `place` holds none of `windows`. `positions` says whether their
/// positions may be wrong: they are not where other layers hold them.
pub(super) fn of_windows(
    windows: &[Window],
    place: &Place,
    resolutions: &[Resolution],
    positions: bool,
) -> Option<Slip> {
    let layer = place.nm()?;
    let around = |at: &dyn Fn(PointNm) -> PointNm| -> Option<Vec<BoxNm>> {
        windows.iter().map(|w| w.around(at(w.center))).collect()
    };
    let points = windows.iter().map(|w| w.center);
    let centers = points.map(|p| BoxNm::from_corners(p, p));
    let centers = bounding(&centers.collect::<Option<Vec<_>>>()?)?;
    let mut best = Best::default();
    if positions {
        let supported = |(_, moved, _): &(Slip, Move, f64)| !moved.squeezes(&centers, &layer);
        for (slip, moved, preferred) in moves(resolutions).into_iter().filter(supported) {
            let moved = around(&|p| moved.of(p));
            let fit = moved.and_then(|windows| fit(&windows, &layer));
            best.offer(slip, fit, preferred);
        }
    }
    let windows = &around(&|p| p)?;
    for (slip, layer, preferred) in layers(place, resolutions) {
        best.offer(slip, fit(windows, &layer), preferred);
    }
    if place.start == [0; 3] {
        let extent = |b: &BoxNm, d: usize| b.max()[d] - b.min()[d];
        // Windows may extend past the layer.
        if (0..3).all(|d| extent(&centers, d) <= extent(&layer, d)) {
            let all = bounding(windows)?;
            let shares: f64 = (0..3)
                .map(|d| (extent(&all, d) / extent(&layer, d)).min(1.0))
                .product();
            // No position supports it: it gives way to anything that is supported.
            best.offer(Slip::OffsetMissing, Some(shares.cbrt()), 0.2);
        }
    }
    best.slip
}

/// The likeliest slip because of which annotations within `extent` lie in none of `boxes`.
pub(super) fn of_annotations(
    extent: &BoxNm,
    boxes: &[BoxNm],
    resolutions: &[Resolution],
) -> Option<Slip> {
    if fit_extent(extent, boxes).is_some() {
        return None;
    }
    let all = bounding(boxes)?;
    let supported = |(_, moved, _): &(Slip, Move, f64)| !moved.squeezes(extent, &all);
    let mut best = Best::default();
    for (slip, moved, preferred) in moves(resolutions).into_iter().filter(supported) {
        let fit = moved.of_box(extent).and_then(|e| fit_extent(&e, boxes));
        best.offer(slip, fit, preferred);
    }
    best.slip
}

impl Place {
    /// What it covers, nm.
    pub(super) fn nm(&self) -> Option<BoxNm> {
        self.from(self.start.map(|v| v as f64))
    }

    /// The same, were its first voxel another one.
    fn from(&self, start: [f64; 3]) -> Option<BoxNm> {
        let nm = self.resolution.nm();
        let corner = |end: f64| {
            PointNm(std::array::from_fn(|d| {
                (start[d] + end * self.size[d] as f64) * nm[d]
            }))
        };
        BoxNm::from_corners(corner(0.0), corner(1.0))
    }
}

/// Where the layer may lie in truth, each with how much it is preferred.
fn layers(place: &Place, resolutions: &[Resolution]) -> Vec<(Slip, BoxNm, f64)> {
    let nm = place.resolution.nm();
    let start = place.start.map(|v| v as f64);
    let mut all = Vec::new();
    let mut add = |slip, layer: Option<BoxNm>, preferred| {
        all.extend(layer.map(|layer| (slip, layer, preferred)));
    };
    for order in ORDERS {
        let turned = Place {
            start: order.map(|d| place.start[d]),
            size: order.map(|d| place.size[d]),
            ..*place
        };
        let preferred = if order == REVERSED { 0.9 } else { 0.8 };
        add(Slip::LayerAxes(order), turned.nm(), preferred);
    }
    if place.start == [0; 3] {
        return all;
    }
    let mut add = |slip, start, preferred| {
        all.extend(place.from(start).map(|layer| (slip, layer, preferred)));
    };
    add(Slip::OffsetOfLayerOnly, [0.0; 3], 0.9);
    for factor in UNITS {
        let preferred = 0.8;
        add(
            Slip::OffsetUnit(factor),
            start.map(|v| v * factor),
            preferred,
        );
    }
    let times = |by: &dyn Fn(usize) -> f64| std::array::from_fn(|d| start[d] * by(d));
    add(Slip::OffsetInNm, times(&|d| 1.0 / nm[d]), 0.9);
    add(Slip::OffsetInVoxels, times(&|d| nm[d]), 0.9);
    for r in resolutions {
        if !r.matches(&place.resolution) {
            let by = |d: usize| r.nm()[d] / nm[d];
            add(Slip::OffsetOfScale(*r), times(&by), 0.8);
        }
    }
    for order in ORDERS {
        let preferred = if order == REVERSED { 0.85 } else { 0.75 };
        add(Slip::OffsetAxes(order), order.map(|d| start[d]), preferred);
    }
    all
}

/// The best of what was offered.
#[derive(Default)]
struct Best {
    slip: Option<Slip>,
    score: f64,
}

impl Best {
    /// `fit` from 0 to 1; `None` where most things would not be in place.
    fn offer(&mut self, slip: Slip, fit: Option<f64>, preferred: f64) {
        let score = fit.unwrap_or(0.0) * preferred;
        if score > self.score {
            *self = Self {
                slip: Some(slip),
                score,
            };
        }
    }
}

/// How well `windows` and the layer cover each other; `None` unless the layer holds most of them.
fn fit(windows: &[BoxNm], layer: &BoxNm) -> Option<f64> {
    let centers = windows.iter().map(center);
    let held = centers.clone().filter(|p| layer.contains(p)).count();
    if 2 * held <= windows.len() {
        return None;
    }
    let points: Option<Vec<_>> = centers.map(|p| BoxNm::from_corners(p, p)).collect();
    let at_corner = is_at_corner(&bounding(&points?)?, layer);
    (!at_corner).then_some(overlap(&bounding(windows)?, layer))
}

/// How well annotations within `extent` and boxes cover each other; `None` unless most boxes may hold some.
fn fit_extent(extent: &BoxNm, boxes: &[BoxNm]) -> Option<f64> {
    let meets = |b: &&BoxNm| extent.contains(&center(b)) || b.contains(&center(extent));
    if 2 * boxes.iter().filter(meets).count() <= boxes.len() {
        return None;
    }
    let all = bounding(boxes)?;
    (!is_at_corner(extent, &all)).then(|| overlap(extent, &all))
}

/// Whether all of `things` lie at the lower corner of `place`. Positions that are made smaller and smaller end there
/// whatever they are: that supports nothing.
fn is_at_corner(things: &BoxNm, place: &BoxNm) -> bool {
    const CORNER: f64 = 0.02;
    (0..3).all(|d| {
        let extent = place.max()[d] - place.min()[d];
        things.max()[d] - place.min()[d] < CORNER * extent
    })
}

/// The share of the common hull that both have in common, as an edge: 1 where they are the same box.
fn overlap(a: &BoxNm, b: &BoxNm) -> f64 {
    // Flat boxes are common: all annotations on one section.
    const FLAT: f64 = 1e-3;
    let along = |d: usize| {
        let common = a.max()[d].min(b.max()[d]) - a.min()[d].max(b.min()[d]);
        let hull = a.max()[d].max(b.max()[d]) - a.min()[d].min(b.min()[d]);
        match hull > 0.0 {
            true => (common / hull).max(FLAT),
            false => 1.0,
        }
    };
    (along(0) * along(1) * along(2)).cbrt()
}

fn center(b: &BoxNm) -> PointNm {
    PointNm(b.min()).midpoint(&PointNm(b.max()))
}

#[cfg(test)]
mod tests;
