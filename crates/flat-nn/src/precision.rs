//! The arithmetic of a network's products.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use flat_core::named;
use std::sync::atomic::{AtomicU8, Ordering};

named! {
    /// The arithmetic of convolutions and fully connected layers whose tensors are f32. Weights, gradients, statistics and
    /// everything between the products stay f32; tensors of f64 are never rounded.
    ///
    /// The setting is the process's ([`Precision::set`]): candle's own switch for tf32 is, and the products of a backward
    /// pass are computed by operations that were recorded before and take no argument. Set it once, before the first
    /// forward pass.
    pub enum Precision, "precision" {
        /// Products of f32 in f32.
        F32 = "f32",
        /// CUDA's tensor cores: operands of 10 bits, sums in f32 (candle's `gemm_reduced_precision_f32`, and cuDNN's).
        Tf32 = "tf32",
        /// Operands rounded to bf16 (8 bits), sums in f32, the result rounded to bf16. As bf16 has the range of f32, no
        /// loss scale is needed. On a CPU the same numbers are rounded and then multiplied by the f32 kernels: right, and
        /// no faster.
        Bf16 = "bf16",
    }
}

static CURRENT: AtomicU8 = AtomicU8::new(Precision::F32 as u8);

impl Precision {
    /// What products are computed in now; f32 unless set.
    pub fn current() -> Self {
        match CURRENT.load(Ordering::Relaxed) {
            x if x == Self::Tf32 as u8 => Self::Tf32,
            x if x == Self::Bf16 as u8 => Self::Bf16,
            _ => Self::F32,
        }
    }

    /// Sets the arithmetic of all further products of this process.
    ///
    /// # Errors
    /// [`Error::Precision`] for tf32 where the device is not CUDA; nothing has changed then.
    pub fn set(self, device: &Device) -> Result<()> {
        if self == Self::Tf32 && !device.is_cuda() {
            let device = if device.is_cpu() { "a CPU" } else { "Metal" };
            return Err(Error::Precision { precision: self, device, remedy: "use f32 or bf16, or a CUDA device" });
        }
        candle_core::cuda::set_gemm_reduced_precision_f32(self == Self::Tf32);
        CURRENT.store(self as u8, Ordering::Relaxed);
        Ok(())
    }

    /// Whether operands of this type are rounded to bf16 now.
    pub(crate) fn rounds(dtype: DType) -> bool {
        dtype == DType::F32 && Self::current() == Self::Bf16
    }
}

/// `f(a, b)`, where a product in bf16 is asked for with operands and result in bf16; by candle's operations, for devices
/// that multiply bf16.
pub(crate) fn in_precision(
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Tensor> {
    if !Precision::rounds(a.dtype()) {
        return f(a, b);
    }
    f(&a.to_dtype(DType::BF16)?, &b.to_dtype(DType::BF16)?)?.to_dtype(a.dtype())
}
