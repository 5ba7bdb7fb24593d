//! One sample, from its inner chunks to its place in a batch.

use super::batch::Place;
use super::draw::Draw;
use super::sources::Use;
use super::{Inner, LoaderError, convert, intensity, lock};
use crate::dataset::{DatasetError, SampleDecoder};

/// A thread's buffers, reused from sample to sample.
pub(super) struct Scratch {
    decoder: SampleDecoder,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch")
    }
}

impl Inner {
    /// Puts the sample, as it is in the epoch, in its place.
    pub(super) fn load(
        &self,
        epoch: u64,
        sample: u64,
        place: Place<'_>,
    ) -> Result<(), LoaderError> {
        let failed = |source| LoaderError::Sample {
            split: self.sources.split.clone(),
            sample,
            source,
        };
        let spare = lock(&self.scratch).pop();
        let mut scratch = match spare {
            Some(scratch) => scratch,
            None => Scratch {
                decoder: SampleDecoder::new().map_err(failed)?,
            },
        };
        let loaded = self.load_with(&mut scratch, epoch, sample, place);
        lock(&self.scratch).push(scratch);
        loaded.map_err(failed)
    }

    fn load_with(
        &self,
        scratch: &mut Scratch,
        epoch: u64,
        sample: u64,
        place: Place<'_>,
    ) -> Result<(), DatasetError> {
        let [z, y, x] = self.window;
        let voxels = z * y * x;
        let of = |target: usize| target * voxels..(target + 1) * voxels;
        let mut draw = Draw::new(
            &self.options,
            epoch,
            sample,
            self.sources.shape(),
            self.window,
        );
        let view = draw.view;
        for source in &self.sources.arrays {
            let data_type = source.reader.data_type();
            let values = source.reader.read(sample, &mut scratch.decoder)?;
            for used in &source.uses {
                match *used {
                    Use::Image => {
                        convert::image(values, data_type, &view, place.image);
                        intensity::change(
                            place.image,
                            [self.sources.image_channels(), z],
                            !data_type.is_float(),
                            self.options.augmentation.noise,
                            &mut draw,
                        );
                    }
                    Use::Target(i) => {
                        convert::target(values, data_type, &view, &mut place.targets[of(i)]);
                    }
                    Use::Mask(i) => {
                        convert::mask(values, data_type, &view, &mut place.masks[of(i)]);
                    }
                }
            }
        }
        if self.sources.masked {
            for i in &self.sources.unmasked {
                place.masks[of(*i)].fill(1.0);
            }
        }
        Ok(())
    }
}
