//! Flags of `metrics all`.

use super::{BoundArgs, HessianArgs, QuadratureArgs};
use clap::Args;

/// Flags of `metrics all`.
#[derive(Debug, Args)]
pub struct AllArgs {
    /// The checkpoint, the data and the products.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// The spectral density.
    #[command(flatten)]
    pub quadrature: QuadratureArgs,
    /// Probes of the trace.
    #[arg(long, value_name = "K", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    pub trace_probes: u64,
    /// Largest eigenvalues.
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub top: usize,
    /// Smallest eigenvalues.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub bottom: usize,
    /// Radius of the sharpness in the Euclidean norm.
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub rho: f64,
    /// Certify (eps, eps')-flatness too, the most costly part.
    #[arg(long)]
    pub certify: bool,
    /// The certificate.
    #[command(flatten)]
    pub bounds: BoundArgs,
}
