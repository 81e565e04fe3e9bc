//! The result of a certificate: the verdict and the numbers that it rests on.

use super::config::CertificateConfig;
use crate::around::drift::{Known, Slope};
use crate::around::flow::FlowReport;
use flat_core::ParamVec;
use serde::Serialize;

/// The verdict on a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The limit is a local minimum to second order and both intervals lie below their bounds.
    Flat,
    /// An interval lies above its bound.
    NotFlat,
    /// The Hessian at the limit has a negative eigenvalue: a strict saddle or a maximum.
    NotAMinimum,
    /// Anything else: the flow did not arrive, the spectrum was not reached, an interval holds its bound.
    Undecided,
}

/// The reason of a verdict. It may name a setting whose other value would say more. Serializes as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub(super) why: String,
    pub(super) setting: Option<&'static str>,
    pub(super) rest: &'static str,
}

impl Reason {
    pub(super) fn new(why: String) -> Self {
        Self { why, setting: None, rest: "" }
    }

    /// The text with the setting under another name, such as that of a flag.
    pub fn naming(&self, name: impl FnOnce(&'static str) -> String) -> String {
        format!("{}{}{}", self.why, self.setting.map(name).unwrap_or_default(), self.rest)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.naming(Into::into))
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The spectrum at the limit, as far as it was reached.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct SpectrumReport {
    /// The largest eigenvalues, in descending order, and their residuals; at most 20.
    pub largest: Vec<[f64; 2]>,
    /// The smallest Rayleigh quotient and its residual: the smallest eigenvalue is at most the first.
    pub smallest: [f64; 2],
    /// The smallest eigenvalue is at least this, at 95 % (over the random start vectors); `None` where nothing can be said.
    pub smallest_at_least: Option<f64>,
    /// Eigenvalues up to this size count as zero.
    pub zero: f64,
    /// The smallest eigenvalue counts as negative below minus this number. It is `zero`, or what eigenvalues may
    /// change by on the way that is left to the limit.
    pub doubt: f64,
    /// Eigenvalues found that do not count as zero: the rank where `complete`, at most the rank otherwise.
    pub rank: usize,
    /// The whole range was reached: what is left is the kernel.
    pub complete: bool,
    /// An eigenvalue that was missed is below this, at 95 %; `None` unless `complete`.
    pub resolution: Option<f64>,
    /// Products spent.
    pub matvecs: u64,
}

/// The certificate and all it rests on; the parts that an interruption left out are `None`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: Reason,
    /// `||x - Phi(x)||` for the point the flow reached.
    pub distance: f64,
    /// What is known of it.
    pub distance_known: Known,
    /// The distance less and plus the flow's error estimate and the way left. The upper end is infinite (`null`)
    /// where `distance_known` is `AtLeast`.
    pub distance_interval: [f64; 2],
    /// Loss at x.
    pub loss: f64,
    /// `f(x) - f(Phi(x))` for the point the flow reached, which it is at least.
    pub loss_gap: f64,
    /// `||grad f(x)||`.
    pub grad_norm: f64,
    /// `||grad f||` at the point the flow reached.
    pub grad_norm_limit: f64,
    /// How the flow went.
    pub flow: FlowReport,
    /// Spectrum of the Hessian at the point the flow reached.
    pub spectrum: Option<SpectrumReport>,
    /// The slope of trbar along the minima there; `None` also where there is no minimum.
    pub slope: Option<Slope>,
    /// The bound of the slope, eps', and its interval where it is a fraction of trbar.
    pub eps_prime: Option<[f64; 2]>,
    /// The settings.
    pub config: CertificateConfig,
    /// Phi(x) as far as the flow reached.
    #[serde(skip)]
    pub limit: ParamVec,
}
