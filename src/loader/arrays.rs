//! Opens the arrays of a split that a loader reads, and checks that they fit each other.

use std::sync::Arc;

use super::array_kind::ArrayKind;
use super::convert;
use super::error::LoaderError;
use super::input::{InputArray, InputChannels, Scaling};
use super::options::ArrayNames;
use super::values::ValueType;
use crate::data_type::DataType;
use crate::dataset::{Dataset, SampleReader, ShardFiles, SplitReader};

/// The arrays of a split. Each is read once per sample, even if it is used several times.
#[derive(Debug)]
pub(super) struct LoaderArrays {
    pub split: String,
    pub arrays: Vec<LoaderArray>,
    /// Number of targets.
    pub targets: usize,
    /// Targets without a mask.
    pub unmasked: Vec<usize>,
    /// Type of the masks in a batch, if it has any.
    pub masks: Option<ValueType>,
    /// Whether ids of a segmentation are read.
    pub has_ids: bool,
    samples: u64,
    /// Channels of all inputs.
    image_channels: usize,
    /// Voxels of a stored sample: z, y, x.
    shape: [usize; 3],
}

/// An array, and what it is used as.
#[derive(Debug)]
pub(super) struct LoaderArray {
    name: String,
    pub reader: SampleReader,
    /// Whether all values are 0 or 1, according to the manifest.
    pub is_binary: bool,
    pub kinds: Vec<ArrayKind>,
}

impl LoaderArrays {
    pub fn open(dataset: &Dataset, split: &str, names: &ArrayNames) -> Result<Self, LoaderError> {
        let manifest = dataset.manifest();
        let Some(entry) = manifest.splits.get(split) else {
            return Err(LoaderError::NoSplit {
                split: split.to_owned(),
                found: quoted(manifest.splits.keys()),
            });
        };
        if names.masks.len() != names.targets.len() {
            return Err(LoaderError::Masks {
                targets: names.targets.len(),
                masks: names.masks.len(),
            });
        }
        let mut opening = Opening {
            dataset,
            split: dataset.split(split)?,
            split_name: split,
            files: Arc::new(ShardFiles::default()),
            samples: entry.samples,
            arrays: Vec::new(),
        };
        let mut image_channels = 0;
        for input in &names.inputs {
            image_channels += opening.add_input(input, image_channels)?;
        }
        for (i, target) in names.targets.iter().enumerate() {
            opening.add(target, ArrayKind::Target(i))?;
        }
        let mut unmasked = Vec::new();
        for (i, mask) in names.masks.iter().enumerate() {
            match mask {
                Some(mask) => opening.add(mask, ArrayKind::Mask(i))?,
                None => unmasked.push(i),
            }
        }
        if let Some(segmentation) = &names.segmentation {
            opening.add(segmentation, ArrayKind::Ids)?;
        }
        let arrays = opening.arrays;
        let Some(first) = arrays.first() else {
            return Err(LoaderError::NoInput);
        };
        let [_, shape @ ..] = first.reader.shape();
        check(&arrays)?;
        Ok(Self {
            split: split.to_owned(),
            targets: names.targets.len(),
            masks: mask_type(&arrays),
            unmasked,
            has_ids: names.segmentation.is_some(),
            samples: entry.samples,
            image_channels,
            shape,
            arrays,
        })
    }

    /// Number of samples of the split.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Gives every target a mask in the batch.
    pub fn mask_all_targets(&mut self) {
        if self.targets > 0 {
            self.masks.get_or_insert(ValueType::U8);
        }
    }

    /// Channels of the image.
    pub fn image_channels(&self) -> usize {
        self.image_channels
    }

    /// The inputs, each with its channels of the image.
    pub fn inputs(&self) -> impl Iterator<Item = InputChannels> {
        let kinds = self.arrays.iter().flat_map(|a| &a.kinds);
        kinds.filter_map(|kind| match kind {
            ArrayKind::Input(input) => Some(*input),
            _ => None,
        })
    }

    /// Type of the image in a batch; `changed` says whether augmentation changes its values.
    pub fn image_value_type(&self, changed: bool) -> ValueType {
        let fits =
            |i: InputChannels| i.scaling.fits_bytes(i.data_type) && !(changed && i.is_changed());
        if self.inputs().all(fits) {
            ValueType::U8
        } else {
            ValueType::F32
        }
    }

    /// Voxels of a stored sample: z, y, x.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Checks the memory that batches of `batch_size` samples with `window` voxels take.
    pub fn check_batch(&self, window: [usize; 3], batch_size: usize) -> Result<(), LoaderError> {
        let values = self.image_channels().max(self.targets).max(1);
        let bytes = window
            .iter()
            .try_fold(4 * values, |n, k| n.checked_mul(*k))
            .and_then(|n| n.checked_mul(batch_size));
        if bytes.is_some_and(|n| n <= MAX_BATCH_BYTES) {
            return Ok(());
        }
        Err(LoaderError::option(
            "batch_size",
            batch_size,
            format!("so few that no array of a batch takes more than {MAX_BATCH_BYTES} bytes"),
        ))
    }
}

/// Largest array of a batch, in bytes: a larger one is a mistake, and allocating it would abort the program.
const MAX_BATCH_BYTES: usize = 1 << 36;

/// The arrays that are open so far, and how to open more.
struct Opening<'d> {
    dataset: &'d Dataset,
    split: SplitReader,
    split_name: &'d str,
    files: Arc<ShardFiles>,
    samples: u64,
    arrays: Vec<LoaderArray>,
}

impl Opening<'_> {
    /// Opens an input whose channels begin at `first`, and returns how many they are.
    fn add_input(&mut self, input: &InputArray, first: usize) -> Result<usize, LoaderError> {
        let entry = self.dataset.manifest().arrays.get(&input.name);
        let scaling = entry.map_or(Scaling::FullScale, Scaling::of);
        let data_type = entry.map_or(DataType::UInt8, |entry| entry.data_type);
        // The number of channels is known when the array is open.
        let mut channels = InputChannels {
            first,
            count: 0,
            scaling: input.scaling.unwrap_or(scaling),
            data_type,
        };
        self.add(&input.name, ArrayKind::Input(channels))?;
        let Some(open) = self.arrays.iter_mut().find(|a| a.name == input.name) else {
            return Ok(0);
        };
        [channels.count, ..] = open.reader.shape();
        open.kinds.pop();
        open.kinds.push(ArrayKind::Input(channels));
        Ok(channels.count)
    }

    /// Opens the array `name`, unless it is open already, and uses it as `kind`.
    fn add(&mut self, name: &str, kind: ArrayKind) -> Result<(), LoaderError> {
        if let Some(open) = self.arrays.iter_mut().find(|s| s.name == name) {
            open.kinds.push(kind);
            return Ok(());
        }
        let arrays = &self.dataset.manifest().arrays;
        let Some(entry) = arrays.get(name) else {
            return Err(LoaderError::NoArray {
                array: name.to_owned(),
                role: kind.name(),
                found: quoted(arrays.keys()),
            });
        };
        let reader = self.split.reader(name, &self.files)?;
        let found = (reader.samples(), reader.data_type());
        if found != (self.samples, entry.data_type) {
            let describe = |(samples, data_type)| format!("{samples} samples of {data_type}");
            return Err(LoaderError::Array {
                array: name.to_owned(),
                role: kind.name(),
                found: describe(found),
                expected: format!(
                    "{}, according to the manifest",
                    describe((self.samples, entry.data_type))
                ),
                advice: "its metadata is damaged: run `pointshard check`",
            });
        }
        let statistics = entry.statistics.get(self.split_name);
        let largest = statistics.and_then(|s| s.get("max")?.as_f64());
        self.arrays.push(LoaderArray {
            name: name.to_owned(),
            is_binary: entry.data_type == DataType::UInt8 && largest.is_some_and(|m| m <= 1.0),
            reader,
            kinds: vec![kind],
        });
        Ok(())
    }
}

/// Checks each array against what it is used as, and against the first one.
fn check(arrays: &[LoaderArray]) -> Result<(), LoaderError> {
    for array in arrays {
        for kind in &array.kinds {
            check_kind(array, *kind, &arrays[0])?;
        }
    }
    Ok(())
}

fn check_kind(
    array: &LoaderArray,
    kind: ArrayKind,
    first: &LoaderArray,
) -> Result<(), LoaderError> {
    let error = |found: String, expected: String, advice| {
        Err(LoaderError::Array {
            array: array.name.clone(),
            role: kind.name(),
            found,
            expected,
            advice,
        })
    };
    let data_type = array.reader.data_type();
    let (supported, expected) = match kind {
        ArrayKind::Input(input) if input.scaling != Scaling::FullScale => (true, "any type"),
        ArrayKind::Input(_) => (
            convert::is_full_scale(data_type),
            "uint8, uint16 or float32, or the scale `nonzero` or `range`",
        ),
        ArrayKind::Target(_) => (true, "any type"),
        ArrayKind::Mask(_) => (convert::is_mask(data_type), "integers or float32"),
        ArrayKind::Ids => (!data_type.is_float(), "integers"),
    };
    if !supported {
        let advice = "set the array's `dtype` in the config and preprocess again";
        return error(data_type.to_string(), expected.into(), advice);
    }
    let [channels, window @ ..] = array.reader.shape();
    let [_, expected @ ..] = first.reader.shape();
    if !matches!(kind, ArrayKind::Input(_)) && channels != 1 {
        let advice = "choose an array with one channel";
        return error(format!("{channels} channels"), "1".into(), advice);
    }
    if window != expected {
        let describe = |[z, y, x]: [usize; 3]| format!("windows of {x} x {y} x {z} voxels (x y z)");
        let expected = format!("{}, as in the input `{}`", describe(expected), first.name);
        let advice = "give both the same window in the config and preprocess again";
        return error(describe(window), expected, advice);
    }
    Ok(())
}

/// Type of the masks in a batch: the smallest one that holds the values of all; `None` if there are no masks.
fn mask_type(arrays: &[LoaderArray]) -> Option<ValueType> {
    let is_mask = |a: &&LoaderArray| a.kinds.iter().any(|k| matches!(k, ArrayKind::Mask(_)));
    let stored = arrays.iter().filter(is_mask).map(|a| a.reader.data_type());
    stored.fold(None, |largest, data_type| match (largest, data_type) {
        (Some(ValueType::F32), _) | (_, DataType::Float32) => Some(ValueType::F32),
        _ => Some(ValueType::U8),
    })
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|n| format!("`{n}`")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
