//! What a caller chooses, and whether it can be done.

use super::augmentation::Augmentation;
use super::{Crop, LoaderError};
use crate::dataset::Dataset;

/// Which arrays of a split make a training sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays {
    /// The image: uint8, uint16 or float32, any number of channels.
    pub image: String,
    /// The targets: any type, one channel.
    pub targets: Vec<String>,
    /// For each target the array that says where it counts, if any: integers or float32, one channel.
    pub masks: Vec<Option<String>>,
}

impl Arrays {
    /// With the array `<target>_mask` as the mask of every target for which the dataset has one.
    pub fn with_masks(dataset: &Dataset, image: &str, targets: &[String]) -> Self {
        let arrays = &dataset.manifest().arrays;
        let mask = |t: &String| Some(format!("{t}_mask")).filter(|m| arrays.contains_key(m));
        Self {
            image: image.to_owned(),
            targets: targets.to_vec(),
            masks: targets.iter().map(mask).collect(),
        }
    }
}

/// How samples are put into batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Samples per batch, at least 1.
    pub batch_size: usize,
    /// Threads that decode, at least 1.
    pub workers: usize,
    /// Batches that are ready or being made at most; 0 counts as 1.
    pub prefetch: usize,
    /// Seed of the order, of crops and of augmentations.
    pub seed: u64,
    /// Whether samples come in an order of the epoch's own; otherwise they ascend.
    pub shuffle: bool,
    /// Which share of the samples is loaded, less than `world_size`.
    pub rank: usize,
    /// Number of shares. Each has the same number of samples: the first few come again at the end where that does not
    /// work out, or, with `drop_last`, the last few are left out.
    pub world_size: usize,
    /// Whether an incomplete last batch is left out.
    pub drop_last: bool,
    /// The part of each sample that is delivered; all of it without.
    pub crop: Option<Crop>,
    /// What is done to samples at random.
    pub augmentation: Augmentation,
}

impl Options {
    /// All samples, whole and as they are, in ascending order.
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

    /// Whether the options make sense, whatever the dataset.
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

    /// Voxels z, y, x of what is delivered out of samples of `shape`, z, y, x.
    pub(super) fn window(&self, shape: [usize; 3]) -> Result<[usize; 3], LoaderError> {
        let window = match &self.crop {
            None => shape,
            Some(crop) => crop.window_in(shape)?,
        };
        let [_, y, x] = window;
        match self.augmentation.turns() {
            Some(name) if x != y => Err(LoaderError::option(
                name,
                format!("true with windows of {x} x {y} voxels in x and y"),
                "as many voxels in x as in y: choose a crop of such a window, or turn it off",
            )),
            _ => Ok(window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::tests::options;

    fn refused(change: impl Fn(&mut Options)) -> String {
        let mut options = options();
        change(&mut options);
        let window = |()| options.window([16, 64, 48]);
        options.check().and_then(window).unwrap_err().to_string()
    }

    #[test]
    fn an_option_that_cannot_be_is_named() {
        assert_eq!(
            refused(|o| o.workers = 0),
            "the loader's option `workers`: found 0, expected 1 or more"
        );
        assert!(refused(|o| o.batch_size = 0).contains("`batch_size`"));
        assert!(refused(|o| (o.rank, o.world_size) = (2, 2)).contains("`rank`: found 2"));
        assert!(refused(|o| o.world_size = 0).contains("`world_size`"));
        assert!(refused(|o| o.augmentation.noise = f32::NAN).contains("`augmentation.noise`"));
        assert!(refused(|o| o.augmentation.missing_section = 1.5).contains("between 0 and 1"));
        assert!(refused(|o| o.augmentation.brightness = -0.1).contains("brightness"));
    }

    #[test]
    fn turns_need_windows_that_are_square() {
        assert!(refused(|o| o.augmentation.rotate_xy = true).contains("rotate_xy"));
        assert!(refused(|o| o.augmentation.transpose_xy = true).contains("48 x 64"));
        let mut square = options();
        square.augmentation.rotate_xy = true;
        square.crop = Some(Crop {
            window: [32, 32, 16],
            jitter: [0; 3],
        });
        assert_eq!(square.window([16, 64, 48]).unwrap(), [16, 32, 32]);
    }
}
