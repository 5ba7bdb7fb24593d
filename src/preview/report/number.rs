//! Formats numbers for people.

use indicatif::HumanCount;

/// Four significant digits; scientific notation for very small and very large numbers.
pub(in crate::preview) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if value.fract() == 0.0 && (0.0..1e12).contains(&value) {
        // Whole numbers, such as steps.
        HumanCount(value as u64).to_string()
    } else if !(1e-4..1e6).contains(&size) {
        format!("{value:.2e}")
    } else {
        let digits = (3 - size.log10().floor() as i32).max(0) as usize;
        format!("{value:.digits$}")
    }
}

/// Whether a cell of a table is a number or a dash in place of one.
pub(super) fn is_number(cell: &str) -> bool {
    let digits = cell.trim().trim_end_matches('%').trim_end();
    let digits = digits.replace([',', '\u{2009}', '\u{202f}'], "");
    matches!(digits.as_str(), "-" | "–" | "—") || digits.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        let shown = [0.0, 0.987654, 12.3456, -1234.56, 999999.4].map(short);
        assert_eq!(shown, ["0", "0.9877", "12.35", "-1235", "999999"]);
    }

    #[test]
    fn whole_numbers_have_no_decimals() {
        assert_eq!([7.0, 20_000.0].map(short), ["7", "20,000"]);
    }

    #[test]
    fn very_small_and_very_large_numbers_are_in_scientific_notation() {
        assert_eq!(short(0.000012345), "1.23e-5");
        assert_eq!(short(1.5e13), "1.50e13");
        assert_eq!(short(f64::NAN), "NaN");
    }

    #[test]
    fn cells_with_numbers_are_recognized() {
        for cell in ["0.5", "-3", "12,345", "99.1%", "99.1 %", "1e-4", "–", "NaN"] {
            assert!(is_number(cell), "{cell}");
        }
        for cell in ["", "cleft", "3 of 4", "v1.2"] {
            assert!(!is_number(cell), "{cell}");
        }
    }
}
