//! Suggestions for mistyped names.

/// The allowed name that is closest to `found`, if one is close enough to suggest.
pub(crate) fn nearest<'a>(
    found: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    allowed
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_close_name_is_suggested() {
        let names = ["layer", "anchor", "window"];
        assert_eq!(nearest("layr", names), Some("layer"));
        assert_eq!(nearest("widnow", names), Some("window"));
        assert_eq!(nearest("splits", names), None);
        assert_eq!(nearest("x", std::iter::empty()), None);
    }
}
