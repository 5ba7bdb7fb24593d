//! A smaller window cut out of each sample.

use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LoaderError;

/// A window cut out of the middle of each sample, or from near it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Voxels, x y z.
    pub window: [u32; 3],
    /// By how many voxels, x y z, it is moved from the middle at most, to either side.
    #[serde(default)]
    pub jitter: [u32; 3],
}

impl Crop {
    /// Voxels z, y, x, of the window, which must lie in samples of `shape`, z, y, x, wherever it is moved.
    pub(super) fn window_in(&self, shape: [usize; 3]) -> Result<[usize; 3], LoaderError> {
        let (window, jitter) = (zyx(self.window), zyx(self.jitter));
        for (axis, name) in ["z", "y", "x"].into_iter().enumerate() {
            let n = window[axis];
            if n == 0 || n > shape[axis] {
                return Err(LoaderError::option(
                    "crop.window",
                    format!("{n} voxels in {name}"),
                    format!("1 to {}, those of the samples", shape[axis]),
                ));
            }
            let room = (shape[axis] - n) / 2;
            if jitter[axis] > room {
                return Err(LoaderError::option(
                    "crop.jitter",
                    format!("{} voxels in {name}", jitter[axis]),
                    format!(
                        "{room} at most: no more is left on either side of {n} of {} voxels",
                        shape[axis]
                    ),
                ));
            }
        }
        Ok(window)
    }

    /// First voxel z, y, x, of the window in a sample of `shape`, z, y, x.
    pub(super) fn first(&self, shape: [usize; 3], random: &mut impl Rng) -> [usize; 3] {
        let (window, jitter) = (zyx(self.window), zyx(self.jitter));
        std::array::from_fn(|axis| {
            let centre = (shape[axis] - window[axis]) / 2;
            centre - jitter[axis] + random.random_range(0..=2 * jitter[axis])
        })
    }
}

fn zyx([x, y, z]: [u32; 3]) -> [usize; 3] {
    [z, y, x].map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::draw::random;
    use proptest::prelude::*;

    #[test]
    fn a_crop_that_does_not_fit_is_refused_with_the_axis() {
        let message = |window, jitter| {
            let crop = Crop { window, jitter };
            crop.window_in([16, 64, 64]).unwrap_err().to_string()
        };
        assert_eq!(
            message([64, 65, 8], [0; 3]),
            "the loader's option `crop.window`: found 65 voxels in y, expected 1 to 64, those of the samples"
        );
        assert!(message([0, 64, 8], [0; 3]).contains("0 voxels in x"));
        assert!(message([48, 48, 11], [8, 8, 3]).contains("3 voxels in z, expected 2 at most"));
        assert!(message([48, 48, 11], [u32::MAX, 8, 0]).contains("jitter"));
    }

    #[test]
    fn unknown_keys_are_refused_and_jitter_is_none_where_none_is_given() {
        let crop: Crop = serde_json::from_str(r#"{"window": [1, 2, 3]}"#).unwrap();
        assert_eq!(crop.jitter, [0; 3]);
        assert!(serde_json::from_str::<Crop>(r#"{"window": [1, 2, 3], "jiter": 1}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_crop_lies_inside_and_no_further_from_the_middle_than_its_jitter(
            axes in prop::array::uniform3((1usize..20, 0usize..9, 0usize..2, 0usize..9)), seed: u64,
        ) {
            let shape = axes.map(|(n, room, odd, _)| n + 2 * room + odd);
            let jitter = axes.map(|(_, room, _, j)| room.min(j));
            let xyz = |[z, y, x]: [usize; 3]| [x, y, z].map(|n| n as u32);
            let crop = Crop { window: xyz(axes.map(|a| a.0)), jitter: xyz(jitter) };
            let window = crop.window_in(shape).unwrap();
            let first = crop.first(shape, &mut random("crop", &[seed]));
            for axis in 0..3 {
                prop_assert!(first[axis] + window[axis] <= shape[axis]);
                let room = axes[axis].1;
                prop_assert!(first[axis].abs_diff(room) <= jitter[axis]);
            }
        }
    }
}
