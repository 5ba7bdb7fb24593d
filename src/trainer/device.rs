//! Compute devices of libtorch.

use pointshard::trainer_api::ComputeDevice;
use tch::{Cuda, Device};

/// The device `name`, if this machine and this build of libtorch have it.
pub(super) fn available(name: &str) -> Result<Device, String> {
    match ComputeDevice::parse(name)? {
        ComputeDevice::Cpu => Ok(Device::Cpu),
        ComputeDevice::Cuda(n) if Cuda::is_available() && (n as i64) < Cuda::device_count() => {
            Ok(Device::Cuda(n))
        }
        ComputeDevice::Cuda(_) => {
            let gpus = if Cuda::is_available() {
                format!("this machine has {} GPU(s)", Cuda::device_count())
            } else {
                "libtorch finds no GPU, or was built without CUDA".to_owned()
            };
            Err(format!(
                "found {name:?}, but {gpus}; expected an available device, such as `cpu`"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_a_missing_gpu_names_it() {
        let error = available("cuda:1000").unwrap_err();
        assert!(error.contains("cuda:1000"), "{error}");
    }
}
