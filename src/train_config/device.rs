//! Names of compute devices: `cpu`, `cuda`, `cuda:N`.

/// A device to compute on, whether or not this machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeDevice {
    /// The CPU.
    Cpu,
    /// The GPU with this number, from 0.
    Cuda(usize),
}

impl ComputeDevice {
    /// The device `name`.
    pub fn parse(name: &str) -> Result<Self, String> {
        let number = match name {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => name.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        number
            .map(Self::Cuda)
            .ok_or_else(|| format!("found {name:?}, expected `cpu`, `cuda` or `cuda:N`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_of_pytorch() {
        let parse = ComputeDevice::parse;
        assert_eq!(parse("cpu"), Ok(ComputeDevice::Cpu));
        assert_eq!(parse("cuda"), Ok(ComputeDevice::Cuda(0)));
        assert_eq!(parse("cuda:3"), Ok(ComputeDevice::Cuda(3)));
        for bad in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            assert!(parse(bad).unwrap_err().contains("expected `cpu`"), "{bad}");
        }
    }
}
