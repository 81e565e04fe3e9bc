//! The arithmetic of a network's products.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use flat_core::named;
use flat_kernels::cpu::bf16::Bf16;
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
        F32 = "f32" | "fp32" | "float32",
        /// CUDA's tensor cores: operands of 10 bits, sums in f32 (candle's `gemm_reduced_precision_f32`, and cuDNN's).
        Tf32 = "tf32",
        /// Operands rounded to bf16 (8 bits), sums in f32, the result rounded to bf16. As bf16 has the range of f32, no
        /// loss scale is needed. A CPU multiplies by AMX or AVX-512 where it has them for bf16, with AVX-512 also by
        /// Winograd's algorithm, which rounds what its transforms give; otherwise the same numbers are rounded and then
        /// multiplied in f32, which is right and no faster ([`Bf16`]).
        Bf16 = "bf16" | "bfloat16",
    }
}

static CURRENT: AtomicU8 = AtomicU8::new(Precision::F32 as u8);

/// The place in [`Bf16::ALL`] of what a CPU multiplies bf16 by.
static BF16: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = u8::MAX;
/// The environment variable that names it; the fastest without one.
const VARIABLE: &str = "FLAT_BF16";

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
    /// The first bf16 on a CPU also settles by which instructions it multiplies: those that `FLAT_BF16` names (`amx`,
    /// `winograd`, `avx512` or `rounding`), the fastest without.
    ///
    /// # Errors
    /// [`Error::Precision`] for tf32 where the device is not CUDA, [`Error::Bf16`] for a `FLAT_BF16` that names nothing this
    /// processor has; nothing has changed then.
    pub fn set(self, device: &Device) -> Result<()> {
        if self == Self::Tf32 && !device.is_cuda() {
            let device = if device.is_cpu() { "a CPU" } else { "Metal" };
            return Err(Error::Precision { precision: self, device, remedy: "use f32 or bf16, or a CUDA device" });
        }
        if self == Self::Bf16 && device.is_cpu() && BF16.load(Ordering::Relaxed) == UNSET {
            let by = match std::env::var(VARIABLE) {
                Ok(name) if !name.is_empty() => by_name(&name)?,
                _ => Bf16::best(),
            };
            Self::multiply_bf16_by(by)?;
        }
        candle_core::cuda::set_gemm_reduced_precision_f32(self == Self::Tf32);
        CURRENT.store(self as u8, Ordering::Relaxed);
        Ok(())
    }

    /// By which instructions a CPU multiplies in bf16 from now on, in this process.
    ///
    /// # Errors
    /// [`Error::Bf16`] for what this processor does not have; nothing has changed then.
    pub fn multiply_bf16_by(by: Bf16) -> Result<()> {
        if !by.available() {
            return Err(unavailable(by.name()));
        }
        BF16.store(by as u8, Ordering::Relaxed);
        tracing::info!(by = by.name(), "products in bf16 on the CPU");
        Ok(())
    }

    /// By which instructions a CPU multiplies in this precision; `None` for another than bf16.
    pub fn bf16(self) -> Option<Bf16> {
        let set = || Bf16::ALL.into_iter().find(|by| *by as u8 == BF16.load(Ordering::Relaxed));
        (self == Self::Bf16).then(|| set().unwrap_or_else(Bf16::best))
    }

    /// By which instructions a CPU multiplies bf16, where operands of this type are rounded to it now.
    pub(crate) fn rounds_by(dtype: DType) -> Option<Bf16> {
        Self::current().bf16().filter(|_| dtype == DType::F32)
    }

    /// Whether operands of this type are rounded to bf16 now.
    pub(crate) fn rounds(dtype: DType) -> bool {
        dtype == DType::F32 && Self::current() == Self::Bf16
    }
}

/// The instructions that a word names, if this processor has them.
fn by_name(name: &str) -> Result<Bf16> {
    Bf16::ALL.into_iter().find(|by| by.name() == name).ok_or_else(|| unavailable(name))
}

fn unavailable(given: &str) -> Error {
    let available = Bf16::ALL.into_iter().filter(|by| by.available()).map(Bf16::name).collect();
    Error::Bf16 { given: given.into(), available }
}

/// An operand as several products take it: in bf16 where those would each round it, so that it is rounded once. A CPU's
/// kernels round by themselves.
pub(crate) fn operand(x: &Tensor) -> candle_core::Result<Tensor> {
    if x.device().is_cpu() || !Precision::rounds(x.dtype()) {
        return Ok(x.clone());
    }
    x.to_dtype(DType::BF16)
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
