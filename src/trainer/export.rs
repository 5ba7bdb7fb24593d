//! Exports the network for programs that don't know this trainer: `torchscript` writes a module for PyTorch, `onnx` a
//! model for all programs that read ONNX. Both accept any number of windows, of any size that the strides divide.

pub(super) mod onnx;
pub(super) mod torchscript;

use tch::{Device, TchError};

use super::model::Model;

/// A copy of `model` on the CPU, in float32 and without gradients.
fn on_cpu(model: &Model) -> Result<Model, TchError> {
    let weights = model.weights().iter();
    let weights = weights.map(|(n, w)| Ok((n.clone(), w.f_detach()?.f_to_device(Device::Cpu)?)));
    let weights = weights.collect::<Result<_, TchError>>()?;
    let mut model = Model::with_weights(model.config(), weights, Device::Cpu)?;
    model.freeze()?;
    Ok(model)
}
