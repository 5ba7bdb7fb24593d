//! What may be done to samples at random, as a config says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LoaderError;

/// What is done to samples at random; by default nothing. Where a sample lies and which way it is turned is the same for
/// image, targets and masks. Voxels of the image without data, 0, stay 0; of images of integers all others stay within
/// 1/255 and 1 where their values are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Axes along which every other sample is mirrored.
    pub flip: Flip,
    /// Whether x and y are exchanged in every other sample. Windows must be as long in x as in y.
    pub transpose_xy: bool,
    /// Whether samples are turned by 0, 90, 180 or 270 degrees about z. Windows must be as long in x as in y.
    pub rotate_xy: bool,
    /// What is added to all values of a sample lies between minus and plus this; 1 is full scale.
    #[schemars(range(min = 0))]
    pub brightness: f32,
    /// Distances of a sample's values from their mean are multiplied by between 1 minus and 1 plus this.
    #[schemars(range(min = 0))]
    pub contrast: f32,
    /// Standard deviation of normally distributed noise; 1 is full scale.
    #[schemars(range(min = 0))]
    pub noise: f32,
    /// Share of the samples in which the image of one z section is missing: all of it is 0.
    #[schemars(range(min = 0, max = 1))]
    pub missing_section: f32,
}

/// Axes along which every other sample is mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Flip {
    pub x: bool,
    pub y: bool,
    pub z: bool,
}

impl Augmentation {
    /// Whether every number is one that makes sense.
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

    /// Whether values of the image become others than those that are stored, but for missing sections.
    pub(super) fn changes_values(&self) -> bool {
        self.brightness > 0.0 || self.contrast > 0.0 || self.noise > 0.0
    }

    /// The option that exchanges x and y, if one does.
    pub(super) fn turns(&self) -> Option<&'static str> {
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
    fn what_is_not_said_is_off_and_unknown_keys_are_refused() {
        let read = serde_json::from_str::<Augmentation>;
        assert_eq!(read("{}").unwrap(), Augmentation::default());
        let some = read(r#"{"flip": {"x": true}, "noise": 0.1}"#).unwrap();
        assert!(some.flip.x && !some.flip.y && some.noise == 0.1 && !some.rotate_xy);
        assert!(read(r#"{"flips": {}}"#).is_err() && read(r#"{"flip": {"w": true}}"#).is_err());
    }
}
