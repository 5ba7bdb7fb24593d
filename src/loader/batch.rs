//! A batch, and the slots of its samples, which threads fill independently of each other.

use super::array_kind::ArrayKind;
use super::input::InputChannels;
use super::values::{Buffer, ValueType, Values, resize};

/// Samples for one training step. All arrays are in C order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Numbers of the samples in the split.
    pub samples: Vec<u64>,
    /// Samples, image channels, z, y, x.
    pub shape: [usize; 5],
    /// Of `shape`: the channels of all inputs, scaled. Bytes if all inputs fit in them and no augmentation changes values;
    /// otherwise float32.
    pub image: Values,
    /// `[samples, targets, z, y, x]`: 1 where the stored value is not 0.
    pub targets: Vec<u8>,
    /// `[samples, targets, z, y, x]`: the weight of each voxel of a target; `None` if no target has a mask and no
    /// augmentation moves voxels into the window from outside of the stored sample, where masks are 0. Integer masks are 1
    /// where the stored value is not 0, float32 masks are unchanged, targets without a mask have 1. Float32 if any mask is
    /// float32, otherwise bytes.
    pub masks: Option<Values>,
    /// `[samples, z, y, x]`: the ids of the segmentation; empty if none is read.
    pub ids: Vec<u64>,
}

/// The part of a batch that belongs to one sample.
pub(super) struct SampleSlot<'b> {
    /// Voxels of an image channel, a target and a mask.
    pub voxels: usize,
    /// `[channels, z, y, x]`.
    pub image: Buffer<'b>,
    /// `[targets, z, y, x]`.
    pub targets: &'b mut [u8],
    /// `[targets, z, y, x]`; empty if the batch has no masks.
    pub masks: Buffer<'b>,
    /// `[z, y, x]`; empty if no segmentation is read.
    pub ids: &'b mut [u64],
}

impl SampleSlot<'_> {
    /// The channels of an input.
    pub fn input(&mut self, input: &InputChannels) -> Buffer<'_> {
        let first = input.first * self.voxels;
        self.image.range(first..first + input.count * self.voxels)
    }

    /// Target number `i`.
    pub fn target(&mut self, i: usize) -> &mut [u8] {
        &mut self.targets[i * self.voxels..][..self.voxels]
    }

    /// The mask of target number `i`.
    pub fn mask(&mut self, i: usize) -> Buffer<'_> {
        self.masks.part(i, self.voxels)
    }

    /// The slice for an array of this kind, if it is one of bytes.
    pub fn bytes(&mut self, kind: ArrayKind) -> Option<&mut [u8]> {
        match kind {
            ArrayKind::Input(input) => self.input(&input).bytes(),
            ArrayKind::Target(i) => Some(self.target(i)),
            ArrayKind::Mask(i) => self.mask(i).bytes(),
            ArrayKind::Ids => None,
        }
    }
}

impl Batch {
    /// Changes samples, shapes and types. The old values may remain: the caller overwrites all of them.
    pub(super) fn prepare(
        &mut self,
        samples: &[u64],
        shape: [usize; 5],
        image: ValueType,
        targets: usize,
        masks: Option<ValueType>,
        has_ids: bool,
    ) {
        let [n, channels, z, y, x] = shape;
        let voxels = n * z * y * x;
        self.samples.clear();
        self.samples.extend_from_slice(samples);
        self.shape = shape;
        self.image.prepare(image, channels * voxels);
        resize(&mut self.targets, targets * voxels, 0);
        match masks {
            Some(value_type) => self
                .masks
                .get_or_insert_default()
                .prepare(value_type, targets * voxels),
            None => self.masks = None,
        }
        resize(&mut self.ids, if has_ids { voxels } else { 0 }, 0);
    }

    /// The samples and their slots.
    pub(super) fn slots(&mut self) -> impl Iterator<Item = (u64, SampleSlot<'_>)> {
        let [n, _, z, y, x] = self.shape;
        let mut image = self.image.buffer();
        let mut targets = self.targets.as_mut_slice();
        let mut masks = match &mut self.masks {
            Some(masks) => masks.buffer(),
            None => Buffer::U8(&mut []),
        };
        let mut ids = self.ids.as_mut_slice();
        let (image_values, target_values, mask_values) =
            (image.len() / n, targets.len() / n, masks.len() / n);
        let id_values = ids.len() / n;
        self.samples.iter().map(move |sample| {
            let slot = SampleSlot {
                voxels: z * y * x,
                image: image.split_off(image_values),
                targets: targets.split_off_mut(..target_values).unwrap_or_default(),
                masks: masks.split_off(mask_values),
                ids: ids.split_off_mut(..id_values).unwrap_or_default(),
            };
            (*sample, slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type::DataType;
    use crate::loader::Scaling;

    #[test]
    fn a_recycled_batch_takes_any_type_and_size() {
        let mut batch = Batch::default();
        for (n, image, masks) in [
            (3, ValueType::F32, None),
            (2, ValueType::U8, Some(ValueType::F32)),
            (4, ValueType::F32, Some(ValueType::U8)),
            (1, ValueType::F32, Some(ValueType::U8)),
        ] {
            let samples: Vec<u64> = (0..n as u64).collect();
            batch.prepare(&samples, [n, 2, 1, 1, 5], image, 3, masks, n == 3);
            assert_eq!(batch.image.len(), n * 10);
            assert_eq!(batch.targets.len(), n * 15);
            assert_eq!(batch.masks.as_ref().map(Values::len), masks.map(|_| n * 15));
            assert_eq!(matches!(batch.image, Values::U8(_)), image == ValueType::U8);
            let slots: Vec<_> = batch.slots().collect();
            assert_eq!(slots.len(), n);
            for (i, (sample, mut slot)) in slots.into_iter().enumerate() {
                assert_eq!((sample, slot.voxels), (i as u64, 5));
                assert_eq!((slot.image.len(), slot.targets.len()), (10, 15));
                assert_eq!(slot.target(2).len(), 5);
                let second = InputChannels {
                    first: 1,
                    count: 1,
                    scaling: Scaling::FullScale,
                    data_type: DataType::UInt8,
                };
                assert_eq!(slot.input(&second).len(), 5);
                assert_eq!(
                    slot.bytes(ArrayKind::Input(second)).is_some(),
                    image == ValueType::U8
                );
                assert_eq!(slot.ids.len(), if n == 3 { 5 } else { 0 });
                assert_eq!(slot.masks.len(), if masks.is_some() { 15 } else { 0 });
            }
        }
    }
}
