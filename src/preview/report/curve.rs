//! Prepares a series for drawing: splits it at gaps and reduces the number of points.
//!
//! A dense curve is reduced to the mean of each column, for the line, and to its lowest and highest points, for the noise
//! behind it. Spikes stay visible and pages stay small.

use super::axis::{ChartAxis, is_drawable};
use super::content::Series;

/// Points (x, y) without a gap between them.
pub(super) type Segment = Vec<(f64, f64)>;

/// The drawable points of a series.
pub(super) struct Curve {
    segments: Vec<Segment>,
}

/// A curve with more points is dense.
const DENSE_POINTS: usize = 600;
/// Number of columns in which a dense curve shows the extremes.
const NOISE_COLUMNS: f64 = 600.0;
/// Number of columns in which a dense curve shows the mean.
const MEAN_COLUMNS: f64 = 100.0;

impl Curve {
    /// The drawable points of `series`.
    pub fn new(series: &Series) -> Self {
        let is_gap = |(x, y): &(f64, f64)| !is_drawable(*x) || !is_drawable(*y);
        let segments = series.points.split(is_gap);
        let segments = segments.filter(|segment| !segment.is_empty());
        Self {
            segments: segments.map(<[_]>::to_vec).collect(),
        }
    }

    /// All points.
    pub fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.segments.iter().flatten()
    }

    /// Whether there are too many points to draw each of them.
    pub fn is_dense(&self) -> bool {
        self.points().nth(DENSE_POINTS).is_some()
    }

    /// The line: all points, or the means of a dense curve.
    pub fn line(&self, axis: &ChartAxis) -> Vec<Segment> {
        if self.is_dense() {
            self.by_columns(axis, MEAN_COLUMNS, |column| vec![mean(column)])
        } else {
            self.segments.clone()
        }
    }

    /// The extremes around the line of a dense curve; empty for any other.
    pub fn noise(&self, axis: &ChartAxis) -> Vec<Segment> {
        if self.is_dense() {
            self.by_columns(axis, NOISE_COLUMNS, extremes)
        } else {
            Vec::new()
        }
    }

    fn by_columns(
        &self,
        axis: &ChartAxis,
        columns: f64,
        summary: impl Fn(&[(f64, f64)]) -> Segment,
    ) -> Vec<Segment> {
        // The end of the axis belongs to the last column.
        let column = |x: f64| (axis.position(x) * columns).floor().min(columns - 1.0);
        let reduce = |segment: &Segment| {
            let columns = segment.chunk_by(|a, b| column(a.0) == column(b.0));
            columns.flat_map(&summary).collect()
        };
        self.segments.iter().map(reduce).collect()
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let sum = points
        .iter()
        .fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    (sum.0 / count, sum.1 / count)
}

/// The lowest and the highest point, by ascending x.
fn extremes(points: &[(f64, f64)]) -> Segment {
    let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let low = points.iter().min_by(by_height);
    let high = points.iter().max_by(by_height);
    let mut both: Segment = low.into_iter().chain(high).copied().collect();
    both.sort_by(|a, b| a.0.total_cmp(&b.0));
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: impl IntoIterator<Item = (f64, f64)>) -> (Curve, ChartAxis) {
        let series = Series {
            name: String::new(),
            points: points.into_iter().collect(),
        };
        let curve = Curve::new(&series);
        let axis = ChartAxis::tight(curve.points().map(|point| point.0)).unwrap();
        (curve, axis)
    }

    #[test]
    fn nan_and_infinite_points_are_gaps() {
        let ys = [0.2, 0.3, f64::NAN, 0.5, f64::INFINITY, f64::NAN, 0.6];
        let (curve, axis) = curve((0..).map(f64::from).zip(ys));
        let lengths: Vec<_> = curve.line(&axis).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        assert!(curve.noise(&axis).is_empty());
    }

    #[test]
    fn a_long_curve_is_reduced_but_keeps_its_spike() {
        let y = |i: u32| if i == 77_777 { 9.0 } else { f64::from(i % 2) };
        let (curve, axis) = curve((0..100_000).map(|i| (f64::from(i), y(i))));
        let noise = curve.noise(&axis).concat();
        assert!(noise.contains(&(77_777.0, 9.0)));
        assert!(noise.len() <= 1200);
        let line = curve.line(&axis).concat();
        assert_eq!(line.len(), 100);
        assert!(
            line[..50]
                .iter()
                .chain(&line[90..])
                .all(|(_, y)| (y - 0.5).abs() < 0.01)
        );
    }

    #[test]
    fn a_short_curve_keeps_all_points() {
        let (curve, axis) = curve([(0.0, 1.0), (1.0, 5.0), (1.001, 2.0)]);
        assert_eq!(curve.line(&axis), [[(0.0, 1.0), (1.0, 5.0), (1.001, 2.0)]]);
    }
}
