//! The choice of kernels for a convolution on the CPU.

use crate::precision::Precision;
use candle_core::DType;
use flat_kernels::Geometry;
use flat_kernels::cpu::bf16::Bf16;
use flat_kernels::cpu::direct::Direct;
use flat_kernels::cpu::winograd::Winograd;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The kernels of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kernel {
    /// Operands rounded to bf16.
    Rounded(Bf16),
    /// Winograd's algorithm.
    Winograd(Winograd),
    /// The direct sum over channel-last images.
    Direct(Direct),
    /// Matrices of windows.
    Windows,
}

impl Kernel {
    /// The kernels for operands of this type; an event tells of those of every convolution once.
    pub(super) fn of(dtype: DType, g: &Geometry) -> Self {
        let kernel = match (Precision::rounds_by(dtype), dtype) {
            (Some(by), _) => Self::Rounded(by),
            (None, DType::F32) => {
                let direct = || Direct::of(g).map_or(Self::Windows, Self::Direct);
                Winograd::of(g).map_or_else(direct, Self::Winograd)
            }
            (None, _) => Self::Windows,
        };
        if tracing::enabled!(tracing::Level::DEBUG) {
            kernel.tell(dtype, g);
        }
        kernel
    }

    fn tell(self, dtype: DType, g: &Geometry) {
        static TOLD: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
        let Geometry { n, channels, h, w, out_channels, kh, kw, stride, .. } = g;
        let convolution = format!("{n}x{channels}x{h}x{w} to {out_channels} by {kh}x{kw}, stride {stride}, {dtype:?}");
        if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(convolution.clone()) {
            tracing::debug!(convolution, kernel = ?self, "kernel chosen");
        }
    }
}
