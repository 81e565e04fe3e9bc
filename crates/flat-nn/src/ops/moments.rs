//! Mean and variance of each channel over a batch, on the host or left on the device.

use candle_core::{DType, Device, Result, Tensor};

/// Mean and (biased) variance of every channel.
#[derive(Debug, Clone)]
pub(crate) enum Moments {
    Host {
        mean: Vec<f64>,
        var: Vec<f64>,
    },
    /// In the first two rows.
    Device(Tensor),
}

/// Mean and biased variance that a batch had in each channel, wherever they were found.
#[derive(Debug, Clone)]
pub struct BatchMoments {
    /// Elements a channel has in the batch.
    pub count: usize,
    at: Moments,
}

impl BatchMoments {
    pub(crate) fn new(count: usize, at: Moments) -> Self {
        Self { count, at }
    }

    /// What a CUDA kernel found, `(3, channels)` in f64.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_device(&self) -> Option<&Tensor> {
        match &self.at {
            Moments::Device(stats) if stats.device().is_cuda() && stats.dtype() == DType::F64 => Some(stats),
            _ => None,
        }
    }

    /// Mean and biased variance a channel, on the host.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "moments for whoever asks for them on the host")]
    pub fn to_host(&self) -> Result<[Vec<f64>; 2]> {
        match &self.at {
            Moments::Host { mean, var } => Ok([mean.clone(), var.clone()]),
            Moments::Device(stats) => {
                let row = |i| stats.get(i)?.to_dtype(DType::F64)?.to_vec1();
                Ok([row(0)?, row(1)?])
            }
        }
    }

    /// The same as tensors of the element type and device of `like`, without waiting for a device.
    pub(crate) fn tensors(&self, like: &Tensor) -> Result<[Tensor; 2]> {
        let like = |t: Tensor| t.to_dtype(like.dtype())?.to_device(like.device());
        match &self.at {
            Moments::Host { mean, var } => {
                let tensor = |x: &Vec<f64>| like(Tensor::new(x.as_slice(), &Device::Cpu)?);
                Ok([tensor(mean)?, tensor(var)?])
            }
            Moments::Device(stats) => Ok([like(stats.get(0)?)?, like(stats.get(1)?)?]),
        }
    }
}
