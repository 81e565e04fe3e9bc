//! `--device cpu|cuda[:N]|auto`.

use candle_core::{Device, DeviceLocation};
use std::fmt;
use std::str::FromStr;

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA where a device can be opened, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => s
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{s}` is no device: use cpu, cuda, cuda:N or auto")),
        }
    }
}

impl DeviceChoice {
    /// The choice that opens this device.
    pub fn of(device: &Device) -> Self {
        match device.location() {
            DeviceLocation::Cuda { gpu_id } => Self::Cuda(gpu_id),
            _ => Self::Cpu,
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// CUDA was asked for by name and this build or this machine has none; the message names the remedy.
    pub fn open(self) -> anyhow::Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => {
                Ok(if cfg!(feature = "cuda") { Device::new_cuda(0).unwrap_or(Device::Cpu) } else { Device::Cpu })
            }
            Self::Cuda(n) if cfg!(feature = "cuda") => Device::new_cuda(n)
                .map_err(|e| anyhow::anyhow!("--device cuda:{n} cannot be opened ({e}); use --device cpu")),
            Self::Cuda(n) => Err(anyhow::anyhow!(
                "--device cuda:{n}: this build has no CUDA; build with `cargo build --release --features cuda`, or use --device cpu"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_back_as_written() {
        for text in ["cpu", "auto", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().map(|d| d.to_string()), Ok(text.to_string()));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert!("gpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_cpu_build_asked_for_cuda_names_the_build_command() {
        let e = DeviceChoice::Cuda(0).open().expect_err("no CUDA here").to_string();
        assert!(e.contains("--features cuda"), "{e}");
    }
}
