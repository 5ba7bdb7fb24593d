//! The arrays of a split that make a sample, opened, and found to fit together.

use std::sync::Arc;

use super::batch::Kind;
use super::{Arrays, LoaderError, convert};
use crate::data_type::DataType;
use crate::dataset::{Dataset, SampleReader, ShardFiles, SplitReader};

/// The arrays of a split. Each is read once per sample, whatever it is used for.
#[derive(Debug)]
pub(super) struct Sources {
    pub split: String,
    pub arrays: Vec<Source>,
    /// Number of targets.
    pub targets: usize,
    /// Targets without a mask, where others have one.
    pub unmasked: Vec<usize>,
    /// What masks are held in, where any target has one.
    pub masks: Option<Kind>,
    samples: u64,
    image: [usize; 4],
    image_type: DataType,
}

/// An array, and what it is in a batch.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    pub reader: SampleReader,
    /// Whether all its values are 0 or 1, as the manifest says.
    pub is_binary: bool,
    pub uses: Vec<Use>,
}

/// What an array is in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Image,
    /// The target with this number.
    Target(usize),
    /// The mask of the target with this number.
    Mask(usize),
}

impl Use {
    fn role(self) -> &'static str {
        match self {
            Self::Image => "the image",
            Self::Target(_) => "a target",
            Self::Mask(_) => "a mask",
        }
    }
}

impl Sources {
    pub fn open(dataset: &Dataset, split: &str, arrays: &Arrays) -> Result<Self, LoaderError> {
        let manifest = dataset.manifest();
        let Some(entry) = manifest.splits.get(split) else {
            return Err(LoaderError::NoSplit {
                split: split.to_owned(),
                found: names(manifest.splits.keys()),
            });
        };
        if arrays.masks.len() != arrays.targets.len() {
            return Err(LoaderError::Masks {
                targets: arrays.targets.len(),
                masks: arrays.masks.len(),
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
        opening.add(&arrays.image, Use::Image)?;
        for (i, target) in arrays.targets.iter().enumerate() {
            opening.add(target, Use::Target(i))?;
        }
        let targets = arrays.targets.len();
        let mut unmasked = Vec::new();
        for (i, mask) in arrays.masks.iter().enumerate() {
            match mask {
                Some(mask) => opening.add(mask, Use::Mask(i))?,
                None => unmasked.push(i),
            }
        }
        let arrays = opening.arrays;
        check(&arrays)?;
        Ok(Self {
            split: split.to_owned(),
            targets,
            masks: masks(&arrays),
            unmasked,
            samples: entry.samples,
            image: arrays[0].reader.shape(),
            image_type: arrays[0].reader.data_type(),
            arrays,
        })
    }

    /// Number of samples of the split.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Channels of the image.
    pub fn image_channels(&self) -> usize {
        self.image[0]
    }

    /// What the image is held in where its values are changed, or are not.
    pub fn image_kind(&self, changed: bool) -> Kind {
        match self.image_type {
            DataType::UInt8 if !changed => Kind::U8,
            _ => Kind::F32,
        }
    }

    /// Whether the image is stored as integers.
    pub fn image_of_integers(&self) -> bool {
        !self.image_type.is_float()
    }

    /// Voxels of a stored sample: z, y, x.
    pub fn shape(&self) -> [usize; 3] {
        let [_, z, y, x] = self.image;
        [z, y, x]
    }

    /// Whether batches of `batch_size` samples with `window` voxels can be held in memory at all.
    pub fn check_batch(&self, window: [usize; 3], batch_size: usize) -> Result<(), LoaderError> {
        let values = self.image_channels().max(self.targets).max(1);
        let bytes = window
            .iter()
            .try_fold(4 * values, |n, k| n.checked_mul(*k))
            .and_then(|n| n.checked_mul(batch_size));
        match bytes.filter(|n| *n <= MAX_BATCH_BYTES) {
            Some(_) => Ok(()),
            None => Err(LoaderError::option(
                "batch_size",
                batch_size,
                format!("so few that no array of a batch has more than {MAX_BATCH_BYTES} bytes"),
            )),
        }
    }
}

/// Largest array of a batch, in bytes: more is a mistake, and would end the program where it is allocated.
const MAX_BATCH_BYTES: usize = 1 << 36;

/// The arrays that are open so far.
struct Opening<'d> {
    dataset: &'d Dataset,
    split: SplitReader,
    split_name: &'d str,
    files: Arc<ShardFiles>,
    samples: u64,
    arrays: Vec<Source>,
}

impl Opening<'_> {
    /// Opens the array `name`, if it is not open yet, to be used so.
    fn add(&mut self, name: &str, used: Use) -> Result<(), LoaderError> {
        if let Some(open) = self.arrays.iter_mut().find(|s| s.name == name) {
            open.uses.push(used);
            return Ok(());
        }
        let arrays = &self.dataset.manifest().arrays;
        let Some(entry) = arrays.get(name) else {
            return Err(LoaderError::NoArray {
                array: name.to_owned(),
                role: used.role(),
                found: names(arrays.keys()),
            });
        };
        let reader = self.split.reader(name, &self.files)?;
        let found = (reader.samples(), reader.data_type());
        if found != (self.samples, entry.data_type) {
            let say = |(samples, data_type)| format!("{samples} samples of {data_type}");
            return Err(LoaderError::Array {
                array: name.to_owned(),
                role: used.role(),
                found: say(found),
                expected: format!(
                    "{}, as the manifest says",
                    say((self.samples, entry.data_type))
                ),
                advice: "its metadata is damaged: run `pointshard check`",
            });
        }
        let statistics = entry.statistics.get(self.split_name);
        let largest = statistics.and_then(|s| s.get("max")?.as_f64());
        self.arrays.push(Source {
            name: name.to_owned(),
            is_binary: entry.data_type == DataType::UInt8 && largest.is_some_and(|m| m <= 1.0),
            reader,
            uses: vec![used],
        });
        Ok(())
    }
}

/// Whether each array can be what it is used for, beside the first one, the image.
fn check(arrays: &[Source]) -> Result<(), LoaderError> {
    let image = &arrays[0];
    for source in arrays {
        for used in &source.uses {
            fits(source, *used, image)?;
        }
    }
    Ok(())
}

fn fits(source: &Source, used: Use, image: &Source) -> Result<(), LoaderError> {
    let refuse = |found: String, expected: String, advice| {
        Err(LoaderError::Array {
            array: source.name.clone(),
            role: used.role(),
            found,
            expected,
            advice,
        })
    };
    let data_type = source.reader.data_type();
    let (supported, expected) = match used {
        Use::Image => (convert::is_image(data_type), "uint8, uint16 or float32"),
        Use::Target(_) => (true, "any type"),
        Use::Mask(_) => (convert::is_mask(data_type), "integers or float32"),
    };
    if !supported {
        let advice = "set the array's `dtype` in the config and preprocess again";
        return refuse(data_type.to_string(), expected.into(), advice);
    }
    let [channels, window @ ..] = source.reader.shape();
    let [_, wanted @ ..] = image.reader.shape();
    if used != Use::Image && channels != 1 {
        let advice = "make an array of one channel of it, or choose another";
        return refuse(format!("{channels} channels"), "1".into(), advice);
    }
    if window != wanted {
        let say = |[z, y, x]: [usize; 3]| format!("windows of {x} x {y} x {z} voxels (x y z)");
        let expected = format!("{}, those of the image `{}`", say(wanted), image.name);
        let advice = "give both the same window in the config and preprocess again";
        return refuse(say(window), expected, advice);
    }
    Ok(())
}

/// What the masks among the arrays are held in: the smallest type that holds the values of all.
fn masks(arrays: &[Source]) -> Option<Kind> {
    let is_mask = |s: &&Source| s.uses.iter().any(|u| matches!(u, Use::Mask(_)));
    let kinds = arrays.iter().filter(is_mask).map(|s| s.reader.data_type());
    kinds.fold(None, |kind, data_type| match (kind, data_type) {
        (Some(Kind::F32), _) | (_, DataType::Float32) => Some(Kind::F32),
        _ => Some(Kind::U8),
    })
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|n| format!("`{n}`")).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}
