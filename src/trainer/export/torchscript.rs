//! Exports the network as a TorchScript module, which PyTorch loads without further code.

use std::path::Path;

use tch::{CModule, Device, Kind, Tensor};

use super::on_cpu;
use crate::atomic_write::{PREFIX, write_atomic};
use crate::error::TrainError;
use crate::model::Model;

/// Writes `model` to `path`. The module accepts any batch size and any window size that the network accepts; it is traced
/// with `window`, `[channel, z, y, x]`.
pub(crate) fn write(path: &Path, model: &Model, window: [i64; 4]) -> Result<(), TrainError> {
    let _no_grad = tch::no_grad_guard();
    let model = on_cpu(model)?;
    let [c, z, y, x] = window;
    let image = Tensor::f_zeros([1, c, z, y, x], (Kind::Float, Device::Cpu))?;
    let mut failed = None;
    let module =
        CModule::create_by_tracing("UNet3D", "forward", &[image], &mut |images| match model
            .forward(&images[0], false)
        {
            Ok(logits) => vec![logits],
            Err(e) => {
                failed = Some(e);
                vec![images[0].shallow_clone()]
            }
        })?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(folder)
        .map_err(TrainError::io("write", path))?;
    let file = temporary.path().join("model.pt");
    module.save(&file)?;
    let bytes = std::fs::read(&file).map_err(TrainError::io("read", &file))?;
    write_atomic(path, &bytes)
}
