//! The bounds of a certificate and the effort spent on it.

use crate::around::flow::FlowConfig;
use crate::{Error, Result};
use serde::Serialize;

/// Settings of [`crate::Certificate`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateConfig {
    /// Distance to the limit of the flow that is allowed, the paper's epsilon.
    pub eps: f64,
    /// Norm of the projected gradient of trbar that is allowed, the paper's epsilon' [default: `sqrt(eps) trbar(Phi(x))`].
    ///
    /// trbar = tr(H) / d falls with d and with the loss's scale, so no number means the same for two networks. The default
    /// allows trbar to change along the minima by the fraction sqrt(eps) in a unit of length.
    pub eps_prime: Option<f64>,
    /// How the limit of the flow is approached.
    pub flow: FlowConfig,
    /// Probes of the gradient of trbar, at least 4; taken only where the range of the Hessian is not reached.
    pub probes: u64,
    /// Displacement that third derivatives are taken with [default: the cube root of the relative rounding of a product,
    /// times the norm of the parameters].
    pub rho: Option<f64>,
    /// Most Hessian-vector products for the spectrum at the limit; never more than d are taken. Of d numbers each, as many
    /// vectors are held, 4 GiB at most.
    pub max_matvecs: u64,
}

impl Default for CertificateConfig {
    /// (0.1, sqrt 0.1 trbar)-flatness, at most 1,000 products for the spectrum, 32 probes where they do not suffice.
    fn default() -> Self {
        Self { eps: 0.1, eps_prime: None, flow: FlowConfig::default(), probes: 32, rho: None, max_matvecs: 1000 }
    }
}

impl CertificateConfig {
    /// The same settings, if they make sense.
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
