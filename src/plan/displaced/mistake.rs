//! Which mistake explains that a layer and its windows, or annotations and boxes, do not overlap: a wrong unit, voxels
//! read as nm, another scale, the order of axes, or an offset.
//!
//! Each candidate has a correction that moves the positions or the layer. It is considered only if most positions would
//! then be in place. The best candidate is the one after which both overlap most.

use super::bounds::bounds_of;
use crate::geometry::{BoxNm, PointNm, Resolution};

/// A mistake that explains why positions are not where they should be. Each variant describes the correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mistake {
    /// Positions must be multiplied by this factor, a power of 1,000.
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
    /// The layer starts at voxel 0, and would contain all windows with another offset.
    OffsetMissing,
    /// The layer has an offset that is missing in the positions.
    OffsetOfLayerOnly,
    /// The layer's offset must be multiplied by this factor, a power of 1,000.
    OffsetUnit(f64),
    /// The layer's offset is nm, read as voxels.
    OffsetInNm,
    /// The layer's offset is voxels, read as nm.
    OffsetInVoxels,
    /// The layer's offset is voxels of this size, read as voxels of the layer's size.
    OffsetOfScale(Resolution),
    /// The layer's axes are in this order.
    LayerAxes([usize; 3]),
    /// The layer's offset is written in this order of axes.
    OffsetAxes([usize; 3]),
}

/// A window and the position at its centre. Windows start at whole voxels, so that the centre is not exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CenteredWindow {
    /// The position.
    pub(crate) center: PointNm,
    /// The box that the window covers.
    pub(crate) covers: BoxNm,
}

impl CenteredWindow {
    /// The box of this window around another centre.
    fn around(&self, center: PointNm) -> Option<BoxNm> {
        let (min, max) = (self.covers.min(), self.covers.max());
        let corner = |sign: f64| {
            let moved = |d: usize| center.0[d] + sign * (max[d] - min[d]) / 2.0;
            PointNm(std::array::from_fn(moved))
        };
        BoxNm::from_corners(corner(-1.0), corner(1.0))
    }
}

/// The box of a layer in voxels.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerBox {
    /// First voxel.
    pub(super) start: [i64; 3],
    /// Voxels along x, y, z.
    pub(super) size: [u64; 3],
    /// nm per voxel.
    pub(super) resolution: Resolution,
}

/// How positions are corrected: each coordinate is that of another axis, times a factor.
#[derive(Clone, Copy, Debug)]
struct Correction {
    order: [usize; 3],
    factor: [f64; 3],
}

const IN_PLACE: [usize; 3] = [0, 1, 2];
const REVERSED: [usize; 3] = [2, 1, 0];
/// Every other order of the axes, the most common first.
const ORDERS: [[usize; 3]; 5] = [REVERSED, [1, 0, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1]];
const UNITS: [f64; 6] = [1e3, 1e-3, 1e6, 1e-6, 1e9, 1e-9];

impl Correction {
    fn scale(factor: [f64; 3]) -> Self {
        Self {
            order: IN_PLACE,
            factor,
        }
    }

    fn has_effect(&self) -> bool {
        self.order != IN_PLACE || self.factor.iter().any(|f| (f - 1.0).abs() > 1e-5)
    }

    fn apply(&self, p: PointNm) -> PointNm {
        PointNm(std::array::from_fn(|d| p.0[self.order[d]] * self.factor[d]))
    }

    /// Whether it shrinks `positions` to such a small part of `target` that they would be inside from anywhere.
    fn collapses(&self, positions: &BoxNm, target: &BoxNm) -> bool {
        const MIN_SHARE: f64 = 1.0 / 200.0;
        let shrinks = self.factor.iter().all(|f| *f <= 1.0) && self.factor.iter().any(|f| *f < 1.0);
        let are_apart = (0..3).any(|d| extent(positions, d) > 0.0);
        let moved = self.apply_to_box(positions);
        let is_small =
            |moved: BoxNm| (0..3).all(|d| extent(&moved, d) < MIN_SHARE * extent(target, d));
        shrinks && are_apart && moved.is_some_and(is_small)
    }

    fn apply_to_box(&self, b: &BoxNm) -> Option<BoxNm> {
        BoxNm::from_corners(self.apply(PointNm(b.min())), self.apply(PointNm(b.max())))
    }
}

/// The mistakes in positions with their corrections and weights. `resolutions` are all that a mistake may involve.
fn corrections(resolutions: &[Resolution]) -> Vec<(Mistake, Correction, f64)> {
    let mut all = Vec::new();
    for factor in UNITS {
        all.push((Mistake::Unit(factor), Correction::scale([factor; 3]), 1.0));
    }
    for order in ORDERS {
        let weight = if order == REVERSED { 0.99 } else { 0.9 };
        let factor = [1.0; 3];
        all.push((Mistake::Axes(order), Correction { order, factor }, weight));
    }
    for (i, r) in resolutions.iter().enumerate() {
        let nm = r.nm();
        all.push((Mistake::VoxelsAsNm(*r), Correction::scale(nm), 1.0));
        let per_nm = nm.map(|nm| 1.0 / nm);
        all.push((Mistake::NmAsVoxels(*r), Correction::scale(per_nm), 1.0));
        for (j, other) in resolutions.iter().enumerate().filter(|(j, _)| *j != i) {
            // The first resolution is the config's, which positions are most likely read with.
            let weight = if i == 0 || j == 0 { 0.8 } else { 0.7 };
            let ratio = std::array::from_fn(|d| other.nm()[d] / nm[d]);
            let mistake = Mistake::OtherScale(*r, *other);
            all.push((mistake, Correction::scale(ratio), weight));
        }
        for order in ORDERS {
            let weight = if order == REVERSED { 0.6 } else { 0.4 };
            let mistake = Mistake::AxesOfVoxels(order, *r);
            all.push((mistake, Correction { order, factor: nm }, weight));
            // Voxels of that size whose axes were swapped before they were converted to nm.
            let factor = std::array::from_fn(|d| nm[d] / nm[order[d]]);
            let weight = if order == REVERSED { 0.95 } else { 0.85 };
            all.push((Mistake::Axes(order), Correction { order, factor }, weight));
        }
    }
    all.retain(|(_, correction, _)| correction.has_effect());
    all
}

/// The likeliest mistake that explains why a layer at `layer_box` overlaps none of `windows`. With
/// `suspect_positions`, the positions of the windows may be wrong; they are right if other layers contain them.
pub(super) fn of_windows(
    windows: &[CenteredWindow],
    layer_box: &LayerBox,
    resolutions: &[Resolution],
    suspect_positions: bool,
) -> Option<Mistake> {
    let layer = layer_box.nm()?;
    let around = |at: &dyn Fn(PointNm) -> PointNm| -> Option<Vec<BoxNm>> {
        windows.iter().map(|w| w.around(at(w.center))).collect()
    };
    let points = windows.iter().map(|w| w.center);
    let centers = points.map(|p| BoxNm::from_corners(p, p));
    let centers = bounds_of(&centers.collect::<Option<Vec<_>>>()?)?;
    let mut best = BestCandidate::default();
    if suspect_positions {
        let is_supported = |(_, c, _): &(Mistake, Correction, f64)| !c.collapses(&centers, &layer);
        let candidates = corrections(resolutions).into_iter().filter(is_supported);
        for (mistake, correction, weight) in candidates {
            let moved = around(&|p| correction.apply(p));
            let fit = moved.and_then(|windows| fit(&windows, &layer));
            best.offer(mistake, fit, weight);
        }
    }
    let windows = &around(&|p| p)?;
    for (mistake, layer, weight) in corrected_layers(layer_box, resolutions) {
        best.offer(mistake, fit(windows, &layer), weight);
    }
    // Windows may extend past the layer, but not their centres.
    let fits = (0..3).all(|d| extent(&centers, d) <= extent(&layer, d));
    if layer_box.start == [0; 3] && fits {
        let all = bounds_of(windows)?;
        let shares: f64 = (0..3)
            .map(|d| (extent(&all, d) / extent(&layer, d)).min(1.0))
            .product();
        // The weight is low, because no position supports it: any supported mistake is preferred.
        best.offer(Mistake::OffsetMissing, Some(shares.cbrt()), 0.2);
    }
    best.mistake
}

/// The likeliest mistake that explains why annotations within `extent` are in none of `boxes`.
pub(super) fn of_annotations(
    extent: &BoxNm,
    boxes: &[BoxNm],
    resolutions: &[Resolution],
) -> Option<Mistake> {
    if fit_extent(extent, boxes).is_some() {
        return None;
    }
    let all = bounds_of(boxes)?;
    let is_supported = |(_, c, _): &(Mistake, Correction, f64)| !c.collapses(extent, &all);
    let mut best = BestCandidate::default();
    let candidates = corrections(resolutions).into_iter().filter(is_supported);
    for (mistake, correction, weight) in candidates {
        let fit = correction
            .apply_to_box(extent)
            .and_then(|e| fit_extent(&e, boxes));
        best.offer(mistake, fit, weight);
    }
    best.mistake
}

impl LayerBox {
    /// The box in nm.
    pub(super) fn nm(&self) -> Option<BoxNm> {
        self.starting_at(self.start.map(|v| v as f64))
    }

    /// The box in nm if its first voxel were `start`.
    fn starting_at(&self, start: [f64; 3]) -> Option<BoxNm> {
        let nm = self.resolution.nm();
        let corner = |end: f64| {
            PointNm(std::array::from_fn(|d| {
                (start[d] + end * self.size[d] as f64) * nm[d]
            }))
        };
        BoxNm::from_corners(corner(0.0), corner(1.0))
    }
}

/// The mistakes in the layer's offset or axes, with the corrected box and a weight.
fn corrected_layers(
    layer_box: &LayerBox,
    resolutions: &[Resolution],
) -> Vec<(Mistake, BoxNm, f64)> {
    let nm = layer_box.resolution.nm();
    let start = layer_box.start.map(|v| v as f64);
    let mut all = Vec::new();
    for order in ORDERS {
        let reordered = LayerBox {
            start: order.map(|d| layer_box.start[d]),
            size: order.map(|d| layer_box.size[d]),
            ..*layer_box
        };
        let weight = if order == REVERSED { 0.9 } else { 0.8 };
        let layer = reordered.nm();
        all.extend(layer.map(|layer| (Mistake::LayerAxes(order), layer, weight)));
    }
    if layer_box.start == [0; 3] {
        return all;
    }
    let mut add = |mistake, start, weight| {
        let layer = layer_box.starting_at(start);
        all.extend(layer.map(|layer| (mistake, layer, weight)));
    };
    add(Mistake::OffsetOfLayerOnly, [0.0; 3], 0.9);
    for factor in UNITS {
        add(Mistake::OffsetUnit(factor), start.map(|v| v * factor), 0.8);
    }
    let times = |by: &dyn Fn(usize) -> f64| std::array::from_fn(|d| start[d] * by(d));
    add(Mistake::OffsetInNm, times(&|d| 1.0 / nm[d]), 0.9);
    add(Mistake::OffsetInVoxels, times(&|d| nm[d]), 0.9);
    for r in resolutions {
        if !r.matches(&layer_box.resolution) {
            let by = |d: usize| r.nm()[d] / nm[d];
            add(Mistake::OffsetOfScale(*r), times(&by), 0.8);
        }
    }
    for order in ORDERS {
        let weight = if order == REVERSED { 0.85 } else { 0.75 };
        add(Mistake::OffsetAxes(order), order.map(|d| start[d]), weight);
    }
    all
}

/// The best of the candidates so far.
#[derive(Default)]
struct BestCandidate {
    mistake: Option<Mistake>,
    score: f64,
}

impl BestCandidate {
    /// `fit` is from 0 to 1, or `None` if most positions would not be in place.
    fn offer(&mut self, mistake: Mistake, fit: Option<f64>, weight: f64) {
        let score = fit.unwrap_or(0.0) * weight;
        if score > self.score {
            *self = Self {
                mistake: Some(mistake),
                score,
            };
        }
    }
}

/// How well `windows` and the layer overlap; `None` unless the layer contains most of their centres.
fn fit(windows: &[BoxNm], layer: &BoxNm) -> Option<f64> {
    let centers = windows.iter().map(center);
    let inside = centers.clone().filter(|p| layer.contains(p)).count();
    if 2 * inside <= windows.len() {
        return None;
    }
    let points: Option<Vec<_>> = centers.map(|p| BoxNm::from_corners(p, p)).collect();
    let at_corner = is_at_corner(&bounds_of(&points?)?, layer);
    (!at_corner).then_some(overlap(&bounds_of(windows)?, layer))
}

/// How well annotations within `extent` and boxes overlap; `None` unless most boxes may contain annotations.
fn fit_extent(extent: &BoxNm, boxes: &[BoxNm]) -> Option<f64> {
    let may_contain = |b: &&BoxNm| extent.contains(&center(b)) || b.contains(&center(extent));
    if 2 * boxes.iter().filter(may_contain).count() <= boxes.len() {
        return None;
    }
    let all = bounds_of(boxes)?;
    (!is_at_corner(extent, &all)).then(|| overlap(extent, &all))
}

/// Whether all of `positions` are at the lower corner of `target`. Any positions end there if they are divided by enough,
/// so that this supports no mistake.
fn is_at_corner(positions: &BoxNm, target: &BoxNm) -> bool {
    const CORNER: f64 = 0.02;
    (0..3).all(|d| positions.max()[d] - target.min()[d] < CORNER * extent(target, d))
}

/// How much two boxes overlap: the edge length of their intersection relative to that of their common hull. 1 if equal.
fn overlap(a: &BoxNm, b: &BoxNm) -> f64 {
    // Flat boxes occur: all annotations may be on one section.
    const FLAT: f64 = 1e-3;
    let along = |d: usize| {
        let common = a.max()[d].min(b.max()[d]) - a.min()[d].max(b.min()[d]);
        let hull = a.max()[d].max(b.max()[d]) - a.min()[d].min(b.min()[d]);
        if hull > 0.0 {
            (common / hull).max(FLAT)
        } else {
            1.0
        }
    };
    (along(0) * along(1) * along(2)).cbrt()
}

/// The length of a box along an axis.
fn extent(b: &BoxNm, d: usize) -> f64 {
    b.max()[d] - b.min()[d]
}

fn center(b: &BoxNm) -> PointNm {
    PointNm(b.min()).midpoint(&PointNm(b.max()))
}

#[cfg(test)]
mod tests;
