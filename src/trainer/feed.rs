//! Batches as tensors on the device, made by a thread of their own while the device computes.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use tch::{Device, Kind, TchError, Tensor};

use super::error::TrainError;
use crate::loader::{Batch, Loader, Values};

/// A batch on the device.
#[derive(Debug)]
pub(super) struct Fed {
    /// Numbers of the samples in their split.
    pub samples: Vec<u64>,
    /// `[batch, image channel, z, y, x]`, float32.
    pub image: Tensor,
    /// `[batch, target, z, y, x]`, 0 or 1, uint8.
    pub targets: Tensor,
    /// As the targets, uint8 or float32.
    pub masks: Option<Tensor>,
    /// The batch before it went to the device.
    pub batch: Batch,
}

impl Fed {
    fn new(batch: Batch, device: Device) -> Result<Self, TchError> {
        let image_shape = batch.shape.map(|n| n as i64);
        let mut shape = image_shape;
        let voxels: i64 = shape[2..].iter().product();
        shape[1] = batch.targets.len() as i64 / (shape[0] * voxels).max(1);
        let on = |tensor: Tensor, shape: &[i64]| tensor.f_reshape(shape)?.f_to_device(device);
        // Bytes become numbers on the device: a quarter goes there.
        let image = on(tensor(&batch.image)?, &image_shape)?;
        let masks = batch.masks.as_ref().map(|m| on(tensor(m)?, &shape));
        Ok(Self {
            samples: batch.samples.clone(),
            image: match batch.image {
                Values::U8(_) => image.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?,
                Values::F32(_) => image,
            },
            targets: on(Tensor::f_from_slice(&batch.targets)?, &shape)?,
            masks: masks.transpose()?,
            batch,
        })
    }

    /// Fraction of the image's voxels that are not 0.
    pub(super) fn nonzero_fraction(&self) -> f64 {
        let image = &self.batch.image;
        image.nonzero() as f64 / image.len().max(1) as f64
    }
}

fn tensor(values: &Values) -> Result<Tensor, TchError> {
    match values {
        Values::U8(values) => Tensor::f_from_slice(values),
        Values::F32(values) => Tensor::f_from_slice(values),
    }
}

/// The batches from the `first`th of the loader's epoch `epoch` on; of all epochs to come where `epochs` is None.
pub(super) struct Feed<'scope> {
    batches: Receiver<Result<Fed, TrainError>>,
    _thread: ScopedJoinHandle<'scope, ()>,
    waited: Duration,
}

impl<'scope> Feed<'scope> {
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        loader: &'scope Loader,
        device: Device,
        from: (u64, usize),
        epochs: Option<u64>,
    ) -> Self {
        let (sender, batches) = sync_channel(1);
        let thread = scope.spawn(move || {
            let (first_epoch, mut first) = from;
            for epoch in (first_epoch..).take(epochs.map_or(usize::MAX, |n| n as usize)) {
                for batch in loader.epoch(epoch, std::mem::take(&mut first)) {
                    let fed = batch.map_err(TrainError::from);
                    let fed = fed.and_then(|b| Ok(Fed::new(b, device)?));
                    let failed = fed.is_err();
                    // Nobody listens any more: the training ended.
                    if sender.send(fed).is_err() || failed {
                        return;
                    }
                }
            }
        });
        Self {
            batches,
            _thread: thread,
            waited: Duration::ZERO,
        }
    }

    /// The next batch; None after the last.
    pub(super) fn next(&mut self) -> Result<Option<Fed>, TrainError> {
        let began = Instant::now();
        let fed = self.batches.recv().ok().transpose();
        self.waited += began.elapsed();
        fed
    }

    /// How long [`Feed::next`] had to wait so far.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}
