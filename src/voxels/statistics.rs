//! Statistics of an array's values: gathered sample by sample while a shard is written, merged shard by shard.
//!
//! Little-endian values of a sample come in; counts, sums and a histogram are kept. All but the histogram cover every value.
//! Sums of integers are exact, so they do not depend on how values were grouped. Sums of floating point numbers are `f64`,
//! added in the order of samples within a shard and then of shards, in a fixed number of partial sums per sample: they are
//! equal for any number of threads.

mod histogram;
mod sums;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::data_type::DataType;
pub(crate) use histogram::Bin;
use histogram::Histogram;
use sums::{Moments, moments};

/// Statistics of the values of some samples of one array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    data_type: DataType,
    /// Number of samples.
    samples: u64,
    /// Samples whose values are all 0.
    empty_samples: u64,
    /// Number of values.
    count: u64,
    /// Values not equal to 0; NaN counts.
    nonzero: u64,
    /// NaN values.
    nan: u64,
    /// Infinite values.
    infinite: u64,
    /// Values greater than 0.
    positive: u64,
    moments: Moments,
    histogram: Histogram,
}

/// The statistics of an array's values as the manifest has them. Numbers that do not exist (without values, or out of range)
/// are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Number of samples.
    pub samples: u64,
    /// Samples whose values are all 0.
    pub empty_samples: u64,
    /// Number of values.
    pub count: u64,
    /// Values not equal to 0.
    pub nonzero: u64,
    /// NaN values.
    pub nan: u64,
    /// Infinite values. Everything below except the histogram covers only finite values.
    pub infinite: u64,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Mean of the values.
    pub mean: Option<f64>,
    /// Population standard deviation of the values.
    pub std: Option<f64>,
    /// Fraction of all values that are greater than 0.
    pub positive_fraction: Option<f64>,
    /// How the values of the histogram were chosen.
    pub histogram_of: &'static str,
    /// The bins that hold any value, ascending.
    pub histogram: Vec<Bin>,
}

impl Statistics {
    /// Statistics without values.
    pub fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            samples: 0,
            empty_samples: 0,
            count: 0,
            nonzero: 0,
            nan: 0,
            infinite: 0,
            positive: 0,
            moments: Moments::default(),
            histogram: Histogram::default(),
        }
    }

    /// Adds a sample: all its `values`, little-endian, in C order. `nonzero` is the number of values not equal to
    /// 0, if it is known.
    pub fn observe(&mut self, values: &[u8], nonzero: Option<u64>) {
        let count = (values.len() / self.data_type.size_bytes()) as u64;
        let nonzero = nonzero.unwrap_or_else(|| self.data_type.count_nonzero(values));
        if nonzero == 0 {
            self.observe_zeros(count);
            return;
        }
        if self.data_type == DataType::UInt8 && is_mask(values, nonzero) {
            self.observe_mask(values, nonzero);
            return;
        }
        let sample = moments(self.data_type, values, nonzero);
        self.samples += 1;
        self.count += count;
        self.nonzero += nonzero;
        self.nan += sample.nan;
        self.infinite += sample.infinite;
        self.positive += sample.positive;
        self.moments.merge(&sample.moments);
        self.histogram.observe(self.data_type, values);
    }

    /// Adds a sample of the values 0 and 1, of which `ones` are 1.
    fn observe_mask(&mut self, values: &[u8], ones: u64) {
        let count = values.len() as u64;
        self.samples += 1;
        self.count += count;
        self.nonzero += ones;
        self.positive += ones;
        self.moments.merge(&Moments::of_mask(count, ones));
        self.histogram.observe_mask(values);
    }

    /// Adds a sample all of whose `count` values are 0.
    pub fn observe_zeros(&mut self, count: u64) {
        self.samples += 1;
        self.empty_samples += 1;
        self.count += count;
        if count > 0 {
            self.moments.merge(&Moments::zeros(self.data_type));
        }
        self.histogram.observe_zeros(self.data_type, count);
    }

    /// Adds statistics of later samples of the same array.
    pub fn merge(&mut self, later: &Self) {
        debug_assert_eq!(self.data_type, later.data_type);
        // Only forged receipts come near an overflow.
        let add = |count: &mut u64, later: u64| *count = count.saturating_add(later);
        add(&mut self.samples, later.samples);
        add(&mut self.empty_samples, later.empty_samples);
        add(&mut self.count, later.count);
        add(&mut self.nonzero, later.nonzero);
        add(&mut self.nan, later.nan);
        add(&mut self.infinite, later.infinite);
        add(&mut self.positive, later.positive);
        self.moments.merge(&later.moments);
        self.histogram.merge(&later.histogram);
    }

    /// The summary for the manifest.
    pub(crate) fn finish(&self) -> Summary {
        let finite = self
            .count
            .saturating_sub(self.nan.saturating_add(self.infinite));
        let (min, max) = self.moments.range().unzip();
        let (mean, std) = self.moments.mean_and_std(finite).unzip();
        Summary {
            samples: self.samples,
            empty_samples: self.empty_samples,
            count: self.count,
            nonzero: self.nonzero,
            nan: self.nan,
            infinite: self.infinite,
            min,
            max,
            mean: mean.filter(|m| m.is_finite()),
            std: std.filter(|s| s.is_finite()),
            positive_fraction: (self.count > 0).then(|| self.positive as f64 / self.count as f64),
            histogram_of: "every 8th value of each sample in C order, the first included",
            histogram: self.histogram.bins(self.data_type),
        }
    }
}

/// Whether all values are 0 or 1, given the number of values that are not 0. Most arrays are masks, and the statistics of a
/// mask follow from the number of ones.
fn is_mask(values: &[u8], nonzero: u64) -> bool {
    // A few values are enough to recognize an image.
    let starts_as_mask = values.iter().take(64).all(|v| *v <= 1);
    starts_as_mask && bytecount::count(values, 1) as u64 == nonzero
}
