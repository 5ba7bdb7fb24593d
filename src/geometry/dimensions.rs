//! Coordinate spaces: `{"x": [4.6e-09, "m"], ...}`, in the order of the document.

use indexmap::IndexMap;

use super::{AXES, length_nm};

/// Maximum number of dimensions.
const MAX_RANK: usize = 16;

/// The name of every dimension, then its scale and unit. Coordinates have the order of the document.
pub(crate) type Dimensions = IndexMap<String, (f64, String)>;

/// Why a coordinate space has no x, y, z in nm.
#[derive(Debug)]
pub(crate) struct WrongDimensions {
    /// The dimension, or `None` if the error is about all of them.
    pub(crate) name: Option<String>,
    pub(crate) found: String,
    pub(crate) expected: String,
}

/// The dimensions that are x, y, z, and nm per unit along each. Dimensions with these names are taken by name; the other
/// axes are assigned to the remaining dimensions in order.
pub(crate) fn spatial_axes(
    dimensions: &Dimensions,
) -> Result<([usize; 3], [f64; 3]), WrongDimensions> {
    let rank = dimensions.len();
    let wrong = |name: Option<&str>, found: String, expected: &str| WrongDimensions {
        name: name.map(str::to_owned),
        found,
        expected: expected.to_owned(),
    };
    let listed = || format!("{:?}", dimensions.keys().collect::<Vec<_>>());
    if !(3..=MAX_RANK).contains(&rank) {
        return Err(wrong(None, listed(), &format!("3 to {MAX_RANK} of them")));
    }
    let is_length = |d: usize| length_nm(1.0, &dimensions[d].1).is_some();
    let named: Vec<usize> = AXES
        .iter()
        .filter_map(|a| dimensions.get_index_of(*a))
        .collect();
    let candidates: Vec<usize> = match (rank, named.len()) {
        (3, _) => (0..3).collect(),
        (_, 3) => named.clone(),
        _ => (0..rank).filter(|d| is_length(*d)).collect(),
    };
    if candidates.len() != 3 {
        return Err(wrong(
            None,
            listed(),
            "dimensions `x`, `y`, `z`, or exactly three dimensions that are lengths",
        ));
    }
    let mut unnamed = candidates.iter().filter(|d| !named.contains(d));
    let mut axes = [0; 3];
    let mut unit_nm = [0.0; 3];
    for (i, axis) in AXES.iter().enumerate() {
        let by_name = dimensions.get_index_of(*axis);
        let Some(d) = by_name.or_else(|| unnamed.next().copied()) else {
            return Err(wrong(None, listed(), &format!("a dimension for `{axis}`")));
        };
        let (scale, unit) = &dimensions[d];
        axes[i] = d;
        unit_nm[i] = length_nm(*scale, unit)
            .filter(|nm| nm.is_finite() && *nm > 0.0)
            .ok_or_else(|| {
                wrong(
                    dimensions.get_index(d).map(|(name, _)| name.as_str()),
                    format!("[{scale:?}, {unit:?}]"),
                    "a length greater than 0 in a unit such as \"m\", \"um\" or \"nm\"",
                )
            })?;
    }
    Ok((axes, unit_nm))
}
