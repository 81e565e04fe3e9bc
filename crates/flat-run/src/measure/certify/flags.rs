//! Flags of `metrics certify`.

use crate::settings::args::HessianArgs;
use flat_core::setting::Range;
use flat_metrics::{CertificateConfig, FlowConfig};

flat_core::settings! {
    /// Flags of `metrics certify`: what is certified, and how far the flow is followed. f64 is the right element type here.
    #[derive(Debug, Clone)]
    pub struct CertifyArgs {
        /// Distance to the limit of the gradient flow that is allowed.
        eps as "eps": f64 = CertificateConfig::default().eps, range: Range::Positive;
        /// Norm of the projected gradient of tr(H)/d that is allowed.
        eps_prime as "eps-prime": Option<f64> = None, range: Range::Positive,
            default_in_words: "the root of --eps, times tr(H)/d at the limit";
        /// The gradient's norm is at most this where the flow has arrived, and 1e-4 of --eps is left of the way.
        grad_tol as "grad-tol": f64 = FlowConfig::default().grad_tol, range: Range::Positive;
        /// Gradients and Hessian-vector products that the flow may take.
        max_gradients as "max-gradients": u64 = FlowConfig::default().max_gradients, range: Range::AtLeast(1);
        /// Hessian-vector products for the spectrum at the limit at most: the rank of the Hessian and a few decide.
        max_matvecs as "max-matvecs": u64 = CertificateConfig::default().max_matvecs, range: Range::AtLeast(4),
            aliases: &["max-rank"];
        /// Probes of the gradient of the trace, taken only where --max-matvecs products do not reach the whole range.
        probes as "probes": u64 = CertificateConfig::default().probes, range: Range::AtLeast(4), metavar: "K";
        /// Displacement of the third derivatives.
        rho as "rho": Option<f64> = None, range: Range::Positive,
            default_in_words: "the cube root of a product's rounding times the norm of the weights";
        /// Estimated error of the flow's steps, as a fraction of their length.
        rel_tol as "rel-tol": f64 = FlowConfig::default().rel_tol, range: Range::Positive;
    }
    with {
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

impl CertifyArgs {
    /// As the library takes them.
    pub fn config(&self) -> CertificateConfig {
        let Self { eps, eps_prime, grad_tol, max_gradients, max_matvecs, probes, rho, rel_tol, .. } = *self;
        let flow = FlowConfig { grad_tol, max_gradients, rel_tol };
        CertificateConfig { eps, eps_prime, flow, probes, rho, max_matvecs }
    }
}
