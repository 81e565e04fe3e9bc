//! The certificate and how far its making has come.

use super::config::CertificateConfig;
use crate::Estimate;
use crate::flow::FlowReport;
use flat_core::ParamVec;
use serde::Serialize;

/// What is said of the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Both intervals lie below their bounds.
    Flat,
    /// One interval lies above its bound.
    NotFlat,
    /// An interval holds its bound, or the flow did not arrive.
    Undecided,
}

/// What a [`crate::Certificate`] is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CertificateProgress {
    /// Which part.
    pub stage: Stage,
    /// Gradients (flow), products (eigenvalues) or probes done in it.
    pub done: u64,
    /// Most of them.
    pub of: u64,
    /// Norm of the gradient in the flow.
    pub grad_norm: Option<f64>,
    /// Seconds since the start.
    pub wall_s: f64,
}

/// The parts of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Gradient flow to Phi(x).
    Flow,
    /// Eigenvalues of the Hessian there.
    Eigenvalues,
    /// Probes of the gradient of the trace.
    Probes,
}

/// The certificate and all it rests on.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct CertificateReport {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
    /// `||x - Phi(x)||` for the point the flow reached.
    pub distance: f64,
    /// The distance less and plus what the flow has left to go and its integration error.
    pub distance_interval: [f64; 2],
    /// Loss at x.
    pub loss: f64,
    /// `f(x) - f(Phi(x))`.
    pub loss_gap: f64,
    /// `||grad f(x)||`.
    pub grad_norm: f64,
    /// `||grad f(Phi(x))||`.
    pub grad_norm_limit: f64,
    /// How the flow went.
    pub flow: FlowReport,
    /// The largest eigenvalues of the Hessian at Phi(x), in descending order, and their residuals.
    pub eigenvalues: Vec<[f64; 2]>,
    /// Eigenvectors removed, r.
    pub rank: usize,
    /// The last eigenvalue removed and the first kept; `None` where there is none.
    pub gap: [Option<f64>; 2],
    /// Norm of the projected gradient of trbar: the root of the unbiased estimate of its square, 0 where that is negative.
    pub projected_norm: f64,
    /// Its 95 % interval.
    pub projected_norm_ci95: [f64; 2],
    /// Unbiased estimate of the square.
    pub projected_norm_squared: Estimate,
    /// The same for the gradient of trbar before the projection.
    pub gradient_norm_squared: Estimate,
    /// Radius of the probes.
    pub rho: f64,
    /// Gradients of the data set spent.
    pub gradients: u64,
    /// Hessian-vector products spent.
    pub matvecs: u64,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Examples that the loss averages over.
    pub examples: usize,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
    /// Kind of Hessian.
    pub operator: String,
    /// Element type, `f32` or `f64`.
    pub dtype: String,
    /// Seed of the probes.
    pub seed: u64,
    /// The settings.
    pub config: CertificateConfig,
    /// Seconds spent.
    pub wall_s: f64,
    /// Phi(x) as far as the flow reached.
    #[serde(skip)]
    pub limit: ParamVec,
    /// Mean of the projected probes, an estimate of the projected gradient of trbar.
    #[serde(skip)]
    pub direction: ParamVec,
}
