//! One sample, from its inner chunks to its place in a batch.

use super::batch::{Place, Room};
use super::draw::Draw;
use super::sources::Use;
use super::{Inner, LoaderError, convert, intensity, lock};
use crate::data_type::DataType;
use crate::dataset::{DatasetError, SampleDecoder};

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
        let spare = lock(&self.decoders).pop();
        let mut decoder = match spare {
            Some(decoder) => decoder,
            None => SampleDecoder::new().map_err(failed)?,
        };
        let loaded = self.load_with(&mut decoder, epoch, sample, place);
        lock(&self.decoders).push(decoder);
        loaded.map_err(failed)
    }

    fn load_with(
        &self,
        decoder: &mut SampleDecoder,
        epoch: u64,
        sample: u64,
        mut place: Place<'_>,
    ) -> Result<(), DatasetError> {
        let mut draw = Draw::new(
            &self.options,
            epoch,
            sample,
            self.sources.shape(),
            self.window,
        );
        let view = draw.view;
        let stays = view.is_whole();
        for source in &self.sources.arrays {
            let data_type = source.reader.data_type();
            if let [used] = *source.uses
                && stays
                && data_type == DataType::UInt8
                && let Some(room) = place.bytes(used)
            {
                // Bytes that stay where they are need no copy.
                source.reader.read_into(sample, decoder, room)?;
                if used != Use::Image && !source.is_binary {
                    convert::binary_in_place(room);
                }
                continue;
            }
            let values = source.reader.read(sample, decoder)?;
            for used in &source.uses {
                match *used {
                    Use::Image => convert::image(values, data_type, &view, &mut place.image),
                    Use::Target(i) => convert::binary(values, data_type, &view, place.target(i)),
                    Use::Mask(i) => convert::mask(values, data_type, &view, place.mask(i)),
                }
            }
        }
        if let Room::F32(image) = &mut place.image {
            let noise = self.options.augmentation.noise;
            intensity::change(image, self.sources.image_of_integers(), noise, &mut draw);
        }
        if let Some(section) = draw.missing_section {
            let sections = [self.sources.image_channels(), self.window[0]];
            intensity::blank(&mut place.image, sections, section);
        }
        if self.sources.masks.is_some() {
            for i in &self.sources.unmasked {
                place.mask(*i).fill_with_ones();
            }
        }
        Ok(())
    }
}
