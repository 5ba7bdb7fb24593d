//! The names that the dimensions of an array without names most likely have, to suggest them in an error.

use super::array::DimensionOrder;

/// Most dimensions that `axes` in the config can name.
const MAX_RANK: usize = 8;

/// One letter for each dimension: the three longest ones are x, y, z, in the order of the format, and the longest of the
/// others is the channel. Fails for a shape that no names make a volume, with a description for the user.
pub(super) fn likely_names(shape: &[u64], order: DimensionOrder) -> Result<String, String> {
    let rank = shape.len();
    if !(3..=MAX_RANK).contains(&rank) {
        let noun = if rank == 1 { "dimension" } else { "dimensions" };
        return Err(format!(
            "found {rank} {noun} {shape:?}, expected 3 to {MAX_RANK}, with x, y and z among them: this is not a volume"
        ));
    }
    // The fastest dimension last. Of dimensions with the same length, the slower one is less likely to be x, y or z.
    let fastest_last: Vec<usize> = match order {
        DimensionOrder::C => (0..rank).collect(),
        DimensionOrder::F => (0..rank).rev().collect(),
    };
    let mut by_length = fastest_last.clone();
    by_length.sort_by_key(|d| shape[*d]);
    let (others, _) = by_length.split_at(rank - 3);
    if others.iter().filter(|d| shape[**d] != 1).count() > 1 {
        return Err(format!(
            "found the dimensions {shape:?}, expected x, y, z and at most one other dimension that is longer than 1, the channels"
        ));
    }
    let mut letters = vec![' '; rank];
    for (d, letter) in others.iter().rev().zip("ctuvw".chars()) {
        letters[*d] = letter;
    }
    let space = fastest_last.iter().filter(|d| !others.contains(d));
    for (d, letter) in space.zip("zyx".chars()) {
        letters[*d] = letter;
    }
    Ok(letters.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::axes::ArrayAxes;

    #[test]
    fn the_suggested_names_fit_the_shape() {
        let likely = |shape: &[u64], order| {
            let names = likely_names(shape, order).unwrap();
            let list: Vec<_> = names.chars().map(String::from).collect();
            ArrayAxes::find(&list, shape).unwrap();
            names
        };
        for (shape, c, f) in [
            (&[48, 256, 320][..], "zyx", "xyz"),
            (&[2, 48, 256, 320], "czyx", "cxyz"),
            (&[48, 256, 320, 2], "zyxc", "xyzc"),
            (&[48, 2, 256, 320], "zcyx", "xcyz"),
            (&[1, 2, 48, 256, 320], "tczyx", "tcxyz"),
            (&[1, 1, 48, 256, 320], "tczyx", "ctxyz"),
            (&[320, 256, 48, 1, 1], "zyxtc", "xyzct"),
            (&[32, 32, 32, 32], "czyx", "xyzc"),
        ] {
            assert_eq!(likely(shape, DimensionOrder::C), c, "{shape:?}");
            assert_eq!(likely(shape, DimensionOrder::F), f, "{shape:?}");
        }
    }

    #[test]
    fn shapes_that_no_names_fit_are_errors() {
        let problem = |shape: &[u64]| likely_names(shape, DimensionOrder::C).unwrap_err();
        assert!(problem(&[256, 320]).starts_with("found 2 dimensions [256, 320]"));
        assert!(problem(&[1; 9]).contains("expected 3 to 8"));
        assert!(problem(&[2, 3, 48, 256, 320]).contains("at most one other dimension"));
    }
}
