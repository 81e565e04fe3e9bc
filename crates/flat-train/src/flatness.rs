//! The Hessian trace of a model's loss on a data set, as the command line reports it.

use crate::args::{BnModeName, EstimatorName, HessianArgs, HvpName, ProbeName, TraceArgs};
use crate::config::TrainConfig;
use crate::curvature::Curvature;
use crate::evaluate::{evaluate, gradient_norm};
use crate::exit::usage;
use crate::number::short;
use crate::pixels;
use crate::signal;
use crate::trace_summary::TraceSummary;
use crate::ui::Ui;
use anyhow::Result;
use flat_core::{Purpose, Streams};
use flat_data::Loader;
use flat_metrics::{
    DifferenceHessian, DoubleBackwardHessian, HutchPlusPlus, Hutchinson, LinearOperator, ModelObjective,
    PerturbedConfig, PerturbedGradient, PerturbedLoss, ProbeDistribution, Progress, TangentHessian, TraceConfig,
    XTrace,
};
use flat_nn::{Loss, Mode, Model};

/// Which Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    /// BatchNorm statistics.
    pub bn_mode: BnModeName,
    /// Hessian-vector products.
    pub hvp: HvpName,
}

impl Which {
    /// What the flags ask for.
    pub fn of(args: &HessianArgs) -> Self {
        Self { bn_mode: args.bn_mode, hvp: args.hvp }
    }

    /// The model's mode.
    pub fn mode(self) -> Mode {
        self.bn_mode.mode()
    }

    pub(crate) fn words(self) -> (&'static str, &'static str) {
        let hvp = match self.hvp {
            HvpName::Exact => "exact",
            HvpName::Double => "double",
            HvpName::Difference => "difference",
        };
        (self.bn_mode.name(), hvp)
    }

    /// The mean loss over the data, streamed batch by batch.
    ///
    /// # Errors
    /// None in practice.
    pub fn objective<'a>(
        self,
        model: &'a Model,
        loss: Loss,
        data: &'a Loader,
    ) -> flat_metrics::Result<ModelObjective<'a>> {
        let (size, total) = (data.options().batch_size, data.split().len());
        let sizes = (0..data.batches_per_epoch()).map(|i| size.min(total - i * size)).collect();
        ModelObjective::streamed(model, loss, self.mode(), sizes, |i| {
            let batch = data.batch(0, i).map_err(|e| flat_metrics::Error::BadObjective(e.to_string()))?;
            Ok((batch.images, batch.labels))
        })
    }

    /// As [`Self::objective`], in 32 groups of images for the error from their choice. A group is a batch, or several
    /// where `--batch-size` is smaller: neither the groups nor the error depend on it. With batch statistics the loss itself
    /// is one of batches, which are the groups then.
    ///
    /// # Errors
    /// None in practice.
    pub fn grouped_objective<'a>(
        self,
        model: &'a Model,
        loss: Loss,
        data: &'a Loader,
    ) -> flat_metrics::Result<ModelObjective<'a>> {
        if model.has_batch_norm() && self.bn_mode == BnModeName::Batch {
            return self.objective(model, loss, data);
        }
        let total = data.split().len();
        // at random, whatever order the file has
        let order = Streams::new(0).at(Purpose::Subset, total as u64).permutation(total);
        let (count, size) = (GROUPS.min(total), data.options().batch_size);
        let (mut parts, mut groups) = (Vec::new(), Vec::new());
        for group in 0..count {
            for part in order[group * total / count..(group + 1) * total / count].chunks(size) {
                parts.push(part.to_vec());
                groups.push(group);
            }
        }
        let sizes = parts.iter().map(Vec::len).collect();
        let load = move |i: usize| {
            let batch = data.select(&parts[i]).map_err(|e| flat_metrics::Error::BadObjective(e.to_string()))?;
            Ok((batch.images, batch.labels))
        };
        ModelObjective::streamed(model, loss, self.mode(), sizes, load)?.grouped(groups)
    }

    /// Runs a measure on the Hessian of the mean loss over the data.
    ///
    /// # Errors
    /// A loss that is not deterministic; those of `measure`.
    pub fn hessian<T>(
        self,
        model: &Model,
        loss: Loss,
        data: &Loader,
        measure: impl FnOnce(&mut dyn LinearOperator) -> flat_metrics::Result<T>,
    ) -> flat_metrics::Result<T> {
        self.products(&self.objective(model, loss, data)?, measure)
    }

    /// Runs a measure on the Hessian of an objective.
    ///
    /// # Errors
    /// As [`Self::hessian`].
    pub fn products<T>(
        self,
        objective: &ModelObjective<'_>,
        measure: impl FnOnce(&mut dyn LinearOperator) -> flat_metrics::Result<T>,
    ) -> flat_metrics::Result<T> {
        match self.hvp {
            HvpName::Exact => measure(&mut TangentHessian::new(objective)?),
            HvpName::Double => measure(&mut DoubleBackwardHessian::new(objective)?),
            HvpName::Difference => measure(&mut DifferenceHessian::new(objective)?),
        }
    }
}

/// Groups of images that the error from their choice is found from: 31 degrees of freedom.
const GROUPS: usize = 32;

/// What a perturbed estimate of a network with kinks is not.
const KINKS: &str = "the kinks of ReLU and max pooling that a perturbation crosses count as curvature here, while the Hessian does \
     not see them: the value depends on --radius and may be many times the Hessian's trace";

/// How to measure the trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
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
    /// The data in words, for the report.
    pub data: String,
    /// What to know when reading the numbers.
    pub notes: Vec<String>,
}

impl Settings {
    /// What a run measures at its end; `None` for `--trace-probes 0`.
    pub fn of_run(config: &TrainConfig) -> Option<Self> {
        (config.trace_probes > 0).then(|| Self::of_training(config, config.trace_probes))
    }

    /// Hutchinson's estimate of the Hessian's trace with so many probes, of a run's training loss.
    pub fn of_training(config: &TrainConfig, probes: u64) -> Self {
        Self {
            probes: TraceConfig::fixed(probes),
            seed: config.seed,
            curvature: Curvature::of_training(),
            estimator: EstimatorName::Hutchinson,
            radius: None,
            data: match pixels::of_run(config) {
                Ok(pixels) => format!("train images of {}, {}", *config.dataset, pixels::in_words(&pixels)),
                Err(_) => format!("train images of {}", *config.dataset), // refused when the run began
            },
            notes: Vec::new(),
        }
    }

    /// What `metrics trace` was asked for; where it leaves probes and seed open, and asks for the run's own estimate, the run's.
    ///
    /// # Errors
    /// Contradictory numbers of probes; a flag that the estimator would ignore.
    pub fn of_args(args: &TraceArgs, run: Option<&TrainConfig>, data: String) -> Result<Self> {
        let (estimator, perturbs) = (args.estimator, args.estimator.perturbs());
        let sketches = matches!(estimator, EstimatorName::Hutchpp | EstimatorName::Xtrace);
        for (flag, given, needs) in [
            ("radius", args.radius.is_some() && !perturbs, "--estimator perturbed-gradient or perturbed-loss"),
            ("operator", args.operator.operator.is_some() && perturbs, "an --estimator by products"),
            ("hvp", args.hessian.hvp != HvpName::Exact && perturbs, "an --estimator by products"),
            ("total-only", args.total_only && estimator != EstimatorName::Hutchinson, "--estimator hutchinson"),
            ("rel-tol", args.rel_tol.is_some() && sketches, "an --estimator that can stop early, such as hutchinson"),
        ] {
            if given {
                return Err(usage(format!("--{flag} has no effect here: it needs {needs}")));
            }
        }
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
        let probes = probes.with_probe(args.probe_distribution.map_or(usual, ProbeName::distribution));
        let settings = Self {
            probes: probes.validated().map_err(flags)?,
            seed,
            curvature: Curvature::of_args(&args.hessian, &args.operator)?,
            estimator,
            radius: args.radius,
            data,
            notes: Vec::new(),
        };
        // before the data is loaded
        Estimator::new(&settings).map_err(flags)?;
        Ok(settings)
    }

    /// What the probes are counted in.
    fn unit(&self) -> &'static str {
        match self.estimator {
            EstimatorName::Hutchinson => "probes",
            EstimatorName::Hutchpp | EstimatorName::Xtrace => "products",
            EstimatorName::PerturbedGradient | EstimatorName::PerturbedLoss => "pairs",
        }
    }
}

/// The mode of batch normalisation, and the batches where it depends on them.
pub(crate) fn mode_in_words(mode: &str, batch_size: usize) -> String {
    match mode {
        "batch" => format!("BatchNorm batch, {batch_size} images each"),
        mode => format!("BatchNorm {mode}"),
    }
}

/// A library's complaint about its settings in the words of the flags.
pub fn flags(error: flat_metrics::Error) -> anyhow::Error {
    let text = error.to_string();
    let named = ["max_probes", "min_probes", "rel_tol", "max_matvecs", "radius", "top", "bottom"]
        .into_iter()
        .find(|field| text.contains(field));
    match named {
        None => error.into(),
        Some(_) => {
            let text = text.replace("max_probes", "--probes").replace("min_probes", "--min-probes");
            let text = text.replace("rel_tol", "--rel-tol").replace("max_matvecs", "--max-matvecs");
            usage(text.replace("`radius`", "`--radius`"))
        }
    }
}

/// As [`measure`], `None` where a signal asked to stop.
///
/// # Errors
/// As [`measure`].
pub fn trace(model: &Model, loss: Loss, data: &Loader, settings: &Settings, ui: Ui) -> Result<Option<TraceSummary>> {
    Ok(measure(model, loss, data, settings, ui)?.filter(|summary| !summary.interrupted()))
}

/// Measures; of the probes completed where a signal asks to stop, `None` before the first. Cost: an evaluation, a gradient,
/// and 1.6 to 2.7 gradients over the examples a probe.
///
/// # Errors
/// A loss that is not deterministic or not finite; settings that the estimator cannot take; candle's.
pub fn measure(model: &Model, loss: Loss, data: &Loader, settings: &Settings, ui: Ui) -> Result<Option<TraceSummary>> {
    let mode = settings.curvature.which.mode();
    let Some(score) = evaluate(model, loss, data, mode, "scoring", ui)? else { return Ok(None) };
    let Some(grad_norm) = gradient_norm(&settings.curvature.which.objective(model, loss, data)?)? else {
        return Ok(None);
    };
    let estimator = Estimator::new(settings).map_err(flags)?;
    let mut bar = ui.bar("trace", 0, settings.probes.max_probes, settings.unit());
    let streams = Streams::new(settings.seed);
    let progress = &mut |p: &Progress| {
        bar.update(p.probes, || match (p.value, p.std_error) {
            (Some(v), Some(e)) => format!("{} +- {}", short(v), short(e)),
            _ => String::new(),
        });
        signal::go_on()
    };
    let curvature = &settings.curvature;
    let objective = curvature.which.grouped_objective(model, loss, data)?;
    let report = match estimator {
        Estimator::Hutchinson(e) => curvature.products(&objective, |a| e.run_watched(a, &streams, progress)),
        Estimator::Hutchpp(e) => curvature.products(&objective, |a| e.run_watched(a, &streams, progress)),
        Estimator::Xtrace(e) => curvature.products(&objective, |a| e.run_watched(a, &streams, progress)),
        Estimator::Gradient(e) => e.run_watched(&objective, &streams, progress),
        Estimator::Loss(e) => e.run_watched(&objective, &streams, progress),
    };
    drop(bar);
    match report {
        Err(flat_metrics::Error::Interrupted) => Ok(None),
        report => {
            let report = report.map_err(flags)?;
            let mut summary = TraceSummary::new(report, &score, grad_norm, data.options().batch_size, loss, settings);
            if settings.estimator.perturbs() && model.config().has_kinks() {
                summary.notes.push(KINKS.into());
            }
            Ok(Some(summary))
        }
    }
}

/// The library's estimator of the settings.
enum Estimator {
    Hutchinson(Hutchinson),
    Hutchpp(HutchPlusPlus),
    Xtrace(XTrace),
    Gradient(PerturbedGradient),
    Loss(PerturbedLoss),
}

impl Estimator {
    fn new(settings: &Settings) -> flat_metrics::Result<Self> {
        let probes = settings.probes.clone();
        let perturbed =
            |usual: f64| PerturbedConfig { radius: settings.radius.unwrap_or(usual), trace: settings.probes.clone() };
        Ok(match settings.estimator {
            EstimatorName::Hutchinson => Self::Hutchinson(Hutchinson::new(probes)?),
            EstimatorName::Hutchpp => Self::Hutchpp(HutchPlusPlus::new(probes)?),
            EstimatorName::Xtrace => Self::Xtrace(XTrace::new(probes)?),
            EstimatorName::PerturbedGradient => Self::Gradient(PerturbedGradient::new(perturbed(0.1))?),
            EstimatorName::PerturbedLoss => Self::Loss(PerturbedLoss::new(perturbed(0.5))?),
        })
    }
}
