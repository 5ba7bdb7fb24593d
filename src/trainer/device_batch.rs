//! Batches as tensors on the device, prepared by a separate thread while the device computes.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use pointshard::trainer_api::{Batch, Loader, Values};
use tch::{Device, Kind, TchError, Tensor};

use super::error::TrainError;

/// A batch on the device.
#[derive(Debug)]
pub(super) struct DeviceBatch {
    /// Numbers of the samples in the split.
    pub samples: Vec<u64>,
    /// `[batch, image channel, z, y, x]`, float32.
    pub image: Tensor,
    /// `[batch, target, z, y, x]`, 0 or 1, uint8.
    pub targets: Tensor,
    /// Shape of the targets, uint8 or float32.
    pub masks: Option<Tensor>,
    /// The batch on the CPU.
    pub batch: Batch,
}

impl DeviceBatch {
    fn new(batch: Batch, device: Device) -> Result<Self, TchError> {
        let image_shape = batch.shape.map(|n| n as i64);
        let mut shape = image_shape;
        let voxels: i64 = shape[2..].iter().product();
        shape[1] = batch.targets.len() as i64 / (shape[0] * voxels).max(1);
        let on = |tensor: Tensor, shape: &[i64]| tensor.f_reshape(shape)?.f_to_device(device);
        // Convert bytes to float32 on the device: that copies a quarter of the data.
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
}

fn tensor(values: &Values) -> Result<Tensor, TchError> {
    match values {
        Values::U8(values) => Tensor::f_from_slice(values),
        Values::F32(values) => Tensor::f_from_slice(values),
    }
}

/// The batches of a loader on the device, in order.
pub(super) struct DeviceBatches<'scope> {
    receiver: Receiver<Result<DeviceBatch, TrainError>>,
    _thread: ScopedJoinHandle<'scope, ()>,
    waited: Duration,
}

impl<'scope> DeviceBatches<'scope> {
    /// Starts at epoch and batch `from`; ends after `epochs` epochs, or never if `None`.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        loader: &'scope Loader,
        device: Device,
        from: (u64, usize),
        epochs: Option<u64>,
    ) -> Self {
        let (sender, receiver) = sync_channel(1);
        let thread = scope.spawn(move || {
            let (first_epoch, mut first) = from;
            for epoch in (first_epoch..).take(epochs.map_or(usize::MAX, |n| n as usize)) {
                for batch in loader.epoch(epoch, std::mem::take(&mut first)) {
                    let batch = batch.map_err(TrainError::from);
                    let batch = batch.and_then(|b| Ok(DeviceBatch::new(b, device)?));
                    let failed = batch.is_err();
                    // Sending fails if the receiver was dropped because the training ended.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            }
        });
        Self {
            receiver,
            _thread: thread,
            waited: Duration::ZERO,
        }
    }

    /// The next batch; `None` after the last one.
    pub(super) fn next(&mut self) -> Result<Option<DeviceBatch>, TrainError> {
        let start = Instant::now();
        let batch = self.receiver.recv().ok().transpose();
        self.waited += start.elapsed();
        batch
    }

    /// Total time that [`DeviceBatches::next`] has waited.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}
