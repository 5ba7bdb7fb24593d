//! Loads one sample: decodes its inner chunks, applies its random transform, and fills its slot of a batch.

use super::array_kind::ArrayKind;
use super::batch::SampleSlot;
use super::error::LoaderError;
use super::input::Scaling;
use super::state::{LoaderState, lock};
use super::transform::SampleTransform;
use super::values::Buffer;
use super::{convert, intensity};
use crate::data_type::DataType;
use crate::dataset::{DatasetError, SampleDecoder};

impl LoaderState {
    /// Loads the sample as it is in this epoch into `slot`.
    pub(super) fn load(
        &self,
        epoch: u64,
        sample: u64,
        slot: SampleSlot<'_>,
    ) -> Result<(), LoaderError> {
        let failed = |source| LoaderError::Sample {
            split: self.arrays.split.clone(),
            sample,
            source,
        };
        let spare = lock(&self.decoders).pop();
        let mut decoder = match spare {
            Some(decoder) => decoder,
            None => SampleDecoder::new().map_err(failed)?,
        };
        let loaded = self.load_with(&mut decoder, epoch, sample, slot);
        lock(&self.decoders).push(decoder);
        loaded.map_err(failed)
    }

    fn load_with(
        &self,
        decoder: &mut SampleDecoder,
        epoch: u64,
        sample: u64,
        mut slot: SampleSlot<'_>,
    ) -> Result<(), DatasetError> {
        let shape = self.arrays.shape();
        let mut transform = SampleTransform::new(&self.options, epoch, sample, shape, self.window);
        self.decode(decoder, sample, &transform, &mut slot)?;
        for input in self.arrays.inputs().filter(|i| i.is_changed()) {
            let mut image = slot.input(&input);
            if let Buffer::F32(image) = &mut image {
                let is_bounded = input.scaling.is_bounded(input.data_type);
                intensity::change(image, is_bounded, transform.values, &mut transform.noise);
                if let Some(sections) = &mut transform.sections {
                    intensity::change_sections(image, is_bounded, input.count, sections);
                }
            }
            for voxels in &transform.blanks {
                intensity::blank(&mut image, self.window, voxels);
            }
        }
        if self.arrays.masks.is_some() {
            for i in &self.arrays.unmasked {
                convert::no_mask(&transform.map, slot.mask(*i));
            }
        }
        Ok(())
    }

    /// Decodes the arrays into `slot`, with the voxels in their places.
    fn decode(
        &self,
        decoder: &mut SampleDecoder,
        sample: u64,
        transform: &SampleTransform,
        slot: &mut SampleSlot<'_>,
    ) -> Result<(), DatasetError> {
        let map = &transform.map;
        let is_whole = map.is_whole();
        for array in &self.arrays.arrays {
            let data_type = array.reader.data_type();
            if let [kind] = *array.kinds
                && is_whole
                && data_type == DataType::UInt8
                && let Some(bytes) = slot.bytes(kind)
            {
                // Decode unchanged bytes straight into the batch.
                array.reader.read_into(sample, decoder, bytes)?;
                match kind {
                    ArrayKind::Input(input) if input.scaling == Scaling::Nonzero => {
                        convert::nonzero_in_place(bytes);
                    }
                    ArrayKind::Target(_) | ArrayKind::Mask(_) if !array.is_binary => {
                        convert::binary_in_place(bytes);
                    }
                    _ => (),
                }
                continue;
            }
            let values = array.reader.read(sample, decoder)?;
            for kind in &array.kinds {
                match *kind {
                    ArrayKind::Input(input) => {
                        convert::input(values, &input, map, slot.input(&input));
                    }
                    ArrayKind::Target(i) => convert::binary(values, data_type, map, slot.target(i)),
                    ArrayKind::Mask(i) => convert::mask(values, data_type, map, slot.mask(i)),
                    ArrayKind::Ids => convert::ids(values, data_type, map, slot.ids),
                }
            }
        }
        Ok(())
    }
}
