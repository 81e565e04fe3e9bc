//! Peak memory of a cell, measured in a process of its own.

use super::Place;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use flat_kernels::gpu;
use flat_run::DeviceChoice;
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};

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

/// Starts this program for two steps of one cell.
///
/// # Errors
/// It cannot be started, or fails.
pub fn of_cell(place: &Place) -> Result<Memory> {
    let program = std::env::current_exe().context("this program's own file")?;
    let batch = place.batch_size.to_string();
    let output = Command::new(program)
        .args(["bench", "--memory-alone", "--json", "--quiet", "--devices", &place.device, "--models", &place.model])
        .args(["--optimizers", &place.optimizer, "--batch-sizes", &batch, "--precision", &place.precision])
        .stdin(Stdio::null())
        .output()
        .context("cannot start this program once more")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("what it printed")
}
