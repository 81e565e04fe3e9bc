//! Flags of `metrics trace`.

use crate::measure::operator::OperatorArgs;
use crate::settings::args::HessianArgs;
use clap::{Args, ValueEnum};
use flat_metrics::ProbeDistribution;

/// Flags of `metrics trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The checkpoint, the data and the products.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// The matrix.
    #[command(flatten)]
    pub operator: OperatorArgs,
    /// How to estimate the trace.
    #[arg(long, value_name = "NAME", default_value = "hutchinson")]
    pub estimator: EstimatorName,
    /// Distribution of the random vectors [default: rademacher for hutchinson, sphere for the others].
    #[arg(long, value_name = "NAME")]
    pub probe_distribution: Option<ProbeName>,
    /// perturbed-gradient, perturbed-loss: norm of the perturbations [default: 0.1, 0.5].
    #[arg(long, value_name = "R")]
    pub radius: Option<f64>,
    /// Probes at most; products in all for hutchpp and xtrace, pairs of gradients or losses for the perturbed ones [default:
    /// those of the run's own trace where nothing else is asked for, else 64].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub probes: Option<u64>,
    /// hutchinson: leave out the layers; about half the time with --operator ggn or fisher, which then need no backward
    /// pass. For ReLU networks the trace of ggn is the Hessian's.
    #[arg(long)]
    pub total_only: bool,
    /// Stop as soon as the interval's half-width is this fraction of the value; not for hutchpp and xtrace.
    #[arg(long, value_name = "X")]
    pub rel_tol: Option<f64>,
    /// Probes at least, with --rel-tol [default: 8, or --probes where that is less].
    #[arg(long, value_name = "K", requires = "rel_tol", value_parser = clap::value_parser!(u64).range(2..))]
    pub min_probes: Option<u64>,
}

/// How a trace is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EstimatorName {
    /// Quadratic forms of random vectors; the one that can stop early.
    #[default]
    Hutchinson,
    /// Hutch++: the dominant part exactly, the rest by probes.
    Hutchpp,
    /// XTrace: every probe serves both parts; the least error at equal products on decaying spectra.
    Xtrace,
    /// Gradients at randomly perturbed weights; biased by O(radius^2).
    PerturbedGradient,
    /// Losses at randomly perturbed weights; biased by O(radius^2).
    PerturbedLoss,
}

impl EstimatorName {
    /// Whether it works by perturbing the weights, without an operator.
    pub fn perturbs(self) -> bool {
        matches!(self, Self::PerturbedGradient | Self::PerturbedLoss)
    }
}

/// Where random vectors come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProbeName {
    /// Independent signs.
    Rademacher,
    /// Independent normal numbers.
    Gaussian,
    /// Uniform on the sphere of radius sqrt(d).
    Sphere,
}

impl ProbeName {
    /// The library's.
    pub fn distribution(self) -> ProbeDistribution {
        match self {
            Self::Rademacher => ProbeDistribution::Rademacher,
            Self::Gaussian => ProbeDistribution::Gaussian,
            Self::Sphere => ProbeDistribution::Sphere,
        }
    }
}
