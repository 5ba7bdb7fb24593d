//! Lengths in the units of attributes.

use crate::geometry::length_nm;
use crate::volume::unit_names::unit_symbol;

/// Units of a list of lengths.
#[derive(Clone, Debug)]
pub(super) enum Units {
    One(String),
    Each(Vec<String>),
}

/// A length in nm. The default unit is nm.
pub(super) fn length_in_nm(value: f64, unit: &str) -> Result<f64, String> {
    let symbol = match unit.trim() {
        "" => "nm",
        unit => unit_symbol(unit),
    };
    length_nm(value, symbol).ok_or_else(|| {
        format!("found the unit {unit:?}, expected a unit of length, such as \"nm\"")
    })
}

/// Formats lengths along x, y, z: `[4.0, 4.0, 40.0] nm (x y z)`.
pub(super) fn format_nm(lengths: &[f64; 3]) -> String {
    format!("{lengths:?} nm (x y z)")
}
