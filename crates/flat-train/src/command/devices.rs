//! `flat-train devices`: what this machine and this build can compute on, and what a GPU lacks.

use super::print;
use crate::bench::processor;
use crate::exit::Outcome;
use anyhow::Result;
#[cfg(target_arch = "x86_64")]
use flat_kernels::cpu::bf16::Bf16;
use flat_kernels::gpu::{Driver, Refused};
use flat_run::value::table::pairs;
use serde::Serialize;

/// What there is.
#[derive(Debug, Serialize)]
struct Found {
    /// What `--device` may name, the CPU first.
    devices: Vec<Device>,
    /// The CUDA version that the driver serves.
    driver_cuda: Option<String>,
    /// Why no GPU can be had.
    missing: Option<String>,
    /// What to do about it.
    remedy: Option<String>,
    /// NVIDIA's libraries.
    libraries: Vec<Library>,
    /// What is known of MPI.
    mpi: &'static str,
}

#[derive(Debug, Serialize)]
struct Device {
    device: String,
    name: String,
    uuid: Option<String>,
    memory_mib: Option<f64>,
    /// Compute capability of a GPU.
    capability: Option<String>,
    /// Instruction sets of a CPU that kernels are written for.
    instructions: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Library {
    name: &'static str,
    /// The file that is loaded.
    path: Option<String>,
    /// How to get it.
    remedy: Option<String>,
}

/// Libraries of a CUDA build by the beginning of their files' names, and where each comes from.
const LIBRARIES: [(&str, &str, bool); 5] = [
    ("libcuda", "install NVIDIA's driver, R580 or newer", cfg!(feature = "cuda")),
    ("libnvrtc", "install CUDA 13, or `pip install nvidia-cuda-nvrtc` and name its folder", cfg!(feature = "cuda")),
    ("libcublas", "install CUDA 13, or `pip install nvidia-cublas` and name its folder", cfg!(feature = "cuda")),
    ("libcurand", "install CUDA 13, or `pip install nvidia-curand` and name its folder", cfg!(feature = "cuda")),
    ("libcudnn", "install cuDNN 9, or `pip install nvidia-cudnn-cu13` and name its folder", cfg!(feature = "cudnn")),
];

impl Library {
    /// One of the list, as this process has loaded it.
    fn find((name, get, wanted): (&'static str, &str, bool), maps: &str) -> Self {
        let file = format!("/{name}.so");
        let path = maps.lines().filter_map(|l| l.find('/').map(|at| &l[at..])).find(|path| path.contains(&file));
        let remedy = match (&path, wanted) {
            (Some(_), _) => None,
            (None, true) => Some(format!("{get} in LD_LIBRARY_PATH")),
            (None, false) => {
                let features = if name == "libcudnn" { "cuda,cudnn" } else { "cuda" };
                Some(format!("this build does without; build with `cargo build --release --features {features}`"))
            }
        };
        Self { name, path: path.map(String::from), remedy }
    }
}

fn instructions() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! detect {
            ($($name:tt),+) => { $( if std::is_x86_feature_detected!($name) { found.push($name); } )+ };
        }
        detect!("sse4.2", "avx2", "fma", "avx512f", "avx512dq", "avx512vl", "avx512bf16");
        found.extend(Bf16::Amx.available().then_some("amx-bf16"));
    }
    if cfg!(target_arch = "aarch64") {
        found.push("neon");
    }
    found
}

fn host_memory_mib() -> Option<f64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

impl Found {
    fn here() -> Self {
        let cpu = Device {
            device: "cpu".into(),
            name: processor().unwrap_or_else(|| "unknown".into()),
            uuid: None,
            memory_mib: host_memory_mib(),
            capability: None,
            instructions: instructions(),
        };
        let driver = Driver::here();
        let gpus = driver.iter().flat_map(|d| &d.gpus).map(|gpu| Device {
            device: format!("cuda:{}", gpu.ordinal),
            name: gpu.name.clone(),
            uuid: Some(gpu.uuid.clone()),
            memory_mib: Some(gpu.memory as f64 / f64::from(1 << 20)),
            capability: Some(format!("{}.{}", gpu.capability.0, gpu.capability.1)),
            instructions: Vec::new(),
        });
        // after the driver was asked, which may load more
        let devices = [cpu].into_iter().chain(gpus).collect();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let refused: Option<&Refused> = driver.as_ref().err();
        Self {
            devices,
            driver_cuda: driver.as_ref().ok().map(|d| format!("{}.{}", d.cuda.0, d.cuda.1)),
            missing: refused.map(|r| r.cause.clone()),
            remedy: refused.map(|r| r.remedy.clone()),
            libraries: LIBRARIES.into_iter().map(|one| Library::find(one, &maps)).collect(),
            mpi: "not looked for",
        }
    }

    fn text(&self) -> String {
        let mut rows = Vec::new();
        for d in &self.devices {
            let memory = d.memory_mib.map(|mib| format!("{:.1} GiB", mib / 1024.0));
            let capability = d.capability.as_ref().map(|c| format!("compute capability {c}"));
            let own = (!d.instructions.is_empty()).then(|| d.instructions.join(" "));
            let parts = [Some(d.name.clone()), memory, capability, d.uuid.clone(), own];
            rows.push((d.device.clone(), parts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
        }
        rows.extend(self.driver_cuda.iter().map(|v| ("driver".into(), format!("serves CUDA {v}"))));
        if let (Some(missing), Some(remedy)) = (&self.missing, &self.remedy) {
            rows.push(("cuda".into(), format!("none: {missing}; {remedy}")));
        }
        for library in &self.libraries {
            let found = library.path.clone().or_else(|| library.remedy.as_ref().map(|r| format!("not loaded: {r}")));
            rows.push((library.name.into(), found.unwrap_or_default()));
        }
        rows.push(("MPI".into(), self.mpi.into()));
        pairs(rows)
    }
}

/// Prints what there is.
pub(super) fn run(as_json: bool) -> Result<Outcome> {
    let found = Found::here();
    print(as_json, &found, || found.text())
}
