//! A histogram with fixed bins.

use serde::{Deserialize, Serialize};

use crate::data_type::DataType;

/// One value out of this many is counted: the first of each sample, and every 8th after it.
const EVERY: usize = 8;

/// Number of bins. 8-bit types have one per value, ascending. For other types, [`ZERO_SLOT`] is the bin of 0. The bins above it
/// hold numbers from 2^k to below 2^(k+1), k from -127 to 127; the first and the last of them also hold numbers closer to 0
/// or further from it. The bins below it hold negative numbers in the same way. NaN is in no bin.
const SLOTS: usize = 512;

const ZERO_SLOT: usize = 256;

/// The number of values in each bin; no bins where there are no values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<(usize, u64)>", try_from = "Vec<(usize, u64)>")]
pub(crate) struct Histogram {
    counts: Vec<u64>,
}

/// A bin of a histogram. It includes its lower edge and excludes its upper one; for negative numbers of more than 8 bits it is
/// the other way round. The outermost bins also hold all numbers beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Bin {
    /// Lower edge; equal to the upper one only for the bin of 0.
    pub from: f64,
    /// Upper edge.
    pub to: f64,
    /// Number of values.
    pub count: u64,
}

impl Histogram {
    /// Counts a sample.
    pub fn observe(&mut self, data_type: DataType, values: &[u8]) {
        match data_type {
            DataType::UInt8 => self.observe_bytes(values, 0),
            // Adding 128 to an int8 is to flip the highest bit.
            DataType::Int8 => self.observe_bytes(values, 0x80),
            DataType::UInt16 => self.count(values, |v| whole(false, u16::from_le_bytes(v).into())),
            DataType::UInt32 => self.count(values, |v| whole(false, u32::from_le_bytes(v).into())),
            DataType::UInt64 => self.count(values, |v| whole(false, u64::from_le_bytes(v))),
            DataType::Int16 => self.count(values, |v| signed(i16::from_le_bytes(v).into())),
            DataType::Int32 => self.count(values, |v| signed(i32::from_le_bytes(v).into())),
            DataType::Int64 => self.count(values, |v| signed(i64::from_le_bytes(v))),
            DataType::Float32 => self.count(values, |v| real(f32::from_le_bytes(v).into())),
            DataType::Float64 => self.count(values, |v| real(f64::from_le_bytes(v))),
        }
    }

    /// Counts a sample of the 8-bit values 0 and 1.
    pub fn observe_mask(&mut self, values: &[u8]) {
        self.counts.resize(SLOTS, 0);
        let (some, rest) = values.as_chunks::<EVERY>();
        let ones: u64 = some.iter().map(|v| u64::from(v[0])).sum();
        let ones = ones + rest.first().map_or(0, |v| u64::from(*v));
        self.counts[1] += ones;
        self.counts[0] += values.len().div_ceil(EVERY) as u64 - ones;
    }

    /// Counts a sample of `count` zeros.
    pub fn observe_zeros(&mut self, data_type: DataType, count: u64) {
        self.counts.resize(SLOTS, 0);
        let slot = match data_type {
            DataType::UInt8 => 0,
            DataType::Int8 => 0x80,
            _ => ZERO_SLOT,
        };
        self.counts[slot] += count.div_ceil(EVERY as u64);
    }

    /// Adds the counts of other samples.
    pub fn merge(&mut self, other: &Self) {
        self.counts.resize(SLOTS, 0);
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*other);
        }
    }

    /// The bins that hold any value, ascending.
    pub fn bins(&self, data_type: DataType) -> Vec<Bin> {
        let filled = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let bin = |(slot, count): (usize, &u64)| {
            let slot = slot as i32;
            let (from, to) = match (data_type, slot - ZERO_SLOT as i32) {
                (DataType::UInt8, _) => (f64::from(slot), f64::from(slot + 1)),
                (DataType::Int8, _) => (f64::from(slot - 128), f64::from(slot - 127)),
                (_, 0) => (0.0, 0.0),
                (_, above @ 1..) => (2f64.powi(above - 128), 2f64.powi(above - 127)),
                (_, below) => (-2f64.powi(-below - 127), -2f64.powi(-below - 128)),
            };
            Bin {
                from,
                to,
                count: *count,
            }
        };
        filled.map(bin).collect()
    }

    fn observe_bytes(&mut self, values: &[u8], flip: u8) {
        self.counts.resize(SLOTS, 0);
        // Several tables, because a count that was just written takes a while to be read again.
        let mut tables = [[0u64; 256]; 4];
        let mut rest = values.chunks_exact(4 * EVERY);
        for some in rest.by_ref() {
            for (table, v) in tables.iter_mut().zip(some.iter().step_by(EVERY)) {
                table[usize::from(v ^ flip)] += 1;
            }
        }
        for v in rest.remainder().iter().step_by(EVERY) {
            tables[0][usize::from(v ^ flip)] += 1;
        }
        for table in tables {
            for (count, n) in self.counts.iter_mut().zip(table) {
                *count += n;
            }
        }
    }

    fn count<const N: usize>(&mut self, values: &[u8], slot: impl Fn([u8; N]) -> Option<usize>) {
        self.counts.resize(SLOTS, 0);
        let (values, _) = values.as_chunks::<N>();
        for slot in values.iter().step_by(EVERY).filter_map(|v| slot(*v)) {
            self.counts[slot] += 1;
        }
    }
}

fn signed(v: i64) -> Option<usize> {
    whole(v < 0, v.unsigned_abs())
}

fn whole(negative: bool, size: u64) -> Option<usize> {
    Some(match size.checked_ilog2() {
        None => ZERO_SLOT,
        Some(k) => of_power(negative, k as i32),
    })
}

fn real(v: f64) -> Option<usize> {
    let exponent = (v.to_bits() >> 52) as i32 & 0x7ff;
    match v {
        _ if v.is_nan() => None,
        0.0 => Some(ZERO_SLOT),
        _ => Some(of_power(v < 0.0, exponent - 1023)),
    }
}

/// The bin of numbers from 2^k on.
fn of_power(negative: bool, k: i32) -> usize {
    let from_zero = (k.clamp(-127, 127) + 128) as usize;
    if negative {
        ZERO_SLOT - from_zero
    } else {
        ZERO_SLOT + from_zero
    }
}

impl From<Histogram> for Vec<(usize, u64)> {
    fn from(histogram: Histogram) -> Self {
        let counts = histogram.counts.into_iter().enumerate();
        counts.filter(|(_, n)| *n > 0).collect()
    }
}

impl TryFrom<Vec<(usize, u64)>> for Histogram {
    type Error = String;

    fn try_from(filled: Vec<(usize, u64)>) -> Result<Self, String> {
        let mut counts = vec![0; if filled.is_empty() { 0 } else { SLOTS }];
        for (slot, n) in filled {
            let count = counts.get_mut(slot);
            *count.ok_or_else(|| format!("found bin {slot}, expected one below {SLOTS}"))? = n;
        }
        Ok(Self { counts })
    }
}
