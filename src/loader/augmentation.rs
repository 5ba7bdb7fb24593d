//! Options of random augmentation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::LoaderError;

/// Random augmentation of samples; off by default. Crop, mirroring and rotation are the same for image, targets and
/// masks. Image voxels without data (0) stay 0. If values of an integer image are changed, all others are clamped to
/// 1/255 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Axes along which samples are mirrored, each with probability 1/2.
    pub flip: Flip,
    /// Swap x and y with probability 1/2. Windows must have the same size in x and y.
    pub transpose_xy: bool,
    /// Rotate by 0, 90, 180 or 270 degrees about z. Windows must have the same size in x and y.
    pub rotate_xy: bool,
    /// Largest absolute value added to all values of a sample; 1 is full scale.
    #[schemars(range(min = 0))]
    pub brightness: f32,
    /// The distances of a sample's values from their mean are multiplied by a factor from 1 minus this to 1 plus this.
    #[schemars(range(min = 0))]
    pub contrast: f32,
    /// Standard deviation of Gaussian noise; 1 is full scale.
    #[schemars(range(min = 0))]
    pub noise: f32,
    /// Fraction of the samples in which one z section of the image is set to 0.
    #[schemars(range(min = 0, max = 1))]
    pub missing_section: f32,
}

/// Axes along which samples are mirrored, each with probability 1/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names are clear")]
pub struct Flip {
    pub x: bool,
    pub y: bool,
    pub z: bool,
}

impl Augmentation {
    /// Checks the range of every number.
    pub(super) fn check(&self) -> Result<(), LoaderError> {
        let ranges = [
            ("augmentation.brightness", self.brightness),
            ("augmentation.contrast", self.contrast),
            ("augmentation.noise", self.noise),
        ];
        for (name, found) in ranges {
            if !(found.is_finite() && found >= 0.0) {
                return Err(LoaderError::option(
                    name,
                    found,
                    "a finite number, 0 or more",
                ));
            }
        }
        if !(0.0..=1.0).contains(&self.missing_section) {
            return Err(LoaderError::option(
                "augmentation.missing_section",
                self.missing_section,
                "a probability, between 0 and 1",
            ));
        }
        Ok(())
    }

    /// Whether values of the image are changed, other than by missing sections.
    pub(super) fn changes_values(&self) -> bool {
        self.brightness > 0.0 || self.contrast > 0.0 || self.noise > 0.0
    }

    /// The option that may swap x and y, if one is on.
    pub(super) fn swaps_xy(&self) -> Option<&'static str> {
        match (self.transpose_xy, self.rotate_xy) {
            (true, _) => Some("augmentation.transpose_xy"),
            (_, true) => Some("augmentation.rotate_xy"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_keys_are_off_and_unknown_keys_are_errors() {
        let read = serde_json::from_str::<Augmentation>;
        assert_eq!(read("{}").unwrap(), Augmentation::default());
        let some = read(r#"{"flip": {"x": true}, "noise": 0.1}"#).unwrap();
        assert!(some.flip.x && !some.flip.y && some.noise == 0.1 && !some.rotate_xy);
        assert!(read(r#"{"flips": {}}"#).is_err() && read(r#"{"flip": {"w": true}}"#).is_err());
    }
}
