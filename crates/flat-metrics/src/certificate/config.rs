//! The bounds of a certificate and the effort spent on it.

use crate::flow::FlowConfig;
use crate::{Error, Result};
use serde::Serialize;

/// Settings of [`crate::Certificate`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateConfig {
    /// Distance to the limit of the flow that is allowed, the paper's epsilon.
    pub eps: f64,
    /// Norm of the projected gradient that is allowed, the paper's epsilon'.
    pub eps_prime: f64,
    /// How the limit of the flow is approached.
    pub flow: FlowConfig,
    /// Antithetic probes of the gradient of the normalised trace, at least 4.
    pub probes: u64,
    /// Radius of the probes [default: the fourth root of the machine precision times the norm of the parameters].
    pub rho: Option<f64>,
    /// Dimension of the eigenspace that is removed [default: by the gap among the largest `max_rank` eigenvalues].
    pub rank: Option<usize>,
    /// Most eigenvalues looked at; never more than d.
    pub max_rank: usize,
    /// Most Hessian-vector products for them.
    pub max_matvecs: u64,
}

impl Default for CertificateConfig {
    /// (0.1, sqrt 0.1)-flatness, 32 probes, at most 20 eigenvalues by at most 200 products.
    fn default() -> Self {
        Self {
            eps: 0.1,
            eps_prime: 0.1f64.sqrt(),
            flow: FlowConfig::default(),
            probes: 32,
            rho: None,
            rank: None,
            max_rank: 20,
            max_matvecs: 200,
        }
    }
}

impl CertificateConfig {
    /// The same settings, if they make sense.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        for (field, x) in [("eps", self.eps), ("eps_prime", self.eps_prime), ("rho", self.rho.unwrap_or(1.0))] {
            if !(x.is_finite() && x > 0.0) {
                return bad(field, x.to_string(), "give a number above 0");
            }
        }
        if self.probes < 4 {
            return bad("probes", self.probes.to_string(), "an unbiased norm with an interval needs at least 4");
        }
        if self.max_rank == 0 {
            return bad("max_rank", "0".into(), "look at one eigenvalue at least");
        }
        if let Some(rank) = self.rank.filter(|r| *r > self.max_rank) {
            return bad("rank", rank.to_string(), "it must not exceed max_rank");
        }
        let flow = self.flow.clone().validated()?;
        Ok(Self { flow, ..self })
    }
}
