//! Names of units of length.

/// The symbol of a unit that OME-Zarr spells out as in UDUNITS-2.
pub(super) fn unit_symbol(unit: &str) -> &str {
    match unit {
        "nanometer" | "nanometers" | "nanometre" => "nm",
        "micrometer" | "micrometers" | "micrometre" | "micron" | "microns" => "um",
        "millimeter" | "millimeters" | "millimetre" => "mm",
        "centimeter" | "centimetre" => "cm",
        "meter" | "meters" | "metre" => "m",
        "picometer" | "picometre" => "pm",
        "Angstrom" => "angstrom",
        other => other,
    }
}
