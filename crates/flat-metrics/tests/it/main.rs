//! Operators against exact Hessians, estimators against known matrices.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

mod explicit;
mod hyperdual;
mod mlp;
mod spectra;

mod certificate;
mod certificate_networks;
mod density;
mod diagonal;
mod dominant;
mod eigen;
mod fisher;
mod hessian;
mod intrinsic;
mod landscape;
mod models;
mod perturbed;
mod probe;
mod products;
mod restore;
mod sampling;
mod sharpness;
mod sketch;
mod trace;

use flat_metrics::{DoubleBackwardHessian, DoubleBackwardThread, Objective, Result};

/// Double backward in a process of many threads, as a test harness is.
fn double_backward<O: Objective + Sync + ?Sized>(objective: &O) -> Result<DoubleBackwardHessian<'_, O>> {
    // SAFETY: nothing in this binary reads the environment except through `std::env`: no CUDA driver, no name lookup,
    // no time zone; candle, gemm and rayon are Rust.
    unsafe { DoubleBackwardThread::start_unchecked()? };
    DoubleBackwardHessian::new(objective)
}
