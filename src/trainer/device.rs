//! Where to compute: `cpu`, `cuda`, `cuda:N`.

use tch::{Cuda, Device};

/// The device that `name` says. Whether it is there is another question: see [`found`].
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

/// The device that `name` says, if this machine and this build have it.
pub(super) fn found(name: &str) -> Result<Device, String> {
    match parse(name)? {
        Device::Cuda(n) if !Cuda::is_available() || n as i64 >= Cuda::device_count() => {
            let there = match Cuda::is_available() {
                true => format!("this machine has {} GPU(s)", Cuda::device_count()),
                false => "libtorch finds no GPU here, or was built without CUDA".to_owned(),
            };
            Err(format!(
                "found {name:?}, but {there}; expected a device that is there, such as `cpu`"
            ))
        }
        device => Ok(device),
    }
}

/// Has libtorch compute with so many threads.
pub fn set_threads(threads: i32) {
    tch::set_num_threads(threads);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_pytorch_gives_them() {
        assert_eq!(parse("cpu"), Ok(Device::Cpu));
        assert_eq!(parse("cuda"), Ok(Device::Cuda(0)));
        assert_eq!(parse("cuda:3"), Ok(Device::Cuda(3)));
        for bad in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            assert!(parse(bad).unwrap_err().contains("expected `cpu`"), "{bad}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_named() {
        let error = found("cuda:1000").unwrap_err();
        assert!(error.contains("cuda:1000"), "{error}");
    }
}
