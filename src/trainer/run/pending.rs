//! Losses of steps that are not yet fetched from the device.

use tch::{Cuda, Device, Kind, TchError, Tensor};

use crate::error::TrainError;
use crate::loss::LossValue;

/// A step whose losses are not yet fetched from the device.
pub(super) struct PendingStep {
    pub step: u64,
    /// Total, then channels; `None` if the step was skipped.
    pub losses: Option<Tensor>,
}

/// Total, then channels.
pub(super) fn stacked(loss: &LossValue) -> Result<Tensor, TchError> {
    let all = std::iter::once(&loss.total).chain(&loss.channels);
    let all: Vec<_> = all.map(Tensor::f_detach).collect::<Result<_, _>>()?;
    Tensor::f_stack(&all, 0)
}

/// Fetches the losses of the steps from the device, all at once.
pub(super) fn fetch_losses(pending: &[PendingStep]) -> Result<Vec<Option<Vec<f64>>>, TrainError> {
    let losses: Vec<_> = pending.iter().filter_map(|p| p.losses.as_ref()).collect();
    if losses.is_empty() {
        return Ok(pending.iter().map(|_| None).collect());
    }
    if let Device::Cuda(n) = losses[0].device() {
        Cuda::synchronize(n as i64);
    }
    let all = Tensor::f_stack(&losses, 0)?.f_to_device(Device::Cpu)?;
    let all = all.f_to_kind(Kind::Double)?;
    let (_, width) = all.size2()?;
    let mut flat = vec![0.0; all.numel()];
    all.f_copy_data(&mut flat, all.numel())?;
    let mut rows = flat.chunks(width as usize);
    let mut next = || rows.next().map(<[f64]>::to_vec);
    Ok(pending
        .iter()
        .map(|p| p.losses.as_ref().and_then(|_| next()))
        .collect())
}
