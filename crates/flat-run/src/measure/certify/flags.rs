//! Flags of `metrics certify`.

use crate::settings::args::HessianArgs;
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
    /// Hessian-vector products for the spectrum at the limit at most: the rank of the Hessian and a few decide.
    #[arg(long, value_name = "N", default_value_t = 1000, alias = "max-rank")]
    pub max_matvecs: u64,
    /// Probes of the gradient of the trace, taken only where --max-matvecs products do not reach the whole range.
    #[arg(long, value_name = "K", default_value_t = 32)]
    pub probes: u64,
    /// Displacement of the third derivatives [default: the cube root of a product's rounding times the norm of the weights].
    #[arg(long, value_name = "X")]
    pub rho: Option<f64>,
    /// Estimated error of the flow's steps, as a fraction of their length.
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub rel_tol: f64,
}

/// What is certified, and how far the flow is followed.
#[derive(Debug, Clone, Args)]
pub struct BoundArgs {
    /// Distance to the limit of the gradient flow that is allowed.
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub eps: f64,
    /// Norm of the projected gradient of tr(H)/d that is allowed [default: the root of --eps, times tr(H)/d at the limit].
    #[arg(long, value_name = "X")]
    pub eps_prime: Option<f64>,
    /// The gradient's norm is at most this where the flow has arrived, and 1e-4 of --eps is left of the way.
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    pub grad_tol: f64,
    /// Gradients and Hessian-vector products that the flow may take.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    pub max_gradients: u64,
}

impl BoundArgs {
    /// As the library takes them, the rest at its default.
    pub fn config(&self) -> CertificateConfig {
        let flow = FlowConfig { grad_tol: self.grad_tol, max_gradients: self.max_gradients, ..FlowConfig::default() };
        CertificateConfig { eps: self.eps, eps_prime: self.eps_prime, flow, ..CertificateConfig::default() }
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
            max_matvecs: self.max_matvecs,
            ..base
        }
    }
}
