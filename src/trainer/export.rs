//! The network as a TorchScript module, which Python opens without any code of ours.

use std::path::Path;

use tch::{CModule, Device, Kind, Tensor};

use super::error::TrainError;
use super::model::Model;

/// Writes `model` to `path`. The module takes windows of any number and of any size that the network takes; `window`,
/// `[channel, z, y, x]`, is what it is traced with.
pub(super) fn write(path: &Path, model: &Model, window: [i64; 4]) -> Result<(), TrainError> {
    let _no_grad = tch::no_grad_guard();
    let weights = model.weights().iter();
    let weights = weights.map(|(n, w)| Ok((n.clone(), w.f_detach()?.f_to_device(Device::Cpu)?)));
    let weights = weights.collect::<Result<_, tch::TchError>>()?;
    let mut model = Model::with_weights(model.config(), weights, Device::Cpu)?;
    model.freeze()?;
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
    let part = tempfile::Builder::new()
        .prefix(".part-")
        .tempdir_in(folder)
        .map_err(TrainError::io("write", path))?;
    let whole = part.path().join("model.pt");
    module.save(&whole)?;
    let bytes = std::fs::read(&whole).map_err(TrainError::io("read", &whole))?;
    super::part::write_whole(path, &bytes)
}
