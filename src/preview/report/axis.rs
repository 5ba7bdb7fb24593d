//! The axes of a chart: computes the range, the ticks and their labels from the values.

use std::ops::Range;

use plotters::coord::ranged1d::{
    KeyPointHint, KeyPointWeight, NoDefaultFormatting, Ranged, ValueFormatter,
};

/// An axis that covers given values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChartAxis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

/// Larger values are not drawn: next to them no other value would be visible.
const LARGEST: f64 = 1e100;

/// Whether a value can be drawn on an axis.
pub(super) fn is_drawable(value: f64) -> bool {
    value.abs() < LARGEST
}

impl ChartAxis {
    /// From the smallest value to the largest.
    pub fn tight(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = widened(ends(values)?);
        Some(Self::new(low, high, step(low, high)))
    }

    /// From tick to tick around the values. Starts at 0 if the values are close to 0.
    pub fn roomy(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = ends(values)?;
        let low = if 0.0 < low && low < high / 2.0 {
            0.0
        } else {
            low
        };
        let (low, high) = widened((low, high));
        let step = step(low, high);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Some(Self::new(low, high, step))
    }

    fn new(low: f64, high: f64, step: f64) -> Self {
        let first = (low / step).ceil();
        let count = ((high / step).floor() - first).clamp(0.0, 20.0) as usize;
        Self {
            low,
            high,
            ticks: (0..=count).map(|i| (first + i as f64) * step).collect(),
        }
    }

    /// The position of a value: 0 at the start of the axis, 1 at its end.
    pub fn position(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The labels of the ticks.
    pub fn labels(&self) -> Vec<String> {
        self.ticks.iter().map(|tick| self.label(*tick)).collect()
    }

    /// The label of a tick. All ticks of an axis have the same number of decimals.
    fn label(&self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        let steps = self.ticks.windows(2).map(|pair| pair[1] - pair[0]);
        let step = steps.fold(largest, f64::min);
        let in_units = |unit: f64, name: &str| {
            let written = format!("{:.3}", tick / unit);
            let written = written.trim_end_matches('0').trim_end_matches('.');
            format!("{written}{name}")
        };
        if tick.abs() < step / 2.0 {
            "0".into()
        } else if !(1e-4..1e9).contains(&step) || largest >= 1e9 {
            format!("{tick:.3e}")
                .replace("000e", "e")
                .replace(".e", "e")
        } else if largest >= 1e6 && step >= 1e3 {
            in_units(1e6, "M")
        } else if largest >= 1e4 && step >= 1.0 {
            in_units(1e3, "k")
        } else {
            // Slightly more than the step, because steps like 0.1 are not exact.
            let decimals = (-(step * 1.0001).log10().floor()).max(0.0) as usize;
            format!("{tick:.decimals$}")
        }
    }
}

impl Ranged for ChartAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.position(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight() {
            KeyPointWeight::Bold => self.ticks.clone(),
            KeyPointWeight::Any => Vec::new(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for ChartAxis {
    fn format_ext(&self, tick: &f64) -> String {
        self.label(*tick)
    }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| is_drawable(*value))
        .fold(None, |ends, value| match ends {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
}

/// Moves ends apart that are nearly equal.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-6 {
        (low, high)
    } else if size == 0.0 {
        (0.0, 1.0)
    } else {
        (low - size * 0.1, high + size * 0.1)
    }
}

/// The distance of ticks: 1, 2 or 5 times a power of ten, for up to six steps.
fn step(low: f64, high: f64) -> f64 {
    let rough = (high - low) / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let multiples = [1.0, 2.0, 5.0, 10.0].map(|multiple| multiple * power);
    let fits = multiples.into_iter().find(|step| *step >= rough);
    fits.unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_axis_of_scores_starts_at_zero() {
        let axis = ChartAxis::roomy([0.13, 0.93].into_iter()).unwrap();
        assert_eq!(axis.labels(), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    }

    #[test]
    fn steps_are_written_in_thousands() {
        let axis = ChartAxis::tight([0.0, 25_000.0].into_iter()).unwrap();
        assert_eq!(axis.labels(), ["0", "5k", "10k", "15k", "20k", "25k"]);
    }

    #[test]
    fn without_drawable_values_there_is_no_axis() {
        assert_eq!(
            ChartAxis::roomy([f64::NAN, f64::INFINITY].into_iter()),
            None
        );
    }

    proptest! {
        #[test]
        fn an_axis_covers_its_values(values in prop::collection::vec(prop::num::f64::ANY, 1..20)) {
            let drawable = || values.iter().copied().filter(|v| is_drawable(*v));
            for axis in [ChartAxis::tight(drawable()), ChartAxis::roomy(drawable())].into_iter().flatten() {
                prop_assert!(axis.low < axis.high);
                prop_assert!(axis.ticks.len() <= 21);
                let slack = (axis.high - axis.low) * 1e-9;
                for value in drawable() {
                    prop_assert!(value >= axis.low - slack && value <= axis.high + slack);
                }
                axis.labels();
            }
        }
    }
}
