//! Flags of `metrics layers`.

use super::eval::HessianArgs;
use super::operator::OperatorArgs;
use clap::Args;

/// Flags of `metrics layers`.
#[derive(Debug, Args)]
pub struct LayersArgs {
    /// The checkpoint, the data and the products.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// The matrix.
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// Probes for the traces and the diagonal.
    #[arg(long, value_name = "K", default_value_t = 32, value_parser = clap::value_parser!(u64).range(2..))]
    pub probes: u64,
    /// Products at most for the largest eigenvalue of each layer's block; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub max_matvecs: u64,
    /// Stop at a residual of this fraction of a layer's largest eigenvalue [default: 0.01].
    #[arg(long, value_name = "X")]
    pub rel_tol: Option<f64>,
}
