//! Lengths in units of documents.

/// A length of `value` units in nm, rounded to twelve significant digits, so that `4.6e-09 m` and
/// `2.9999999999999997e-05 m` become 4.6 and 30000 nm. `None` if `unit` is not a unit of length.
pub fn length_nm(value: f64, unit: &str) -> Option<f64> {
    let nm_per_unit = match unit {
        "m" => 1e9,
        "cm" => 1e7,
        "mm" => 1e6,
        "um" | "µm" | "μm" => 1e3,
        "nm" => 1.0,
        "pm" => 1e-3,
        "Å" | "angstrom" => 0.1,
        _ => return None,
    };
    format!("{:.11e}", value * nm_per_unit).parse().ok()
}
