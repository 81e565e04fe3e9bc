//! Flags of `metrics certify`.

use super::HessianArgs;
use clap::Args;
use flat_metrics::{CertificateConfig, FlowConfig};

/// Flags of `metrics certify`.
#[derive(Debug, Args)]
pub struct CertifyArgs {
    /// The checkpoint, the data and the products; f64 is the right element type here.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// Bounds and effort.
    #[command(flatten)]
    pub bounds: BoundArgs,
    /// Antithetic probes of the gradient of the normalised trace.
    #[arg(long, value_name = "K", default_value_t = 32)]
    pub probes: u64,
    /// Radius of the probes [default: the fourth root of the machine precision times the norm of the weights].
    #[arg(long, value_name = "X")]
    pub rho: Option<f64>,
    /// Eigenvectors removed [default: by the largest gap among --max-rank eigenvalues].
    #[arg(long, value_name = "R")]
    pub rank: Option<usize>,
    /// Eigenvalues looked at.
    #[arg(long, value_name = "R", default_value_t = 20)]
    pub max_rank: usize,
    /// Hessian-vector products for them at most.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub max_matvecs: u64,
    /// Local error of the flow's steps, as a fraction of the norm of the weights.
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    pub rel_tol: f64,
}

/// What is certified, and how far the flow is followed.
#[derive(Debug, Clone, Args)]
pub struct BoundArgs {
    /// Distance to the limit of the gradient flow that is allowed.
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub eps: f64,
    /// Norm of the projected gradient of tr(H)/d that is allowed [default: the root of --eps].
    #[arg(long, value_name = "X")]
    pub eps_prime: Option<f64>,
    /// The flow has arrived where the gradient's norm is at most this.
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    pub grad_tol: f64,
    /// Gradients that the flow may take.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    pub max_gradients: u64,
}

impl BoundArgs {
    /// As the library takes them, the rest at its default.
    pub fn config(&self) -> CertificateConfig {
        let flow = FlowConfig { grad_tol: self.grad_tol, max_gradients: self.max_gradients, ..FlowConfig::default() };
        let eps_prime = self.eps_prime.unwrap_or(self.eps.max(0.0).sqrt());
        CertificateConfig { eps: self.eps, eps_prime, flow, ..CertificateConfig::default() }
    }
}

impl CertifyArgs {
    /// As the library takes them.
    pub fn config(&self) -> CertificateConfig {
        let base = self.bounds.config();
        CertificateConfig {
            flow: FlowConfig { rel_tol: self.rel_tol, ..base.flow },
            probes: self.probes,
            rho: self.rho,
            rank: self.rank,
            max_rank: self.max_rank,
            max_matvecs: self.max_matvecs,
            ..base
        }
    }
}
