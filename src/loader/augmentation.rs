//! Options of random augmentation.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::LoaderError;

/// Random augmentation of samples; off by default. Crop, mirroring, rotation and misalignment are the same for image,
/// targets, masks and ids. Image voxels without data (0) stay 0. If values of an integer image are changed, all others
/// are clamped to 1/255 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Axes along which samples are mirrored, each with probability 1/2.
    pub flip: Flip,
    /// Swap x and y with probability 1/2. Windows must have the same size in x and y.
    pub transpose_xy: bool,
    /// Rotate by 0, 90, 180 or 270 degrees about z. Windows must have the same size in x and y.
    pub rotate_xy: bool,
    /// Rotate about z by up to this angle in either direction, in degrees. Image values are interpolated linearly; targets,
    /// masks, ids and `nonzero` inputs have the value of the nearest voxel. Voxels from outside of the stored sample are 0
    /// and masked. Voxels must have the same size in x and y.
    #[schemars(range(min = 0, max = 180))]
    pub rotate_xy_degrees: f32,
    /// Displace one z section in the plane. Voxels from outside of the stored sample are 0 and masked.
    pub slip: Option<Misalignment>,
    /// Displace all z sections from a random one on. Voxels from outside of the stored sample are 0 and masked.
    pub step: Option<Misalignment>,
    /// Largest absolute value added to all values of a sample; 1 is full scale.
    #[schemars(range(min = 0))]
    pub brightness: f32,
    /// The distances of a sample's values from their mean are multiplied by a factor from 1 minus this to 1 plus this.
    #[schemars(range(min = 0))]
    pub contrast: f32,
    /// Standard deviation of Gaussian noise; 1 is full scale.
    #[schemars(range(min = 0))]
    pub noise: f32,
    /// Largest absolute value added to all values of a z section, another one in each section; 1 is full scale.
    #[schemars(range(min = 0))]
    pub section_brightness: f32,
    /// The distances of a z section's values from their mean are multiplied by a factor from 1 minus this to 1 plus this,
    /// another one in each section.
    #[schemars(range(min = 0))]
    pub section_contrast: f32,
    /// Largest standard deviation of Gaussian noise that is different in each z section; 1 is full scale.
    #[schemars(range(min = 0))]
    pub section_noise: f32,
    /// Fraction of the samples in which z sections of the image are set to 0.
    #[schemars(range(min = 0, max = 1))]
    pub missing_section: f32,
    /// Such a sample has 1 to this many missing sections; 1 by default.
    pub missing_sections_max: Option<NonZeroU32>,
    /// Set boxes of the image to 0.
    pub coarse_dropout: Option<CoarseDropout>,
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

/// How z sections are displaced in x and y.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Misalignment {
    /// Fraction of the samples that are misaligned.
    #[schemars(range(min = 0, max = 1))]
    pub probability: f32,
    /// Largest displacement in x and in y, in either direction.
    #[schemars(range(min = 1))]
    pub max_voxels: u32,
}

/// Boxes of the image that are set to 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CoarseDropout {
    /// Fraction of the samples with such boxes.
    #[schemars(range(min = 0, max = 1))]
    pub probability: f32,
    /// Number of boxes in such a sample. They may overlap.
    #[schemars(range(min = 1, max = MAX_BOXES))]
    pub boxes: u32,
    /// Size of each box in voxels, x, y, z.
    pub size: [NonZeroU32; 3],
}

/// Largest number of boxes of coarse dropout.
const MAX_BOXES: u32 = 1000;

impl Augmentation {
    /// Checks the range of every number.
    pub(super) fn check(&self) -> Result<(), LoaderError> {
        let ranges = [
            ("augmentation.brightness", self.brightness),
            ("augmentation.contrast", self.contrast),
            ("augmentation.noise", self.noise),
            ("augmentation.section_brightness", self.section_brightness),
            ("augmentation.section_contrast", self.section_contrast),
            ("augmentation.section_noise", self.section_noise),
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
        let probability = |m: Option<Misalignment>| m.map_or(0.0, |m| m.probability);
        let dropout = self.coarse_dropout.map_or(0.0, |d| d.probability);
        let probabilities = [
            ("augmentation.missing_section", self.missing_section),
            ("augmentation.slip.probability", probability(self.slip)),
            ("augmentation.step.probability", probability(self.step)),
            ("augmentation.coarse_dropout.probability", dropout),
        ];
        for (name, found) in probabilities {
            if !(0.0..=1.0).contains(&found) {
                let expected = "a probability, between 0 and 1";
                return Err(LoaderError::option(name, found, expected));
            }
        }
        if !(0.0..=180.0).contains(&self.rotate_xy_degrees) {
            return Err(LoaderError::option(
                "augmentation.rotate_xy_degrees",
                self.rotate_xy_degrees,
                "an angle in degrees, between 0 and 180",
            ));
        }
        match self.coarse_dropout {
            Some(dropout) if !(1..=MAX_BOXES).contains(&dropout.boxes) => Err(LoaderError::option(
                "augmentation.coarse_dropout.boxes",
                dropout.boxes,
                format!("1 to {MAX_BOXES}"),
            )),
            _ => Ok(()),
        }
    }

    /// Checks the options against the window that is loaded, z, y, x.
    pub(super) fn check_window(&self, window: [usize; 3]) -> Result<(), LoaderError> {
        let [z, y, x] = window;
        if let Some(name) = self.swaps_xy()
            && x != y
        {
            return Err(LoaderError::option(
                name,
                format!("true with windows of {x} x {y} voxels in x and y"),
                "the same size in x and y; set such a `crop.window`, or turn the option off",
            ));
        }
        for (name, misalignment) in [
            ("augmentation.slip.max_voxels", self.slip),
            ("augmentation.step.max_voxels", self.step),
        ] {
            let largest = x.min(y) as u64;
            if let Some(Misalignment { max_voxels, .. }) = misalignment
                && !(1..=largest).contains(&max_voxels.into())
            {
                let expected = format!("1 to {largest}, the size of the windows in x or y");
                return Err(LoaderError::option(name, max_voxels, expected));
            }
        }
        if self.step.is_some() && z < 2 {
            return Err(LoaderError::option(
                "augmentation.step",
                "windows of one section",
                "at least two sections; set such a `crop.window`, or turn the option off",
            ));
        }
        for (i, (axis, voxels)) in [("x", x), ("y", y), ("z", z)].into_iter().enumerate() {
            if let Some(CoarseDropout { size, .. }) = self.coarse_dropout
                && u64::from(size[i].get()) > voxels as u64
            {
                return Err(LoaderError::option(
                    "augmentation.coarse_dropout.size",
                    format!("{} voxels in {axis}", size[i]),
                    format!("1 to {voxels}, the size of the windows"),
                ));
            }
        }
        Ok(())
    }

    /// Checks the options against the resolutions of the samples, nm per voxel, x y z.
    pub(super) fn check_resolutions(
        &self,
        mut resolutions_nm: impl Iterator<Item = [f64; 3]>,
    ) -> Result<(), LoaderError> {
        if self.rotate_xy_degrees == 0.0 {
            return Ok(());
        }
        match resolutions_nm.find(|[x, y, _]| (x - y).abs() > 1e-6 * x.abs()) {
            None => Ok(()),
            Some([x, y, _]) => Err(LoaderError::option(
                "augmentation.rotate_xy_degrees",
                format!("voxels of {x} x {y} nm in x and y"),
                "the same size in x and y; turn the option off for this dataset",
            )),
        }
    }

    /// Whether values of the image are changed, other than by voxels that are set to 0.
    pub(super) fn changes_values(&self) -> bool {
        self.brightness > 0.0 || self.contrast > 0.0 || self.noise > 0.0 || self.changes_sections()
    }

    /// Whether the values of each z section are changed in another way.
    pub(super) fn changes_sections(&self) -> bool {
        self.section_brightness > 0.0 || self.section_contrast > 0.0 || self.section_noise > 0.0
    }

    /// Whether voxels of a window may come from outside of the stored sample.
    pub(super) fn may_leave_sample(&self) -> bool {
        self.rotate_xy_degrees > 0.0 || self.slip.is_some() || self.step.is_some()
    }

    /// The option that may swap x and y, if one is on.
    fn swaps_xy(&self) -> Option<&'static str> {
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
        let sections =
            read(r#"{"missing_sections_max": 3, "slip": {"probability": 0.1, "max_voxels": 4}}"#);
        let sections = sections.unwrap();
        assert_eq!(sections.missing_sections_max.map(NonZeroU32::get), Some(3));
        assert!(sections.may_leave_sample() && !sections.changes_values());
        assert!(read(r#"{"missing_sections_max": 0}"#).is_err());
        assert!(read(r#"{"slip": {"probability": 0.1}}"#).is_err());
        assert!(
            read(r#"{"coarse_dropout": {"probability": 1, "boxes": 1, "size": [1, 0, 1]}}"#)
                .is_err()
        );
    }

    #[test]
    fn an_option_outside_of_its_range_is_named() {
        let error = |json: &str| {
            let augmentation: Augmentation = serde_json::from_str(json).unwrap();
            let fits = augmentation.check_window([4, 16, 8]);
            let error = augmentation.check().and(fits).unwrap_err();
            error.to_string()
        };
        for key in ["section_brightness", "section_contrast", "section_noise"] {
            let message = error(&format!(r#"{{"{key}": -1}}"#));
            assert!(
                message.contains(&format!("`augmentation.{key}`: found -1")),
                "{message}"
            );
        }
        assert!(error(r#"{"rotate_xy_degrees": 181}"#).contains("between 0 and 180"));
        for key in ["slip", "step"] {
            let with = |probability, voxels| {
                error(&format!(
                    r#"{{"{key}": {{"probability": {probability}, "max_voxels": {voxels}}}}}"#
                ))
            };
            assert!(with(2, 1).contains(&format!("`augmentation.{key}.probability`: found 2")));
            assert!(with(1, 9).contains(&format!("{key}.max_voxels`: found 9, expected 1 to 8")));
            assert!(with(1, 0).contains("found 0"));
        }
        let dropout = |probability, boxes, size: [u32; 3]| {
            error(&format!(
                r#"{{"coarse_dropout": {{"probability": {probability}, "boxes": {boxes}, "size": {size:?}}}}}"#
            ))
        };
        assert!(dropout(-1, 1, [1; 3]).contains("coarse_dropout.probability`: found -1"));
        assert!(dropout(1, 0, [1; 3]).contains("boxes`: found 0, expected 1 to 1000"));
        assert!(dropout(1, 1001, [1; 3]).contains("boxes`: found 1001"));
        assert!(dropout(1, 1, [9, 1, 1]).contains("found 9 voxels in x, expected 1 to 8"));
        assert!(dropout(1, 1, [8, 16, 5]).contains("found 5 voxels in z, expected 1 to 4"));
        let step = serde_json::from_str::<Augmentation>(
            r#"{"step": {"probability": 1, "max_voxels": 1}}"#,
        );
        let message = step
            .unwrap()
            .check_window([1, 8, 8])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("found windows of one section"),
            "{message}"
        );
    }

    #[test]
    fn rotation_by_any_angle_needs_voxels_of_the_same_size_in_x_and_y() {
        let resolutions = [[4.0, 4.0, 40.0], [4.0, 8.0, 40.0]];
        let check = |degrees, n: usize| {
            let augmentation = Augmentation {
                rotate_xy_degrees: degrees,
                ..Augmentation::default()
            };
            augmentation.check_resolutions(resolutions.into_iter().take(n))
        };
        assert!(check(0.0, 2).is_ok() && check(5.0, 1).is_ok());
        let message = check(5.0, 2).unwrap_err().to_string();
        assert!(
            message.contains("found voxels of 4 x 8 nm in x and y"),
            "{message}"
        );
    }
}
