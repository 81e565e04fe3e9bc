//! Peak memory of a cell, measured in a process of its own.

use super::{Part, Place};
use anyhow::Result;
use candle_core::Device;
use flat_kernels::gpu;
use flat_run::DeviceChoice;
use serde::{Deserialize, Serialize};

/// Peak memory in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident memory of the process; `None` where the system does not tell.
    pub host_mib: Option<f64>,
    /// Memory of the GPU that the process held at most; `None` on a CPU, or where the driver does not tell.
    pub device_mib: Option<f64>,
}

impl Memory {
    /// Of this process so far.
    pub fn here(device: &Device) -> Self {
        let held = match DeviceChoice::of(device) {
            DeviceChoice::Cuda(n) => gpu::memory_peak(n),
            _ => None,
        };
        Self { host_mib: host_peak_mib(), device_mib: held.map(|bytes| bytes as f64 / f64::from(1 << 20)) }
    }
}

/// The most memory of this process that was resident at once so far (VmHWM of /proc).
pub fn host_peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// That of two steps of one cell in a process of its own; `None` where a signal asked to stop.
///
/// # Errors
/// It cannot be started, or fails.
pub fn of_cell(place: &Place) -> Result<Option<Memory>> {
    Part::Memory.ask(&place.flags())
}
