//! A batch, and how it is dealt out to threads that fill it, each a sample's place.

use super::sources::Use;

/// Samples for one step of training. All arrays are in C order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Numbers of the samples in the split.
    pub samples: Vec<u64>,
    /// Samples, image channels, z, y, x.
    pub shape: [usize; 5],
    /// Of `shape`. Bytes where uint8 is stored and no augmentation changes values; otherwise float32: uint8 / 255,
    /// uint16 / 65535, float32 as it is.
    pub image: Values,
    /// `[samples, targets, z, y, x]`: 1 where the stored value is not 0.
    pub targets: Vec<u8>,
    /// `[samples, targets, z, y, x]`: how much a voxel of a target counts; `None` where no target has a mask. Of integers
    /// 1 where the stored value is not 0, of float32 the value; 1 for targets without a mask. Float32 where any of the
    /// masks is, otherwise bytes.
    pub masks: Option<Values>,
}

/// Values of a batch, in the smallest type that holds them: the same for all batches of a loader.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// In images 0 to 255 stand for 0 to 1; masks are 0 or 1.
    U8(Vec<u8>),
    /// The values themselves.
    F32(Vec<f32>),
}

/// Types of [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    F32,
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of values that are not 0.
    pub fn nonzero(&self) -> usize {
        match self {
            Self::U8(values) => values.len() - bytecount::count(values, 0),
            Self::F32(values) => values.iter().filter(|v| **v != 0.0).count(),
        }
    }

    /// Makes room for `n` values of that kind, over what was there.
    fn prepare(&mut self, kind: Kind, n: usize) {
        match (kind, self) {
            (Kind::U8, Self::U8(values)) => resize(values, n, 0),
            (Kind::F32, Self::F32(values)) => resize(values, n, 0.0),
            (Kind::U8, other) => *other = Self::U8(vec![0; n]),
            (Kind::F32, other) => *other = Self::F32(vec![0.0; n]),
        }
    }

    fn room(&mut self) -> Room<'_> {
        match self {
            Self::U8(values) => Room::U8(values),
            Self::F32(values) => Room::F32(values),
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::U8(Vec::new())
    }
}

/// Where values are put.
#[derive(Debug, PartialEq)]
pub(super) enum Room<'b> {
    U8(&'b mut [u8]),
    F32(&'b mut [f32]),
}

impl<'b> Room<'b> {
    fn len(&self) -> usize {
        match self {
            Self::U8(room) => room.len(),
            Self::F32(room) => room.len(),
        }
    }

    /// Takes the first `n` values off.
    fn split_off(&mut self, n: usize) -> Self {
        match self {
            Self::U8(room) => Self::U8(room.split_off_mut(..n).unwrap_or_default()),
            Self::F32(room) => Self::F32(room.split_off_mut(..n).unwrap_or_default()),
        }
    }

    /// The `i`th of parts with `n` values.
    pub fn part(&mut self, i: usize, n: usize) -> Room<'_> {
        match self {
            Self::U8(room) => Room::U8(&mut room[i * n..][..n]),
            Self::F32(room) => Room::F32(&mut room[i * n..][..n]),
        }
    }

    /// The room, where it is one for bytes.
    fn bytes(self) -> Option<&'b mut [u8]> {
        match self {
            Self::U8(room) => Some(room),
            Self::F32(_) => None,
        }
    }

    /// Makes all values 1.
    pub fn fill_with_ones(self) {
        match self {
            Self::U8(room) => room.fill(1),
            Self::F32(room) => room.fill(1.0),
        }
    }
}

/// A sample's place in a batch.
pub(super) struct Place<'b> {
    /// Voxels of a channel, of a target and of a mask.
    pub voxels: usize,
    /// `[channels, z, y, x]`.
    pub image: Room<'b>,
    /// `[targets, z, y, x]`.
    pub targets: &'b mut [u8],
    /// `[targets, z, y, x]`; empty where no target has a mask.
    pub masks: Room<'b>,
}

impl Place<'_> {
    /// The `i`th target.
    pub fn target(&mut self, i: usize) -> &mut [u8] {
        &mut self.targets[i * self.voxels..][..self.voxels]
    }

    /// The mask of the `i`th target.
    pub fn mask(&mut self, i: usize) -> Room<'_> {
        self.masks.part(i, self.voxels)
    }

    /// Where an array that is used so goes, where that is room for bytes.
    pub fn bytes(&mut self, used: Use) -> Option<&mut [u8]> {
        match used {
            Use::Image => match &mut self.image {
                Room::U8(room) => Some(room),
                Room::F32(_) => None,
            },
            Use::Target(i) => Some(self.target(i)),
            Use::Mask(i) => self.mask(i).bytes(),
        }
    }
}

impl Batch {
    /// Makes room for `samples`, over what was there: an image of a kind, that many targets, and masks of a kind, if any.
    pub(super) fn prepare(
        &mut self,
        samples: &[u64],
        shape: [usize; 5],
        image: Kind,
        targets: usize,
        masks: Option<Kind>,
    ) {
        let [n, channels, z, y, x] = shape;
        let voxels = n * z * y * x;
        self.samples.clear();
        self.samples.extend_from_slice(samples);
        self.shape = shape;
        self.image.prepare(image, channels * voxels);
        resize(&mut self.targets, targets * voxels, 0);
        match masks {
            Some(kind) => self
                .masks
                .get_or_insert_default()
                .prepare(kind, targets * voxels),
            None => self.masks = None,
        }
    }

    /// The samples and their places.
    pub(super) fn places(&mut self) -> impl Iterator<Item = (u64, Place<'_>)> {
        let [n, _, z, y, x] = self.shape;
        let mut image = self.image.room();
        let mut targets = self.targets.as_mut_slice();
        let mut masks = match &mut self.masks {
            Some(masks) => masks.room(),
            None => Room::U8(&mut []),
        };
        let (of_image, of_targets, of_masks) =
            (image.len() / n, targets.len() / n, masks.len() / n);
        self.samples.iter().map(move |sample| {
            let place = Place {
                voxels: z * y * x,
                image: image.split_off(of_image),
                targets: targets.split_off_mut(..of_targets).unwrap_or_default(),
                masks: masks.split_off(of_masks),
            };
            (*sample, place)
        })
    }
}

/// Makes `buffer` that long. All of it will be written over.
fn resize<T: Copy>(buffer: &mut Vec<T>, n: usize, zero: T) {
    match buffer.capacity() < n {
        // Memory new from the system is zero: nothing is cleared here.
        true => *buffer = vec![zero; n],
        false => buffer.resize(n, zero),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_zero_are_counted() {
        for values in [
            Values::U8(vec![0, 1, 255]),
            Values::F32(vec![-0.0, 0.5, f32::NAN]),
        ] {
            assert_eq!((values.len(), values.nonzero()), (3, 2));
        }
        assert!(Values::default().is_empty() && Values::default().nonzero() == 0);
    }

    #[test]
    fn room_of_another_kind_or_size_is_made_anew() {
        let mut batch = Batch::default();
        for (n, image, masks) in [
            (3, Kind::F32, None),
            (2, Kind::U8, Some(Kind::F32)),
            (4, Kind::F32, Some(Kind::U8)),
            (1, Kind::F32, Some(Kind::U8)),
        ] {
            let samples: Vec<u64> = (0..n as u64).collect();
            batch.prepare(&samples, [n, 2, 1, 1, 5], image, 3, masks);
            assert_eq!(batch.image.len(), n * 10);
            assert_eq!(batch.targets.len(), n * 15);
            assert_eq!(batch.masks.as_ref().map(Values::len), masks.map(|_| n * 15));
            assert_eq!(matches!(batch.image, Values::U8(_)), image == Kind::U8);
            let places: Vec<_> = batch.places().collect();
            assert_eq!(places.len(), n);
            for (i, (sample, mut place)) in places.into_iter().enumerate() {
                assert_eq!((sample, place.voxels), (i as u64, 5));
                assert_eq!((place.image.len(), place.targets.len()), (10, 15));
                assert_eq!(place.target(2).len(), 5);
                assert_eq!(place.bytes(Use::Image).is_some(), image == Kind::U8);
                assert_eq!(place.masks.len(), if masks.is_some() { 15 } else { 0 });
            }
        }
    }
}
