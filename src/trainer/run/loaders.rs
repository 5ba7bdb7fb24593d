//! The loaders of a training.

use pointshard::Dataset;
use pointshard::trainer_api::{ArrayNames, Augmentation, Crop, Loader, LoaderOptions, TrainConfig};

use crate::assignment::{Assignment, TrainingSplit};
use crate::error::TrainError;

/// The loaders of both splits, and the objects of the validation split.
pub(super) struct Loaders {
    pub train: Loader,
    pub val: Loader,
    pub assignment: Option<Assignment>,
    /// nm per voxel along x; `None` if it differs between samples.
    pub voxel_nm: Option<f64>,
}

impl Loaders {
    pub fn open(dataset: &Dataset, config: &TrainConfig) -> Result<Self, TrainError> {
        let arrays = ArrayNames::with_masks(dataset, &config.image.0, &config.targets);
        let split_samples = |name: &str| dataset.manifest().splits.get(name).map(|s| s.samples);
        let options = LoaderOptions {
            prefetch: config.prefetch,
            seed: config.seed,
            shuffle: true,
            // A split smaller than a batch is still trained on.
            drop_last: split_samples(&config.splits.train) >= Some(config.batch_size as u64),
            crop: config.crop.clone(),
            augmentation: config.augmentation,
            ..LoaderOptions::in_order(config.batch_size, config.workers)
        };
        let train = Loader::open(dataset, &config.splits.train, &arrays, options.clone())?;
        let centered = |crop: &Crop| Crop {
            window: crop.window,
            jitter: [0; 3],
        };
        let options = LoaderOptions {
            // A subset must not come from the first boxes only.
            shuffle: config.validation_samples.is_some(),
            drop_last: false,
            crop: config.crop.as_ref().map(centered),
            augmentation: Augmentation::default(),
            ..options
        };
        let segmentation = config.assignment.as_ref().map(|a| a.segmentation.clone());
        let val_arrays = ArrayNames {
            segmentation,
            ..arrays.clone()
        };
        let val = Loader::open(dataset, &config.splits.val, &val_arrays, options.clone())?;
        for (path, loader) in [("splits.train", &train), ("splits.val", &val)] {
            if loader.samples() == 0 {
                return Err(TrainError::config(path, "the split has no samples"));
            }
        }
        let [_, channels, z, y, x] = train.batch_shape();
        if let Some((path, problem)) = config.model.problem_with(channels, [z, y, x]) {
            return Err(TrainError::config(path, problem));
        }
        if let Some((path, problem)) = config.loss.problem_with([z, y, x]) {
            return Err(TrainError::config(path, problem));
        }
        Ok(Self {
            assignment: assignment(dataset, config, &arrays, options)?,
            voxel_nm: voxel_nm(dataset),
            train,
            val,
        })
    }
}

/// nm per voxel along x, if it is the same for all samples.
pub(crate) fn voxel_nm(dataset: &Dataset) -> Option<f64> {
    let groups = dataset.manifest().groups.iter();
    let mut sizes = groups.map(|group| group.resolution_nm[0]);
    let first = sizes.next()?;
    sizes.all(|size| size == first).then_some(first)
}

/// The objects of the validation split, if the config says that they are assigned.
fn assignment(
    dataset: &Dataset,
    config: &TrainConfig,
    arrays: &ArrayNames,
    options: LoaderOptions,
) -> Result<Option<Assignment>, TrainError> {
    if config.assignment.is_none() {
        return Ok(None);
    }
    let training = TrainingSplit {
        name: &config.splits.train,
        arrays,
        options,
    };
    let split = &config.splits.val;
    let opened = Assignment::open(dataset, split, &config.targets, Some(training))?;
    Ok(Some(opened))
}
