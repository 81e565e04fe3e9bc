//! The bounds of a certificate and the effort spent on it.

use crate::around::flow::FlowConfig;
use crate::{Error, Result};
use flat_core::setting::Range;
use serde::Serialize;

flat_core::settings! {
    /// Settings of [`crate::Certificate`].
    ///
    /// trbar = tr(H) / d falls with d and with the loss's scale, so no eps' means the same for two networks. The default,
    /// `sqrt(eps) trbar(Phi(x))`, allows trbar to change along the minima by the fraction sqrt(eps) in a unit of length.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct CertificateConfig {
        /// Distance to the limit of the gradient flow that is allowed, the paper's epsilon.
        eps as "eps": f64 = 0.1, range: Range::Positive;
        /// Norm of the projected gradient of tr(H)/d that is allowed, the paper's epsilon'.
        eps_prime as "eps-prime": Option<f64> = None, range: Range::Positive,
            default_in_words: "the root of --eps, times tr(H)/d at the limit";
        /// Probes of the gradient of the trace, taken only where --max-matvecs products do not reach the whole range.
        probes as "probes": u64 = 32, range: Range::AtLeast(4), metavar: "K";
        /// Displacement of the third derivatives.
        rho as "rho": Option<f64> = None, range: Range::Positive,
            default_in_words: "the cube root of a product's rounding times the norm of the weights";
        /// Hessian-vector products for the spectrum at the limit at most, never more than d: the rank of the Hessian and a few decide.
        /// As many vectors are held, 4 GiB at most.
        max_matvecs as "max-matvecs": u64 = 1000, range: Range::AtLeast(4), aliases: &["max-rank"];
    }
    with {
        /// How the limit of the flow is approached.
        flow: FlowConfig;
    }
}

impl CertificateConfig {
    /// The same settings, once their ranges are checked.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        let optional = [("eps_prime", self.eps_prime), ("rho", self.rho)].map(|(field, x)| (field, x.unwrap_or(1.0)));
        for (field, x) in optional.into_iter().chain([("eps", self.eps)]) {
            if !(x.is_finite() && x > 0.0) {
                return bad(field, x.to_string(), "give a number above 0");
            }
        }
        if self.probes < 4 {
            return bad("probes", self.probes.to_string(), "an unbiased norm with an interval needs at least 4");
        }
        if self.max_matvecs < 4 {
            return bad("max_matvecs", self.max_matvecs.to_string(), "allow at least 4 products");
        }
        let flow = self.flow.clone().validated()?;
        Ok(Self { flow, ..self })
    }
}
