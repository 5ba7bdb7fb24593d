//! A map: the boxes of each split, with their samples and the dropped annotations, seen along z and along y.

use maud::{Markup, html};

use super::points::{PointList, Points};
use crate::dataset::{BoxEntry, Manifest};
use crate::preview::report::split_color;

/// Most boxes that are drawn.
const MAX_BOXES: usize = 2000;

/// Width of a map, and limits of its height, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHTS: [f64; 2] = [90.0, 520.0];
const MARGIN: f64 = 10.0;

/// Smallest width and height of a box, in pixels.
const MIN_BOX: f64 = 3.0;

/// The map of the boxes that belong to a split; `None` if there are none.
pub(crate) fn box_map(manifest: &Manifest, points: &Points) -> Option<Markup> {
    let boxes = manifest.boxes.iter().enumerate();
    let boxes: Vec<_> = boxes.filter(|(_, b)| b.split.is_some()).collect();
    let step = boxes.len().div_ceil(MAX_BOXES).max(1);
    let shown: Vec<_> = boxes.iter().step_by(step).copied().collect();
    shown.first()?;
    let splits: Vec<_> = manifest.splits.keys().map(String::as_str).collect();
    let view = |horizontal, vertical| {
        let plane = Plane::new(&shown, points, horizontal, vertical);
        plane.svg(&shown, points, &splits)
    };
    Some(html! {
        div.maps {
            figure.map { figcaption { "x to the right, y down" } (view(0, 1)) }
            figure.map { figcaption { "x to the right, z down" } (view(0, 2)) }
        }
        ul.colors {
            @for (number, split) in splits.iter().enumerate() {
                li { span.patch style=(format!("background:{}", split_color(number))) {} (split) }
            }
            @for reason in points.dropped.keys() {
                li { span.cross aria-hidden="true" { "×" } "dropped: " (reason) }
            }
        }
        @if shown.len() < boxes.len() {
            p.note { (shown.len()) " of " (boxes.len()) " boxes are drawn." }
        }
        @if let Some(note) = note(points) { p.note { (note) } }
    })
}

/// What the map leaves out.
fn note(points: &Points) -> Option<String> {
    let samples = points.samples.iter().map(|(_, list)| list);
    let lists = || samples.clone().chain(points.dropped.values());
    let drawn: usize = lists().map(|list| list.points.len()).sum();
    let total = lists().fold(0u64, |sum, list| sum.saturating_add(list.total));
    (drawn as u64 != total).then(|| format!("{drawn} of {total} points are drawn."))
}

/// A projection of nm to pixels.
struct Plane {
    /// The axes to the right and down: 0 is x.
    axes: [usize; 2],
    min_nm: [f64; 2],
    pixels_per_nm: f64,
    height: f64,
}

impl Plane {
    fn new(boxes: &[(usize, &BoxEntry)], points: &Points, right: usize, down: usize) -> Self {
        let axes = [right, down];
        let centers = all_points(points).map(|(_, list)| &list.points);
        let centers = centers.flatten().map(|p| p.center_nm);
        let corners = boxes.iter().flat_map(|(_, b)| [b.min_nm, b.max_nm]);
        let mut min_nm = [f64::INFINITY; 2];
        let mut max_nm = [f64::NEG_INFINITY; 2];
        for corner in corners.chain(centers) {
            for (i, axis) in axes.into_iter().enumerate() {
                min_nm[i] = min_nm[i].min(corner[axis]);
                max_nm[i] = max_nm[i].max(corner[axis]);
            }
        }
        let [width_nm, height_nm] = [0, 1].map(|i| (max_nm[i] - min_nm[i]).max(1.0));
        let [_, highest] = HEIGHTS;
        let inner = |size: f64| size - 2.0 * MARGIN;
        let pixels_per_nm = (inner(WIDTH) / width_nm).min(inner(highest) / height_nm);
        let height = (height_nm * pixels_per_nm + 2.0 * MARGIN).max(HEIGHTS[0]);
        Self {
            axes,
            min_nm,
            pixels_per_nm,
            height,
        }
    }

    /// Pixels to the right and down.
    fn pixel(&self, nm: [f64; 3]) -> [f64; 2] {
        [0, 1].map(|i| MARGIN + (nm[self.axes[i]] - self.min_nm[i]) * self.pixels_per_nm)
    }

    fn svg(&self, boxes: &[(usize, &BoxEntry)], points: &Points, splits: &[&str]) -> Markup {
        let number = |split: &str| splits.iter().position(|s| *s == split).unwrap_or(0);
        let view_box = format!("0 0 {WIDTH} {:.1}", self.height);
        let label = format!("map of {} boxes", boxes.len());
        html! {
            svg viewBox=(view_box) role="img" aria-label=(label) {
                @for (index, b) in boxes {
                    (self.rectangle(*index, b, number(b.split.as_deref().unwrap_or_default())))
                }
                @for (split, list) in all_points(points) {
                    @for point in &list.points { (self.mark(point.center_nm, split.map(number))) }
                }
            }
        }
    }

    fn rectangle(&self, index: usize, entry: &BoxEntry, color: usize) -> Markup {
        let [x, y] = self.pixel(entry.min_nm);
        let [right, bottom] = self.pixel(entry.max_nm);
        let size = |from: f64, to: f64| format!("{:.1}", (to - from).abs().max(MIN_BOX));
        let split = entry.split.as_deref().unwrap_or_default();
        let title = format!("{split}: box {}, {} samples", entry.id, entry.samples);
        html! {
            rect.box data-box=(index) x=(format!("{:.1}", x.min(right))) y=(format!("{:.1}", y.min(bottom)))
                width=(size(x, right)) height=(size(y, bottom)) style=(format!("--color:{}", split_color(color))) {
                title { (title) }
            }
        }
    }

    /// A dot in the color of a split, or the cross of a dropped annotation.
    fn mark(&self, center_nm: [f64; 3], color: Option<usize>) -> Markup {
        let [x, y] = self.pixel(center_nm);
        match color {
            Some(color) => {
                let color = format!("fill:{}", split_color(color));
                html! { circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="1.8" style=(color) {} }
            }
            None => {
                let [left, right] = [x - 2.0, x + 2.0];
                let [top, bottom] = [y - 2.0, y + 2.0];
                let path = format!(
                    "M{left:.1} {top:.1}L{right:.1} {bottom:.1}M{left:.1} {bottom:.1}L{right:.1} {top:.1}"
                );
                html! { path.dropped d=(path) {} }
            }
        }
    }
}

/// All lists of points: of a split, or of dropped annotations.
fn all_points(points: &Points) -> impl Iterator<Item = (Option<&str>, &PointList)> {
    let samples = points.samples.iter();
    let samples = samples.map(|(split, list)| (Some(split.as_str()), list));
    let dropped = points.dropped.values().map(|list| (None, list));
    dropped.chain(samples)
}
