//! Why a GPU cannot be had, and what to do about it.

use std::fmt;

/// A refusal of CUDA's driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The number of the device that was asked for, if one was.
    pub device: Option<usize>,
    /// The driver's name of the error and its words.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(device) = self.device {
            write!(f, "cuda:{device}: ")?;
        }
        write!(f, "{}; {}", self.cause, self.remedy)
    }
}

impl std::error::Error for Refused {}

/// What makes a build with CUDA.
const BUILD: &str = "cargo build --release --features cuda";

impl Refused {
    /// This build cannot.
    #[cfg_attr(feature = "cuda", expect(dead_code, reason = "a build with CUDA can"))]
    pub(super) fn no_build() -> Self {
        Self { device: None, cause: "this build has no CUDA".into(), remedy: format!("build with `{BUILD}`") }
    }

    /// What to do about an error of the driver, by its number in `cuda.h`; `count` is how many devices there are.
    pub fn remedy(code: u32, count: Option<usize>) -> String {
        let words = match code {
            2 => {
                "the GPU's memory is full: see `nvidia-smi` for other processes, or take a smaller --batch-size or \
                 --micro-batch"
            }
            34 => "a toolkit's stub stands in for the driver's libcuda: take its folder `stubs` out of LD_LIBRARY_PATH",
            3 | 100 => {
                "no GPU is visible: see `nvidia-smi`, CUDA_VISIBLE_DEVICES, and in a container its option for GPUs"
            }
            101 => {
                return match count {
                    Some(0) | None => "no device has this number: see `nvidia-smi` and CUDA_VISIBLE_DEVICES".into(),
                    Some(1) => "the one device here is cuda:0".into(),
                    Some(n) => format!("the {n} devices here are cuda:0 to cuda:{}", n - 1),
                };
            }
            46 => "another process has the GPU to itself: see `nvidia-smi`, or its compute mode",
            214 => "the GPU's memory has an uncorrected error: reset the GPU or restart the machine",
            218 | 222 => "the driver is older than this build's kernels: install R580 or newer",
            209 => "this build has no kernels for this GPU: build with CUDA_COMPUTE_CAP of its compute capability",
            700 | 716 | 717 | 718 | 719 => {
                "a kernel failed and the GPU's context is lost: start again; report it with the command if it returns"
            }
            802 => "the GPUs' fabric is not up: start nvidia-fabricmanager, or wait for it",
            803 => {
                "the driver's library and its kernel module are of two versions: restart the machine after an update"
            }
            804 => "this driver serves no newer CUDA on this GPU: install R580 or newer",
            _ => "see `nvidia-smi`",
        };
        words.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_device_cause_and_remedy() {
        let remedy = Refused::remedy(101, Some(2));
        let refused = Refused { device: Some(7), cause: "CUDA_ERROR_INVALID_DEVICE".into(), remedy };
        assert_eq!(refused.to_string(), "cuda:7: CUDA_ERROR_INVALID_DEVICE; the 2 devices here are cuda:0 to cuda:1");
        assert!(Refused::remedy(222, None).contains("R580"));
        assert!(Refused::remedy(100, Some(0)).contains("CUDA_VISIBLE_DEVICES"));
    }
}
