//! Settings of a trace, from flags or from a run's configuration.

use super::flags::{EstimatorName, TraceArgs};
use crate::measure::curvature::Curvature;
use crate::measure::provenance::Source;
use crate::settings::config::RunConfig;
use crate::usage::flags_of;
use anyhow::Result;
use flat_metrics::{
    HutchPlusPlus, Hutchinson, PerturbedConfig, PerturbedGradient, PerturbedLoss, ProbeDistribution, TraceConfig,
    XTrace,
};

/// How to measure the trace.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Probes and stopping.
    pub probes: TraceConfig,
    /// Seed of the probes.
    pub seed: u64,
    /// Which matrix.
    pub curvature: Curvature,
    /// How to estimate.
    pub estimator: EstimatorName,
    /// Norm of the perturbations, where not the default.
    pub radius: Option<f64>,
    /// Checkpoint and data, for the report.
    pub source: Source,
}

impl TraceSettings {
    /// What a run measures at its end; `None` for `--trace-probes 0`.
    pub fn of_run(config: &RunConfig) -> Option<Self> {
        (config.trace_probes > 0).then(|| Self::of_training(config, config.trace_probes))
    }

    /// Hutchinson's estimate of the Hessian's trace with so many probes, of a run's training loss.
    pub fn of_training(config: &RunConfig, probes: u64) -> Self {
        Self {
            probes: TraceConfig::fixed(probes),
            seed: config.seed,
            curvature: Curvature::of_training(),
            estimator: EstimatorName::Hutchinson,
            radius: None,
            source: Source::of_run(config),
        }
    }

    /// What `metrics trace` was asked for; where it leaves probes and seed open, and asks for the run's own estimate, the run's.
    ///
    /// # Errors
    /// Contradictory numbers of probes.
    pub fn of_args(args: &TraceArgs, run: Option<&RunConfig>, source: Option<Source>) -> Result<Self> {
        let estimator = args.estimator;
        let own = estimator == EstimatorName::Hutchinson && args.rel_tol.is_none();
        let own = run.filter(|_| own).map(|run| run.trace_probes).filter(|n| *n > 0);
        let probes = args.probes.or(own).unwrap_or(64);
        let probes = match args.rel_tol {
            None => TraceConfig::fixed(probes),
            Some(tol) => {
                let min_probes = args.min_probes.unwrap_or(probes.min(8));
                TraceConfig { min_probes, ..TraceConfig::to_tolerance(tol, probes) }
            }
        };
        let usual = match estimator {
            EstimatorName::Hutchinson => ProbeDistribution::Rademacher,
            _ => ProbeDistribution::Sphere,
        };
        let probes = TraceConfig { per_layer: !args.total_only, ..probes };
        let seed = args.hessian.seed.or(run.map(|run| run.seed)).unwrap_or(0);
        let probes = probes.with_probe(args.probe_distribution.unwrap_or(usual));
        let settings = Self {
            probes: probes.validated().map_err(|e| flags_of(e, &[]))?,
            seed,
            curvature: Curvature::of_args(&args.hessian, &args.operator),
            estimator,
            radius: args.radius,
            source: source.unwrap_or_else(|| Source::of_run(&RunConfig::default())),
        };
        // before the data is loaded
        Estimator::new(&settings).map_err(|e| flags_of(e, &[]))?;
        Ok(settings)
    }

    /// What to know when reading the numbers.
    pub(super) fn notes(&self) -> Option<String> {
        self.probes.rel_tol.map(|_| {
            "--rel-tol looks at the interval several times and widens it for that; where one eigenvalue dominates, probes \
             that hardly meet it agree too early, and it covers in about 90 % of all runs: raise --min-probes"
                .into()
        })
    }

    /// What the probes are counted in.
    pub(super) fn unit(&self) -> &'static str {
        match self.estimator {
            EstimatorName::Hutchinson => "probes",
            EstimatorName::Hutchpp | EstimatorName::Xtrace => "products",
            EstimatorName::PerturbedGradient | EstimatorName::PerturbedLoss => "pairs",
        }
    }
}

/// The library's estimator of the settings.
pub(super) enum Estimator {
    Hutchinson(Hutchinson),
    Hutchpp(HutchPlusPlus),
    Xtrace(XTrace),
    Gradient(PerturbedGradient),
    Loss(PerturbedLoss),
}

impl Estimator {
    pub(super) fn new(settings: &TraceSettings) -> flat_metrics::Result<Self> {
        let probes = settings.probes.clone();
        let radius = settings.radius.or(settings.estimator.radius()).unwrap_or_default();
        let perturbed = || PerturbedConfig { radius, trace: settings.probes.clone() };
        Ok(match settings.estimator {
            EstimatorName::Hutchinson => Self::Hutchinson(Hutchinson::new(probes)?),
            EstimatorName::Hutchpp => Self::Hutchpp(HutchPlusPlus::new(probes)?),
            EstimatorName::Xtrace => Self::Xtrace(XTrace::new(probes)?),
            EstimatorName::PerturbedGradient => Self::Gradient(PerturbedGradient::new(perturbed())?),
            EstimatorName::PerturbedLoss => Self::Loss(PerturbedLoss::new(perturbed())?),
        })
    }
}
