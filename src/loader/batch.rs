//! A batch, and the slots of its samples, which threads fill independently of each other.

use super::array_kind::ArrayKind;
use super::values::{Buffer, ValueType, Values, resize};

/// Samples for one training step. All arrays are in C order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Numbers of the samples in the split.
    pub samples: Vec<u64>,
    /// Samples, image channels, z, y, x.
    pub shape: [usize; 5],
    /// Of `shape`. Bytes if the array is uint8 and no augmentation changes values; otherwise float32: uint8 / 255,
    /// uint16 / 65535, float32 unchanged.
    pub image: Values,
    /// `[samples, targets, z, y, x]`: 1 where the stored value is not 0.
    pub targets: Vec<u8>,
    /// `[samples, targets, z, y, x]`: the weight of each voxel of a target; `None` if no target has a mask. Integer masks
    /// are 1 where the stored value is not 0, float32 masks are unchanged, targets without a mask have 1. Float32 if any
    /// mask is float32, otherwise bytes.
    pub masks: Option<Values>,
}

/// The part of a batch that belongs to one sample.
pub(super) struct SampleSlot<'b> {
    /// Voxels of an image channel, a target and a mask.
    pub voxels: usize,
    /// `[channels, z, y, x]`.
    pub image: Buffer<'b>,
    /// `[targets, z, y, x]`.
    pub targets: &'b mut [u8],
    /// `[targets, z, y, x]`; empty if no target has a mask.
    pub masks: Buffer<'b>,
}

impl SampleSlot<'_> {
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
            ArrayKind::Image => match &mut self.image {
                Buffer::U8(values) => Some(values),
                Buffer::F32(_) => None,
            },
            ArrayKind::Target(i) => Some(self.target(i)),
            ArrayKind::Mask(i) => self.mask(i).bytes(),
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
        let (image_values, target_values, mask_values) =
            (image.len() / n, targets.len() / n, masks.len() / n);
        self.samples.iter().map(move |sample| {
            let slot = SampleSlot {
                voxels: z * y * x,
                image: image.split_off(image_values),
                targets: targets.split_off_mut(..target_values).unwrap_or_default(),
                masks: masks.split_off(mask_values),
            };
            (*sample, slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            batch.prepare(&samples, [n, 2, 1, 1, 5], image, 3, masks);
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
                assert_eq!(
                    slot.bytes(ArrayKind::Image).is_some(),
                    image == ValueType::U8
                );
                assert_eq!(slot.masks.len(), if masks.is_some() { 15 } else { 0 });
            }
        }
    }
}
