//! A batch, and how it is dealt out to threads that fill it, each a sample's place.

/// Samples for one step of training. All arrays are in C order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Numbers of the samples in the split.
    pub samples: Vec<u64>,
    /// Samples, image channels, z, y, x.
    pub shape: [usize; 5],
    /// Of `shape`: uint8 / 255, uint16 / 65535, float32 as it is.
    pub image: Vec<f32>,
    /// `[samples, targets, z, y, x]`: 1 where the stored value is not 0.
    pub targets: Vec<u8>,
    /// `[samples, targets, z, y, x]`: how much a voxel of a target counts; `None` where no target has a mask. Of integers
    /// 1 where the stored value is not 0, of float32 the value; 1 for targets without a mask.
    pub masks: Option<Vec<f32>>,
}

/// A sample's place in a batch.
pub(super) struct Place<'b> {
    /// `[channels, z, y, x]`.
    pub image: &'b mut [f32],
    /// `[targets, z, y, x]`.
    pub targets: &'b mut [u8],
    /// `[targets, z, y, x]`; empty where no target has a mask.
    pub masks: &'b mut [f32],
}

impl Batch {
    /// Makes room for `samples`, over what was there.
    pub(super) fn prepare(
        &mut self,
        samples: &[u64],
        shape: [usize; 5],
        targets: usize,
        masks: bool,
    ) {
        let [n, channels, z, y, x] = shape;
        let voxels = n * z * y * x;
        self.samples.clear();
        self.samples.extend_from_slice(samples);
        self.shape = shape;
        resize(&mut self.image, channels * voxels, 0.0);
        resize(&mut self.targets, targets * voxels, 0);
        match masks {
            true => resize(self.masks.get_or_insert_default(), targets * voxels, 0.0),
            false => self.masks = None,
        }
    }

    /// The samples and their places.
    pub(super) fn places(&mut self) -> impl Iterator<Item = (u64, Place<'_>)> {
        let n = self.samples.len();
        let mut image = self.image.as_mut_slice();
        let mut targets = self.targets.as_mut_slice();
        let mut masks = self.masks.as_deref_mut().unwrap_or_default();
        let (of_image, of_targets, of_masks) =
            (image.len() / n, targets.len() / n, masks.len() / n);
        self.samples.iter().map(move |sample| {
            let place = Place {
                image: image.split_off_mut(..of_image).unwrap_or_default(),
                targets: targets.split_off_mut(..of_targets).unwrap_or_default(),
                masks: masks.split_off_mut(..of_masks).unwrap_or_default(),
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
