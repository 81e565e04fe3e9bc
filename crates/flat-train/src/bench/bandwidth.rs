//! How fast a device copies memory.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use std::time::Instant;

/// Bytes that are copied: more than caches hold.
const BYTES: usize = 256 << 20;
/// Numbers that a task copies.
const TASK: usize = 1 << 18;

/// Memory to copy, and where to.
pub enum Bandwidth {
    /// On the host, by the threads of the kernels.
    Host(Vec<f32>, Vec<f32>),
    /// On another device, by itself.
    Device(Tensor),
}

impl Bandwidth {
    /// # Errors
    /// candle's.
    pub fn new(device: &Device) -> Result<Self> {
        let len = BYTES / size_of::<f32>();
        Ok(match device {
            Device::Cpu => Self::Host(vec![1.0; len], vec![0.0; len]),
            _ => Self::Device(Tensor::ones(len, DType::F32, device)?),
        })
    }

    /// GB/s of one copy, its reads and its writes.
    ///
    /// # Errors
    /// candle's.
    pub fn measure(&mut self) -> Result<f64> {
        let started = match self {
            Self::Host(from, to) => {
                let started = Instant::now();
                to.par_chunks_mut(TASK).zip(from.par_chunks(TASK)).for_each(|(to, from)| to.copy_from_slice(from));
                started
            }
            Self::Device(from) => {
                from.device().synchronize()?;
                let started = Instant::now();
                let _copy = from.copy()?;
                from.device().synchronize()?;
                started
            }
        };
        Ok(2e-9 * BYTES as f64 / started.elapsed().as_secs_f64())
    }
}
