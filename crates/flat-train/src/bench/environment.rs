//! The machine and the program of a benchmark.

use crate::runtime::cores;
use candle_core::Device;
use flat_kernels::gpu::Driver;
use flat_run::DeviceChoice;
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The conditions of a timing: machine, program, devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Processor, as it calls itself.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Threads of the kernels.
    pub threads: usize,
    /// GPU and driver, as its driver calls them; `None` where none was used.
    pub gpu: Option<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Version of this program.
    pub version: String,
    /// Seconds since 1970.
    pub unix_time: u64,
}

impl Environment {
    /// Of this process.
    pub fn here(devices: &[Device]) -> Self {
        let cores = cores();
        let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        Self {
            cpu: processor().unwrap_or_else(|| "unknown".into()),
            cores,
            threads: asked.unwrap_or(cores),
            gpu: devices.iter().filter_map(gpu).reduce(|a, b| format!("{a}; {b}")),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            version: env!("CARGO_PKG_VERSION").into(),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        }
    }

    /// What of an earlier environment was otherwise, but for the time.
    pub fn differences(&self, earlier: &Self) -> Vec<String> {
        let fields = |e: &Self| {
            let gpu = e.gpu.clone().unwrap_or_else(|| "none".into());
            let numbers = [("cores", e.cores.to_string()), ("threads", e.threads.to_string())];
            let words = [("processor", e.cpu.clone()), ("GPU", gpu), ("system", e.system.clone())];
            words.into_iter().chain(numbers).chain([("version", e.version.clone())])
        };
        let pairs = fields(earlier).zip(fields(self)).filter(|(then, now)| then != now);
        pairs.map(|((name, then), (_, now))| format!("{name} was {then}, is {now}")).collect()
    }

    /// One line.
    pub fn line(&self) -> String {
        let gpu = self.gpu.as_ref().map(|g| format!("; {g}")).unwrap_or_default();
        format!("{}, {} of {} cores{gpu}; version {}", self.cpu, self.threads, self.cores, self.version)
    }
}

/// The processor, as it calls itself.
pub(crate) fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn gpu(device: &Device) -> Option<String> {
    let DeviceChoice::Cuda(n) = DeviceChoice::of(device) else { return None };
    // nvidia-smi counts otherwise than CUDA does
    let gpu = Driver::gpu(n)?;
    let out = Command::new("nvidia-smi")
        .args(["--query-gpu=name,driver_version", "--format=csv,noheader", &format!("--id={}", gpu.uuid)])
        .stderr(Stdio::null())
        .output();
    let said = out.map(|o| String::from_utf8_lossy(&o.stdout).lines().next().unwrap_or_default().trim().to_string());
    // a container may lack nvidia-smi
    said.ok().filter(|s| !s.is_empty()).or(Some(gpu.name))
}
