//! The length of a scale bar: a round number of nm.

/// The longest length of 1, 2 or 5 times a power of ten that is at most two fifths of `width_nm`, in nm. `None` if the width
/// is not a positive number.
pub(super) fn length_nm(width_nm: f64) -> Option<f64> {
    let most = width_nm * 0.4;
    if !(most.is_finite() && most > 0.0) {
        return None;
    }
    let power = 10f64.powf(most.log10().floor());
    [5.0, 2.0, 1.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|length| *length <= most)
}

/// A length in nm, or in µm from 1,000 nm.
pub(super) fn label(length_nm: f64) -> String {
    if length_nm < 1000.0 {
        format!("{length_nm} nm")
    } else {
        format!("{} µm", length_nm / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_a_round_length() {
        let bar = |width| length_nm(width).map(label);
        assert_eq!(bar(512.0).as_deref(), Some("200 nm"));
        assert_eq!(bar(1250.0).as_deref(), Some("500 nm"));
        assert_eq!(bar(2499.0).as_deref(), Some("500 nm"));
        assert_eq!(bar(2500.0).as_deref(), Some("1 µm"));
        assert_eq!(bar(9.0).as_deref(), Some("2 nm"));
        assert_eq!(bar(0.0), None);
        assert_eq!(bar(f64::NAN), None);
    }
}
