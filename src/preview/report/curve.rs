//! A series as it is drawn: in stretches between gaps, and with no more points than can be told apart.
//!
//! A series comes in, stretches of points go out. Of a dense curve those are the mean of each column, for the line, and
//! its lowest and highest points, for the noise behind it, so that spikes stay visible and pages stay small.

use super::Series;
use super::axis::{Axis, is_drawable};

/// Points (x, y) without a gap between them.
pub(super) type Stretch = Vec<(f64, f64)>;

/// A series without what can't be drawn.
pub(super) struct Curve {
    stretches: Vec<Stretch>,
}

/// A curve of more points than this is dense.
const DENSE: usize = 600;
/// Columns of which a dense curve shows the extremes.
const NOISE_COLUMNS: f64 = 600.0;
/// Columns of which a dense curve shows the mean.
const MEAN_COLUMNS: f64 = 100.0;

impl Curve {
    /// What of a series can be drawn.
    pub fn new(series: &Series) -> Self {
        let is_gap = |(x, y): &(f64, f64)| !is_drawable(*x) || !is_drawable(*y);
        let stretches = series.points.split(is_gap);
        let stretches = stretches.filter(|stretch| !stretch.is_empty());
        Self {
            stretches: stretches.map(<[_]>::to_vec).collect(),
        }
    }

    /// All points.
    pub fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.stretches.iter().flatten()
    }

    /// Whether there are more points than can be told apart.
    pub fn is_dense(&self) -> bool {
        self.points().nth(DENSE).is_some()
    }

    /// The line: all points, or means of them.
    pub fn line(&self, across: &Axis) -> Vec<Stretch> {
        match self.is_dense() {
            true => self.by_columns(across, MEAN_COLUMNS, |column| vec![mean(column)]),
            false => self.stretches.clone(),
        }
    }

    /// What lies around the line of a dense curve.
    pub fn noise(&self, across: &Axis) -> Vec<Stretch> {
        match self.is_dense() {
            true => self.by_columns(across, NOISE_COLUMNS, extremes),
            false => Vec::new(),
        }
    }

    fn by_columns(
        &self,
        across: &Axis,
        columns: f64,
        summary: impl Fn(&[(f64, f64)]) -> Stretch,
    ) -> Vec<Stretch> {
        // The end of the axis is in the last column.
        let column = |x: f64| (across.share(x) * columns).floor().min(columns - 1.0);
        let thinned = |stretch: &Stretch| {
            let columns = stretch.chunk_by(|a, b| column(a.0) == column(b.0));
            columns.flat_map(&summary).collect()
        };
        self.stretches.iter().map(thinned).collect()
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let sum = points
        .iter()
        .fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    (sum.0 / count, sum.1 / count)
}

/// The lowest and the highest point, in their order.
fn extremes(points: &[(f64, f64)]) -> Stretch {
    let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let low = points.iter().min_by(by_height);
    let high = points.iter().max_by(by_height);
    let mut both: Stretch = low.into_iter().chain(high).copied().collect();
    both.sort_by(|a, b| a.0.total_cmp(&b.0));
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: impl IntoIterator<Item = (f64, f64)>) -> (Curve, Axis) {
        let series = Series {
            name: String::new(),
            points: points.into_iter().collect(),
        };
        let curve = Curve::new(&series);
        let across = Axis::tight(curve.points().map(|point| point.0)).unwrap();
        (curve, across)
    }

    #[test]
    fn what_is_not_finite_is_a_gap() {
        let ys = [0.2, 0.3, f64::NAN, 0.5, f64::INFINITY, f64::NAN, 0.6];
        let (curve, across) = curve((0..).map(f64::from).zip(ys));
        let lengths: Vec<_> = curve.line(&across).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1]);
        assert!(curve.noise(&across).is_empty());
    }

    #[test]
    fn a_long_curve_is_thinned_but_keeps_its_spike() {
        let y = |i: u32| if i == 77_777 { 9.0 } else { f64::from(i % 2) };
        let (curve, across) = curve((0..100_000).map(|i| (f64::from(i), y(i))));
        let noise = curve.noise(&across).concat();
        assert!(noise.contains(&(77_777.0, 9.0)));
        assert!(noise.len() <= 1200);
        let line = curve.line(&across).concat();
        assert_eq!(line.len(), 100);
        assert!(
            line[..50]
                .iter()
                .chain(&line[90..])
                .all(|(_, y)| (y - 0.5).abs() < 0.01)
        );
    }

    #[test]
    fn a_short_curve_is_drawn_as_it_is() {
        let (curve, across) = curve([(0.0, 1.0), (1.0, 5.0), (1.001, 2.0)]);
        assert_eq!(
            curve.line(&across),
            [[(0.0, 1.0), (1.0, 5.0), (1.001, 2.0)]]
        );
    }
}
