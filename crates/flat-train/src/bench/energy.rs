//! Energy of a step, where the machine counts it.

use candle_core::Device;
use flat_kernels::gpu::Driver;
use flat_run::DeviceChoice;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that counts joules.
#[derive(Debug)]
pub enum Meter {
    /// The processor packages' counters (RAPL): file and the value at which it wraps, microjoules.
    Rapl(Vec<(PathBuf, f64)>),
    /// The mean power of the GPU of this UUID times the time, by its driver.
    Driver(String),
}

impl Meter {
    /// The meter of a device, or why there is none.
    ///
    /// # Errors
    /// The reason, for the report.
    pub fn of(device: &Device) -> Result<Self, String> {
        if let DeviceChoice::Cuda(n) = DeviceChoice::of(device) {
            // nvidia-smi counts otherwise than CUDA does
            let Some(gpu) = Driver::gpu(n) else { return Err("the driver does not name this GPU".into()) };
            return match watts(&gpu.uuid) {
                Some(_) => Ok(Self::Driver(gpu.uuid)),
                None => Err("nvidia-smi reports no power".into()),
            };
        }
        Self::rapl(Path::new("/sys/class/powercap"))
    }

    fn rapl(root: &Path) -> Result<Self, String> {
        let folders = fs::read_dir(root).map_err(|_| "no RAPL counters on this machine".to_string())?;
        let mut found = Vec::new();
        for folder in folders.filter_map(|e| Some(e.ok()?.path())) {
            // packages are intel-rapl:N on AMD too; their parts have a second colon, intel-rapl-mmio:N counts the same
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with("intel-rapl:") && name.matches(':').count() == 1 {
                let file = folder.join("energy_uj");
                number(&file).ok_or_else(|| format!("{} is not readable: root may read it", file.display()))?;
                let wraps = number(&folder.join("max_energy_range_uj")).unwrap_or(f64::INFINITY);
                found.push((file, wraps));
            }
        }
        if found.is_empty() { Err("no RAPL counters on this machine".into()) } else { Ok(Self::Rapl(found)) }
    }

    /// What is read before and after: a counter for each package, or the power of the GPU in watts.
    pub fn read(&self) -> Vec<f64> {
        match self {
            Self::Rapl(files) => files.iter().map(|(file, _)| number(file).unwrap_or(f64::NAN)).collect(),
            Self::Driver(uuid) => vec![watts(uuid).unwrap_or(f64::NAN)],
        }
    }

    /// Joules between two readings `seconds` apart.
    pub fn joules(&self, before: &[f64], after: &[f64], seconds: f64) -> f64 {
        match self {
            Self::Rapl(files) => {
                let spent = |((from, to), (_, wraps)): ((&f64, &f64), &(PathBuf, f64))| {
                    if to < from { to + wraps - from } else { to - from }
                };
                before.iter().zip(after).zip(files).map(spent).sum::<f64>() * 1e-6
            }
            // the power at the end is the driver's mean over the burst's last second
            Self::Driver(_) => after.iter().sum::<f64>() * seconds,
        }
    }
}

fn number(file: &std::path::Path) -> Option<f64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn watts(uuid: &str) -> Option<f64> {
    let out = Command::new("nvidia-smi")
        .args(["--query-gpu=power.draw", "--format=csv,noheader,nounits", &format!("--id={uuid}")])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&out.stdout).lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted_once_and_their_parts_are_not() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let write = |domain: &str, uj: u64| -> std::io::Result<()> {
            fs::create_dir_all(root.path().join(domain))?;
            fs::write(root.path().join(domain).join("energy_uj"), format!("{uj}\n"))
        };
        let all = ["intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl-mmio:0", "dtpm"];
        for domain in all {
            write(domain, 1_000_000)?;
        }
        let meter = Meter::rapl(root.path()).map_err(anyhow::Error::msg)?;
        let before = meter.read();
        for domain in all {
            write(domain, 3_000_000)?;
        }
        // 2 J of each package
        assert_eq!(meter.joules(&before, &meter.read(), 1.0), 4.0);
        assert!(Meter::rapl(&root.path().join("nowhere")).is_err());
        Ok(())
    }

    #[test]
    fn a_counter_that_wraps_counts_on() {
        let meter = Meter::Rapl(vec![("a".into(), 1e6), ("b".into(), 5e6)]);
        let joules = meter.joules(&[9e5, 1e6], &[2e5, 3e6], 1.0);
        assert!((joules - (0.3 + 2.0)).abs() < 1e-12, "{joules}");
    }
}
