//! Flags of `metrics trace`.

use crate::measure::operator::OperatorArgs;
use crate::settings::args::HessianArgs;
use flat_core::named;
use flat_core::setting::{Needs, Range};
use flat_metrics::ProbeDistribution;
use std::sync::LazyLock;

flat_core::settings! {
    /// Flags of `metrics trace`.
    #[derive(Debug, Clone)]
    pub struct TraceArgs {
        /// How to estimate the trace.
        estimator as "estimator": EstimatorName = EstimatorName::Hutchinson;
        /// Distribution of the random vectors.
        probe_distribution as "probe-distribution": Option<ProbeDistribution> = None,
            default_in_words: "rademacher for hutchinson, sphere for the others";
        /// Norm of the perturbations.
        radius as "radius": Option<f64> = None, range: Range::Positive, metavar: "R",
            default_in_words: &RADII,
            needs: Needs::OneOf("estimator", &["perturbed-gradient", "perturbed-loss"]);
        /// Probes at most; products in all for hutchpp and xtrace, pairs of gradients or losses for the perturbed ones.
        probes as "probes": Option<u64> = None, range: Range::AtLeast(1), metavar: "K",
            default_in_words: "those of the run's own trace where nothing else is asked for, else 64";
        /// Leave out the layers; half the time with --operator hessian, two thirds with ggn or fisher, which then need no
        /// backward pass. For ReLU networks the trace of ggn is the Hessian's.
        total_only as "total-only": bool = false, needs: Needs::Is("estimator", "hutchinson");
        /// Stop as soon as the interval's half-width is this fraction of the value.
        rel_tol as "rel-tol": Option<f64> = None, range: Range::Positive,
            needs: Needs::OneOf("estimator", &["hutchinson", "perturbed-gradient", "perturbed-loss"]);
        /// Probes at least.
        min_probes as "min-probes": Option<u64> = None, range: Range::AtLeast(2), metavar: "K",
            needs: Needs::Set("rel-tol"), default_in_words: "8, or --probes where that is less";
    }
    with {
        /// The matrix.
        operator: OperatorArgs;
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

named! {
    /// How a trace is estimated.
    pub enum EstimatorName, "estimator" {
        /// Quadratic forms of random vectors; the one that can stop early.
        Hutchinson = "hutchinson",
        /// Hutch++: the dominant part exactly, the rest by probes.
        Hutchpp = "hutchpp",
        /// XTrace: every probe serves both parts; the least error at equal products on decaying spectra.
        Xtrace = "xtrace",
        /// Gradients at randomly perturbed weights; biased by O(radius^2).
        PerturbedGradient = "perturbed-gradient",
        /// Losses at randomly perturbed weights; biased by O(radius^2).
        PerturbedLoss = "perturbed-loss",
    }
}

impl EstimatorName {
    /// Whether it works by perturbing the weights, without an operator.
    pub fn perturbs(self) -> bool {
        self.radius().is_some()
    }

    /// The norm of its perturbations where no flag says it.
    pub(super) fn radius(self) -> Option<f64> {
        match self {
            Self::Hutchinson | Self::Hutchpp | Self::Xtrace => None,
            Self::PerturbedGradient => Some(0.1),
            Self::PerturbedLoss => Some(0.5),
        }
    }
}

/// The norms of the perturbations in words.
static RADII: LazyLock<String> = LazyLock::new(|| {
    let radii = EstimatorName::ALL.iter().filter_map(|name| Some(format!("{name} {}", name.radius()?)));
    radii.collect::<Vec<_>>().join(", ")
});
