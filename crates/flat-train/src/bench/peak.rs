//! The peak arithmetic rate of the device, from a large matrix product.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flat_core::{Purpose, Streams};
use flat_nn::ops;
use std::time::Instant;

/// Sides of the matrices on a CPU, and on another device from the least to the most.
const ON_CPU: usize = 2048;
const ELSEWHERE: [usize; 2] = [1024, 8192];
/// Seconds of a product that say the rate of a device: beside them its start is nothing.
const ENOUGH: f64 = 0.02;

/// Two square matrices to multiply.
#[derive(Debug)]
pub struct Peak {
    a: Tensor,
    b: Tensor,
    side: usize,
}

impl Peak {
    /// Matrices in f32: of side 2048 on a CPU. Elsewhere the side doubles from 1024 until a product takes 20 ms, 8192 at most.
    /// The kernels of the product are loaded then.
    ///
    /// # Errors
    /// candle's.
    pub fn new(device: &Device) -> Result<Self> {
        if device.is_cpu() {
            let peak = Self::of(ON_CPU, device)?;
            peak.seconds()?;
            return Ok(peak);
        }
        let [least, most] = ELSEWHERE;
        let mut peak = Self::of(least, device)?;
        // the first product of a side loads its kernels
        while peak.seconds()?.min(peak.seconds()?) < ENOUGH && peak.side < most {
            peak = Self::of(2 * peak.side, device)?;
        }
        Ok(peak)
    }

    fn of(side: usize, device: &Device) -> Result<Self> {
        let draw = |i| -> Result<Tensor> {
            let x = Streams::new(0).at(Purpose::Test, i).normals(side * side);
            Ok(Tensor::from_vec(x, (side, side), &Device::Cpu)?.to_dtype(DType::F32)?.to_device(device)?)
        };
        Ok(Self { a: draw(1)?, b: draw(2)?, side })
    }

    /// GFLOP/s of one product, by the kernels that the layers use, in the precision that is set.
    ///
    /// # Errors
    /// candle's.
    pub fn measure(&self) -> Result<f64> {
        Ok(2.0 * (self.side as f64).powi(3) / self.seconds()? * 1e-9)
    }

    fn seconds(&self) -> Result<f64> {
        let device = self.a.device();
        device.synchronize()?;
        let started = Instant::now();
        ops::linear(&self.a, &self.b, None)?;
        device.synchronize()?;
        Ok(started.elapsed().as_secs_f64())
    }
}
