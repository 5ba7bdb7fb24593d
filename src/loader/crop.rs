//! Cropping of samples to a smaller window.

use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::LoaderError;

/// A window in the center of each sample, or near it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Size in voxels, x, y, z.
    pub window: [u32; 3],
    /// Largest random shift from the center in voxels, x, y, z.
    #[serde(default)]
    pub jitter: [u32; 3],
}

impl Crop {
    /// Voxels z, y, x of the window. With any shift it must be inside samples of `shape`, z, y, x.
    pub(super) fn window_in(&self, shape: [usize; 3]) -> Result<[usize; 3], LoaderError> {
        let (window, jitter) = (zyx(self.window), zyx(self.jitter));
        for (axis, name) in ["z", "y", "x"].into_iter().enumerate() {
            let n = window[axis];
            if n == 0 || n > shape[axis] {
                return Err(LoaderError::option(
                    "crop.window",
                    format!("{n} voxels in {name}"),
                    format!("1 to {}, the size of the samples", shape[axis]),
                ));
            }
            let margin = (shape[axis] - n) / 2;
            if jitter[axis] > margin {
                return Err(LoaderError::option(
                    "crop.jitter",
                    format!("{} voxels in {name}", jitter[axis]),
                    format!(
                        "at most {margin}, the margin on either side of {n} of {} voxels",
                        shape[axis]
                    ),
                ));
            }
        }
        Ok(window)
    }

    /// First voxel z, y, x of the window in a sample of `shape`, z, y, x.
    pub(super) fn first(&self, shape: [usize; 3], rng: &mut impl Rng) -> [usize; 3] {
        let (window, jitter) = (zyx(self.window), zyx(self.jitter));
        std::array::from_fn(|axis| {
            let center = (shape[axis] - window[axis]) / 2;
            center - jitter[axis] + rng.random_range(0..=2 * jitter[axis])
        })
    }
}

fn zyx([x, y, z]: [u32; 3]) -> [usize; 3] {
    [z, y, x].map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::transform::seeded_rng;
    use proptest::prelude::*;

    #[test]
    fn an_error_about_a_crop_names_the_axis() {
        let message = |window, jitter| {
            let crop = Crop { window, jitter };
            crop.window_in([16, 64, 64]).unwrap_err().to_string()
        };
        assert_eq!(
            message([64, 65, 8], [0; 3]),
            "the loader's option `crop.window`: found 65 voxels in y, expected 1 to 64, the size of the samples"
        );
        assert!(message([0, 64, 8], [0; 3]).contains("0 voxels in x"));
        assert!(message([48, 48, 11], [8, 8, 3]).contains("3 voxels in z, expected at most 2"));
        assert!(message([48, 48, 11], [u32::MAX, 8, 0]).contains("jitter"));
    }

    #[test]
    fn unknown_keys_are_errors_and_jitter_is_zero_by_default() {
        let crop: Crop = serde_json::from_str(r#"{"window": [1, 2, 3]}"#).unwrap();
        assert_eq!(crop.jitter, [0; 3]);
        assert!(serde_json::from_str::<Crop>(r#"{"window": [1, 2, 3], "jiter": 1}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_crop_is_inside_the_sample_and_shifted_by_at_most_its_jitter(
            axes in prop::array::uniform3((1usize..20, 0usize..9, 0usize..2, 0usize..9)), seed: u64,
        ) {
            let shape = axes.map(|(n, margin, odd, _)| n + 2 * margin + odd);
            let jitter = axes.map(|(_, margin, _, j)| margin.min(j));
            let xyz = |[z, y, x]: [usize; 3]| [x, y, z].map(|n| n as u32);
            let crop = Crop { window: xyz(axes.map(|a| a.0)), jitter: xyz(jitter) };
            let window = crop.window_in(shape).unwrap();
            let first = crop.first(shape, &mut seeded_rng("crop", &[seed]));
            for axis in 0..3 {
                prop_assert!(first[axis] + window[axis] <= shape[axis]);
                let margin = axes[axis].1;
                prop_assert!(first[axis].abs_diff(margin) <= jitter[axis]);
            }
        }
    }
}
