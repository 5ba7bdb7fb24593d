//! The options of a loader, and their checks.

use super::augmentation::Augmentation;
use super::crop::Crop;
use super::error::LoaderError;
use super::input::InputArray;
use crate::dataset::Dataset;

/// The arrays of a split that make up a training sample.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayNames {
    /// The inputs, whose channels are those of the image, in this order. Any number of channels each.
    pub inputs: Vec<InputArray>,
    /// The targets: any type, one channel.
    pub targets: Vec<String>,
    /// For each target the array with its mask, if any: integers or float32, one channel.
    pub masks: Vec<Option<String>>,
    /// A segmentation: integers, one channel.
    pub segmentation: Option<String>,
}

impl ArrayNames {
    /// Uses the array `<target>_mask` as the mask of a target if the dataset has it.
    pub fn with_masks(dataset: &Dataset, inputs: &[InputArray], targets: &[String]) -> Self {
        let arrays = &dataset.manifest().arrays;
        let mask = |t: &String| Some(format!("{t}_mask")).filter(|m| arrays.contains_key(m));
        Self {
            inputs: inputs.to_vec(),
            targets: targets.to_vec(),
            masks: targets.iter().map(mask).collect(),
            segmentation: None,
        }
    }
}

/// How samples are read and combined into batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Samples per batch, at least 1.
    pub batch_size: usize,
    /// Number of decoding threads, at least 1.
    pub workers: usize,
    /// Maximum number of batches that are ready or in progress; 0 counts as 1.
    pub prefetch: usize,
    /// Seed of the order, the crops and the augmentation.
    pub seed: u64,
    /// Whether each epoch shuffles the samples; otherwise they are in ascending order.
    pub shuffle: bool,
    /// Number of the share of samples to load, less than `world_size`.
    pub rank: usize,
    /// Number of shares. All have the same number of samples: if necessary, the first few samples are repeated at the
    /// end or, with `drop_last`, the last few are skipped.
    pub world_size: usize,
    /// Whether an incomplete last batch is skipped.
    pub drop_last: bool,
    /// The part of each sample to load; the whole sample if `None`.
    pub crop: Option<Crop>,
    /// Random augmentation.
    pub augmentation: Augmentation,
}

impl LoaderOptions {
    /// All samples in ascending order, without crop and augmentation.
    pub fn in_order(batch_size: usize, workers: usize) -> Self {
        Self {
            batch_size,
            workers,
            prefetch: 4,
            seed: 0,
            shuffle: false,
            rank: 0,
            world_size: 1,
            drop_last: false,
            crop: None,
            augmentation: Augmentation::default(),
        }
    }

    /// The checks that need no dataset.
    pub(super) fn check(&self) -> Result<(), LoaderError> {
        let at_least_one = [
            ("batch_size", self.batch_size),
            ("workers", self.workers),
            ("world_size", self.world_size),
        ];
        for (name, found) in at_least_one {
            if found == 0 {
                return Err(LoaderError::option(name, found, "1 or more"));
            }
        }
        if self.rank >= self.world_size {
            let expected = format!("less than world_size, which is {}", self.world_size);
            return Err(LoaderError::option("rank", self.rank, expected));
        }
        self.augmentation.check()
    }

    /// Voxels z, y, x of the window that is loaded from samples of `shape`, z, y, x.
    pub(super) fn window(&self, shape: [usize; 3]) -> Result<[usize; 3], LoaderError> {
        let window = match &self.crop {
            None => shape,
            Some(crop) => crop.window_in(shape)?,
        };
        self.augmentation.check_window(window)?;
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tests::options;

    fn error(change: impl Fn(&mut LoaderOptions)) -> String {
        let mut options = options();
        change(&mut options);
        let window = |()| options.window([16, 64, 48]);
        options.check().and_then(window).unwrap_err().to_string()
    }

    #[test]
    fn an_invalid_option_is_named() {
        assert_eq!(
            error(|o| o.workers = 0),
            "the loader's option `workers`: found 0, expected 1 or more"
        );
        assert!(error(|o| o.batch_size = 0).contains("`batch_size`"));
        assert!(error(|o| (o.rank, o.world_size) = (2, 2)).contains("`rank`: found 2"));
        assert!(error(|o| o.world_size = 0).contains("`world_size`"));
        assert!(error(|o| o.augmentation.noise = f32::NAN).contains("`augmentation.noise`"));
        assert!(error(|o| o.augmentation.missing_section = 1.5).contains("between 0 and 1"));
        assert!(error(|o| o.augmentation.brightness = -0.1).contains("brightness"));
    }

    #[test]
    fn rotation_needs_square_windows() {
        assert!(error(|o| o.augmentation.rotate_xy = true).contains("rotate_xy"));
        assert!(error(|o| o.augmentation.transpose_xy = true).contains("48 x 64"));
        let mut square = options();
        square.augmentation.rotate_xy = true;
        square.crop = Some(Crop {
            window: [32, 32, 16],
            jitter: [0; 3],
        });
        assert_eq!(square.window([16, 64, 48]).unwrap(), [16, 32, 32]);
    }
}
