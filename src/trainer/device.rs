//! Compute devices by name: `cpu`, `cuda`, `cuda:N`.

use tch::{Cuda, Device};

/// The device `name`, whether or not this machine has it.
pub(super) fn parse(name: &str) -> Result<Device, String> {
    let number = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        _ => name.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
    };
    number
        .map(Device::Cuda)
        .ok_or_else(|| format!("found {name:?}, expected `cpu`, `cuda` or `cuda:N`"))
}

/// The device `name`, if this machine and this build of libtorch have it.
pub(super) fn available(name: &str) -> Result<Device, String> {
    match parse(name)? {
        Device::Cuda(n) if !Cuda::is_available() || n as i64 >= Cuda::device_count() => {
            let gpus = if Cuda::is_available() {
                format!("this machine has {} GPU(s)", Cuda::device_count())
            } else {
                "libtorch finds no GPU, or was built without CUDA".to_owned()
            };
            Err(format!(
                "found {name:?}, but {gpus}; expected an available device, such as `cpu`"
            ))
        }
        device => Ok(device),
    }
}

/// Sets the number of libtorch threads.
pub fn set_threads(threads: i32) {
    tch::set_num_threads(threads);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_of_pytorch() {
        assert_eq!(parse("cpu"), Ok(Device::Cpu));
        assert_eq!(parse("cuda"), Ok(Device::Cuda(0)));
        assert_eq!(parse("cuda:3"), Ok(Device::Cuda(3)));
        for bad in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            assert!(parse(bad).unwrap_err().contains("expected `cpu`"), "{bad}");
        }
    }

    #[test]
    fn an_error_about_a_missing_gpu_names_it() {
        let error = available("cuda:1000").unwrap_err();
        assert!(error.contains("cuda:1000"), "{error}");
    }
}
