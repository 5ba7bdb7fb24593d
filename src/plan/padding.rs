//! How much of each window is inside of its volume, and how many windows are padded.

use indexmap::IndexMap;

use super::table::Plan;

/// For each window the fraction of its voxels that are inside of its volume. It is 1 exactly where the window is not padded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Padding {
    /// By split, array and sample, in the order of the plan.
    inside_fractions: Vec<Vec<Vec<f32>>>,
    /// The number of padded windows, by split and array.
    padded: Vec<Vec<u64>>,
}

/// More padded windows than this fraction give a warning.
const WARNING_FRACTION: f64 = 0.1;

impl Padding {
    /// Counts the padded windows. The fractions are given by split, array and sample.
    pub(crate) fn new(inside_fractions: Vec<Vec<Vec<f32>>>) -> Self {
        let padded = |windows: &Vec<f32>| windows.iter().filter(|f| **f < 1.0).count() as u64;
        let of_split = |arrays: &Vec<Vec<f32>>| arrays.iter().map(padded).collect();
        Self {
            padded: inside_fractions.iter().map(of_split).collect(),
            inside_fractions,
        }
    }

    /// Number of padded windows of the array in the split, both given by their position in the plan.
    pub fn windows(&self, split: usize, array: usize) -> u64 {
        let of_split = self.padded.get(split);
        of_split.and_then(|s| s.get(array)).copied().unwrap_or(0)
    }

    /// For each sample of the split the fraction of its window of the array that is inside of the volume.
    pub(crate) fn inside_fractions(&self, split: usize, array: usize) -> &[f32] {
        let of_split = self.inside_fractions.get(split);
        of_split
            .and_then(|s| s.get(array))
            .map_or(&[], Vec::as_slice)
    }

    /// Warnings about arrays of which many windows of a split are padded. Arrays with equally many padded windows share a
    /// warning, because their layers usually end in the same place.
    pub(crate) fn warnings(&self, plan: &Plan) -> Vec<String> {
        let mut warnings = Vec::new();
        for (number, split) in plan.splits.iter().enumerate() {
            let all = split.samples.len() as u64;
            let mut arrays: IndexMap<u64, Vec<String>> = IndexMap::new();
            for (array, (name, config)) in plan.config.arrays.iter().enumerate() {
                let padded = self.windows(number, array);
                if padded as f64 > WARNING_FRACTION * all as f64 {
                    let named = format!("`{name}` (layer `{}`)", config.layer);
                    arrays.entry(padded).or_default().push(named);
                }
            }
            warnings.extend(arrays.into_iter().map(|(padded, arrays)| {
                format!(
                    "{padded} of the {all} windows in the split `{}` extend past the layer's volume and are padded. Arrays: {}. The columns `ARRAY_inside_fraction` say how much of each window is inside. \"outside\": \"drop\" in the config drops such samples",
                    split.name,
                    arrays.join(", ")
                )
            }));
        }
        warnings
    }
}
