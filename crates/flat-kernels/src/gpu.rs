//! GPUs as CUDA's driver describes and opens them. A build without the feature `cuda` has none.

#[cfg(feature = "cuda")]
mod driver;
mod refused;

pub use refused::Refused;

use candle_core::Device;

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number, as `--device cuda:N` counts.
    pub ordinal: usize,
    /// What it is called.
    pub name: String,
    /// The name that no other has, as `nvidia-smi --id` takes it: numbers differ between the two.
    pub uuid: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
}

/// What a driver can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The CUDA version that it serves, 13.0 as `(13, 0)`.
    pub cuda: (i32, i32),
    /// What it sees.
    pub gpus: Vec<Gpu>,
}

impl Driver {
    /// The driver of this machine.
    ///
    /// # Errors
    /// A build without CUDA; a driver that refuses.
    pub fn here() -> Result<Self, Refused> {
        #[cfg(feature = "cuda")]
        return driver::here();
        #[cfg(not(feature = "cuda"))]
        Err(Refused::no_build())
    }

    /// The GPU of a number.
    pub fn gpu(ordinal: usize) -> Option<Gpu> {
        Self::here().ok()?.gpus.into_iter().nth(ordinal)
    }
}

/// The device of a number, as the driver counts; the same one each time, so that tensors of two callers go together.
///
/// Freed memory stays with the process, and no events are kept about buffers. Every thread works in a stream of its own: who
/// hands tensors to another thread calls [`Device::synchronize`] first.
///
/// # Errors
/// A build without CUDA; a driver that refuses.
pub fn open(ordinal: usize) -> Result<Device, Refused> {
    #[cfg(feature = "cuda")]
    return driver::open(ordinal);
    #[cfg(not(feature = "cuda"))]
    Err(Refused { device: Some(ordinal), ..Refused::no_build() })
}

/// What to do about an error of a run, where CUDA's driver made it.
pub fn remedy(error: &candle_core::Error) -> Option<String> {
    #[cfg(feature = "cuda")]
    return driver::remedy(error);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = error;
        None
    }
}

/// The most bytes that this process held of a GPU's memory at once; `None` where its driver does not tell.
pub fn memory_peak(ordinal: usize) -> Option<u64> {
    #[cfg(feature = "cuda")]
    return driver::memory_peak(ordinal);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = ordinal;
        None
    }
}
