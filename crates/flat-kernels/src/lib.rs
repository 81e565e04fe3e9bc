//! Kernels of the flat-minima crates: fast loops for CPUs ([`cpu`]), and sources and launches for CUDA ([`cuda`]).
//!
//! A kernel knows slices and sizes ([`shape`]), no tensor and no derivative. All `unsafe` code of the crates above is here.
//! [`gpu`] finds and opens CUDA devices.
//! [`host`] opens candle's tensors on the host, [`dispatch`] chooses the element type ([`Float`]). A recurrence ([`Update`])
//! is written once over a [`Number`]: compiled into the loop of the CPU, and written down as a CUDA kernel ([`recurrence`]).

pub mod cpu;
pub mod cuda;
mod element;
pub mod gpu;
pub mod host;
mod number;
pub mod shape;
mod symbol;

pub use element::{Float, OnDevice};
pub use number::{Element, Number, Update};
pub use shape::{Geometry, Pass, Split, Windows};
pub use symbol::recurrence;

/// Whether vectors, normalisation, pooling and losses have kernels here on this device.
pub fn has_kernels(device: &candle_core::Device) -> bool {
    device.is_cpu() || (cfg!(feature = "cuda") && device.is_cuda())
}
