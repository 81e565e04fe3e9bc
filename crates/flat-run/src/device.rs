//! The device of a run: `--device cpu|cuda[:N]|auto`.

use candle_core::{Device, DeviceLocation};
use flat_comm::launcher::Launcher;
use flat_kernels::gpu;
use std::fmt;
use std::str::FromStr;

/// A device by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The CUDA device of this process where it can be opened, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this process: the first, or of several that a launcher started on a machine one each.
    Own,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Own => f.write_str("cuda"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.to_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" | "gpu" => Ok(Self::Own),
            name => name
                .strip_prefix("cuda:")
                .or_else(|| name.strip_prefix("gpu:"))
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{s}` is no device: write {}", Self::FORMS)),
        }
    }
}

impl DeviceChoice {
    /// How a choice is written.
    pub const FORMS: &'static str = "auto|cpu|cuda[:N]";

    /// The choice that opens this device.
    pub fn of(device: &Device) -> Self {
        match device.location() {
            DeviceLocation::Cuda { gpu_id } => Self::Cuda(gpu_id),
            _ => Self::Cpu,
        }
    }

    /// The choice that opens this device again, which this one opened; on every rank of a run the same, where each has its own.
    pub(crate) fn settled(self, device: &Device) -> Self {
        match (self, Self::of(device)) {
            (Self::Auto | Self::Own, Self::Cuda(_)) if Launcher::of_environment().is_some() => Self::Own,
            (_, found) => found,
        }
    }

    /// The same device by its number, for a table of several.
    pub fn numbered(self) -> Self {
        if self == Self::Own { Self::Cuda(own()) } else { self }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// As [`Opened::new`].
    pub fn open(self) -> anyhow::Result<Device> {
        Ok(Opened::new(self)?.device)
    }
}

/// The device of a run, and why it is that one.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The device.
    pub device: Device,
    /// Device and reason, as in `cpu (asked for)`.
    pub note: String,
}

impl Opened {
    /// Opens what was chosen; `auto` is CUDA where that opens, otherwise the CPU.
    ///
    /// # Errors
    /// CUDA was asked for by name and this build or this machine has none; the message names the remedy.
    pub fn new(choice: DeviceChoice) -> anyhow::Result<Self> {
        let found = |device: Device, why: &str| {
            let note = format!("{} ({why})", DeviceChoice::of(&device));
            tracing::info!(%choice, device = note, "device opened");
            if let (DeviceLocation::Cuda { gpu_id }, true) =
                (device.location(), tracing::enabled!(tracing::Level::DEBUG))
            {
                tracing::debug!(gpu = ?gpu::Driver::gpu(gpu_id), driver = ?gpu::Driver::here().map(|d| d.cuda), "CUDA");
            }
            Ok(Self { device, note })
        };
        match choice {
            DeviceChoice::Cpu => found(Device::Cpu, "asked for"),
            DeviceChoice::Auto => match gpu::open(own()) {
                Ok(device) => found(device, &format!("{OWN}; --device cpu for the CPU")),
                Err(e) if cfg!(feature = "cuda") => {
                    found(Device::Cpu, &format!("CUDA cannot be opened: {}; {}", e.cause, e.remedy))
                }
                Err(e) => found(Device::Cpu, &format!("{}; {}", e.cause, e.remedy)),
            },
            DeviceChoice::Own => match gpu::open(own()) {
                Ok(device) => found(device, OWN),
                Err(e) => Err(anyhow::anyhow!("--device {e}, or use --device cpu")),
            },
            DeviceChoice::Cuda(n) => match gpu::open(n) {
                Ok(device) => found(device, "asked for"),
                Err(e) => Err(anyhow::anyhow!("--device {e}, or use --device cpu")),
            },
        }
    }

    /// The line that a run begins with.
    pub fn line(&self) -> String {
        format!("device: {}", self.note)
    }
}

/// What the device of [`own`] is.
const OWN: &str = "the first CUDA device, or that of this rank on its machine";

/// The number of this process's CUDA device.
fn own() -> usize {
    let gpus = || gpu::Driver::here().map_or(0, |driver| driver.gpus.len());
    Launcher::of_environment().map_or(0, |launcher| launcher.own_gpu(gpus()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_back_as_written() {
        for text in ["cpu", "auto", "cuda", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().map(|d| d.to_string()), Ok(text.to_string()));
        }
        assert_eq!("gpu".parse(), Ok(DeviceChoice::Own));
        assert_eq!("GPU:1".parse(), Ok(DeviceChoice::Cuda(1)));
        assert!("tpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_cpu_build_asked_for_cuda_names_the_build_command() {
        let e = DeviceChoice::Cuda(0).open().expect_err("no CUDA here").to_string();
        assert!(e.contains("--features cuda"), "{e}");
    }

    #[test]
    fn a_run_says_which_device_it_has_and_why() -> anyhow::Result<()> {
        assert_eq!(Opened::new(DeviceChoice::Cpu)?.line(), "device: cpu (asked for)");
        let auto = Opened::new(DeviceChoice::Auto)?;
        match (cfg!(feature = "cuda"), auto.device.is_cpu()) {
            (false, _) => assert!(auto.line().contains("(this build has no CUDA; build with `cargo build"), "{auto:?}"),
            (true, true) => assert!(auto.line().contains("cpu (CUDA cannot be opened: "), "{auto:?}"),
            (true, false) => assert!(auto.line().starts_with("device: cuda:0 (the first"), "{auto:?}"),
        }
        Ok(())
    }
}
