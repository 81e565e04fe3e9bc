//! Peak memory of a cell, measured in a process of its own.

use super::Place;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};

/// Peak memory in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident memory of the process; `None` where the system does not tell.
    pub host_mib: Option<f64>,
    /// Memory of the GPU that the process holds after its steps; `None` on a CPU.
    pub device_mib: Option<f64>,
}

impl Memory {
    /// Of this process so far.
    pub fn here(on_gpu: bool) -> Self {
        Self { host_mib: host_peak_mib(), device_mib: if on_gpu { held_on_gpu() } else { None } }
    }
}

/// The most memory of this process that was resident at once so far (VmHWM of /proc).
pub fn host_peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// What the driver says that this process holds. candle's allocator keeps what it once had, so that it is the peak.
fn held_on_gpu() -> Option<f64> {
    let list = Command::new("nvidia-smi")
        .args(["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let me = std::process::id().to_string();
    let held = String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter_map(|line| line.split_once(','))
        .filter(|(pid, _)| pid.trim() == me)
        .filter_map(|(_, mib)| mib.trim().parse::<f64>().ok())
        .sum::<f64>();
    (held > 0.0).then_some(held)
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
