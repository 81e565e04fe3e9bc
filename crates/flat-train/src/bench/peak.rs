//! The peak arithmetic rate of the device, from a large matrix product.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use flat_core::{Purpose, Streams};
use flat_nn::ops;
use std::time::Instant;

/// Two square matrices to multiply.
#[derive(Debug)]
pub struct Peak {
    a: Tensor,
    b: Tensor,
    side: usize,
}

impl Peak {
    /// Matrices of side 2048 on a CPU, 8192 elsewhere, f32.
    ///
    /// # Errors
    /// candle's.
    pub fn new(device: &Device) -> Result<Self> {
        let side: usize = if device.is_cpu() { 2048 } else { 8192 };
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
        let device = self.a.device();
        device.synchronize()?;
        let started = Instant::now();
        ops::linear(&self.a, &self.b, None)?;
        device.synchronize()?;
        Ok(2.0 * (self.side as f64).powi(3) / started.elapsed().as_secs_f64() * 1e-9)
    }
}
