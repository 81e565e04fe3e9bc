//! The Hessian trace of a model's loss on a data set, as the command line reports it.

use crate::args::{BnModeName, HvpName, TraceArgs};
use crate::config::TrainConfig;
use crate::evaluate::evaluate;
use crate::exit::usage;
use crate::signal;
use crate::ui::Ui;
use anyhow::Result;
use flat_core::Streams;
use flat_data::Loader;
use flat_metrics::{
    DifferenceHessian, DoubleBackwardHessian, Estimate, Hutchinson, LinearOperator, ModelObjective, TangentHessian,
    TraceConfig,
};
use flat_nn::{Loss, Mode, Model};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Which Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which {
    /// BatchNorm statistics.
    pub bn_mode: BnModeName,
    /// Hessian-vector products.
    pub hvp: HvpName,
}

impl Which {
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        let bn_mode = match self.bn_mode {
            BnModeName::Eval => "eval",
            BnModeName::Batch => "batch",
        };
        let hvp = match self.hvp {
            HvpName::Exact => "exact",
            HvpName::Double => "double",
            HvpName::Difference => "difference",
        };
        (bn_mode, hvp)
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
        let mode = match self.bn_mode {
            BnModeName::Eval => Mode::Eval,
            BnModeName::Batch => Mode::BatchStats,
        };
        let (size, total) = (data.options().batch_size, data.split().len());
        let sizes = (0..data.batches_per_epoch()).map(|i| size.min(total - i * size)).collect();
        ModelObjective::streamed(model, loss, mode, sizes, |i| {
            let batch = data.batch(0, i).map_err(|e| flat_metrics::Error::BadObjective(e.to_string()))?;
            Ok((batch.images, batch.labels))
        })
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
        let objective = self.objective(model, loss, data)?;
        match self.hvp {
            HvpName::Exact => measure(&mut TangentHessian::new(&objective)?),
            HvpName::Double => measure(&mut DoubleBackwardHessian::new(&objective)?),
            HvpName::Difference => measure(&mut DifferenceHessian::new(&objective)?),
        }
    }
}

/// How to measure the trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Probes and stopping.
    pub probes: TraceConfig,
    /// Seed of the probes.
    pub seed: u64,
    /// Which Hessian.
    pub which: Which,
}

impl Settings {
    /// What a run measures at its end; `None` for `--trace-probes 0`.
    pub fn of_run(config: &TrainConfig) -> Option<Self> {
        (config.trace_probes > 0).then(|| Self {
            probes: TraceConfig::fixed(config.trace_probes),
            seed: config.seed,
            which: Which { bn_mode: BnModeName::Eval, hvp: HvpName::Exact },
        })
    }

    /// What `metrics trace` was asked for.
    ///
    /// # Errors
    /// Contradictory numbers of probes.
    pub fn of_args(args: &TraceArgs) -> Result<Self> {
        let probes = match args.rel_tol {
            None => TraceConfig::fixed(args.probes),
            Some(tol) => {
                let min_probes = args.min_probes.unwrap_or(args.probes.min(8));
                TraceConfig { min_probes, ..TraceConfig::to_tolerance(tol, args.probes) }
            }
        };
        let probes = probes.validated().map_err(flags)?;
        let hessian = &args.hessian;
        Ok(Self { probes, seed: hessian.seed, which: Which { bn_mode: hessian.bn_mode, hvp: hessian.hvp } })
    }
}

/// A library's complaint about its settings in the words of the flags.
pub fn flags(error: flat_metrics::Error) -> anyhow::Error {
    let text = error.to_string();
    let named = ["max_probes", "min_probes", "rel_tol", "max_matvecs", "top", "bottom"]
        .into_iter()
        .find(|field| text.contains(field));
    match named {
        None => error.into(),
        Some(_) => {
            let text = text.replace("max_probes", "--probes").replace("min_probes", "--min-probes");
            usage(text.replace("rel_tol", "--rel-tol").replace("max_matvecs", "--max-matvecs"))
        }
    }
}

/// A trace with its error and what it was measured on.
#[derive(Debug, Clone, Serialize)]
pub struct TraceSummary {
    /// Mean loss on the examples.
    pub loss: f64,
    /// Accuracy on the examples, in 0..1.
    pub accuracy: f64,
    /// Trainable parameters, d.
    pub dim: usize,
    /// tr H.
    pub trace: Estimate,
    /// tr H / d.
    pub trace_normalized: f64,
    /// Ends of the 95 % confidence interval of tr H / d.
    pub trace_normalized_ci95: Option<[f64; 2]>,
    /// Trace of the diagonal block of each parameter.
    pub per_layer: BTreeMap<String, Estimate>,
    /// The loss: `cross-entropy` (with its label smoothing above 0) or `mse`.
    pub loss_name: String,
    /// BatchNorm: `eval` or `batch`.
    pub bn_mode: &'static str,
    /// Hessian-vector products: `exact`, `double` or `difference`.
    pub hvp: &'static str,
    /// Element type.
    pub dtype: String,
    /// Seed of the probes.
    pub seed: u64,
    /// Examples the loss averages over.
    pub examples: usize,
    /// Why the probes ended.
    pub stopped_by: flat_metrics::StoppedBy,
    /// Seconds.
    pub wall_s: f64,
}

impl TraceSummary {
    /// A line for a person.
    pub fn text(&self) -> String {
        let t = &self.trace;
        let interval = t
            .ci95
            .map_or("no interval from one probe".to_string(), |[lo, hi]| format!("95 % interval {lo:.4} to {hi:.4}"));
        format!(
            "{:.4}   ({interval}; {} probes on {} images)   tr/d {:.3e}",
            t.value, t.probes, self.examples, self.trace_normalized
        )
    }

    /// A table for a person, layer by layer.
    pub fn table(&self) -> String {
        let width = self.per_layer.keys().map(String::len).max().unwrap_or(0).max("Hessian trace".len());
        let mut rows = vec![
            format!("{:<width$}  {:.4}", "loss", self.loss),
            format!("{:<width$}  {:.2} %", "accuracy", 100.0 * self.accuracy),
            format!("{:<width$}  {}", "Hessian trace", self.text()),
            String::new(),
        ];
        rows.extend(
            self.per_layer.iter().map(|(name, e)| {
                format!("{name:<width$}  {:>12.4} +- {:.4}", e.value, e.std_error.unwrap_or(f64::NAN))
            }),
        );
        rows.push(format!(
            "(+- one standard error; BatchNorm {}, {}, probes' seed {})",
            self.bn_mode, self.dtype, self.seed
        ));
        rows.join("\n")
    }
}

/// Measures; `None` where a signal asked to stop. Cost: about 2.4 gradients over the examples a probe.
///
/// # Errors
/// A loss that is not deterministic or not finite; candle's.
pub fn trace(model: &Model, loss: Loss, data: &Loader, settings: &Settings, ui: Ui) -> Result<Option<TraceSummary>> {
    let Some(score) = evaluate(model, loss, data, "scoring", ui)? else { return Ok(None) };
    let mut bar = ui.bar("Hessian trace", 0, settings.probes.max_probes, "probes");
    let estimator = Hutchinson::new(settings.probes.clone())?;
    let report = settings.which.hessian(model, loss, data, |operator| {
        estimator.run_watched(operator, &Streams::new(settings.seed), &mut |p| {
            bar.update(p.probes, || match (p.value, p.std_error) {
                (Some(v), Some(e)) => format!("{v:.4} +- {e:.4}"),
                _ => String::new(),
            });
            if signal::stop_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    if signal::stop_requested() {
        return Ok(None);
    }
    let report = report?;
    Ok(Some(TraceSummary {
        loss: score.loss,
        accuracy: score.accuracy,
        dim: report.dim,
        trace_normalized: report.trace_normalized.value,
        trace_normalized_ci95: report.trace_normalized.ci95,
        trace: report.trace,
        per_layer: report.per_layer,
        loss_name: match loss {
            Loss::CrossEntropy { label_smoothing: 0.0 } => "cross-entropy".into(),
            Loss::CrossEntropy { label_smoothing } => format!("cross-entropy, label smoothing {label_smoothing}"),
            Loss::Mse => "mse".into(),
        },
        bn_mode: settings.which.words().0,
        hvp: settings.which.words().1,
        dtype: report.dtype,
        seed: settings.seed,
        examples: score.examples,
        stopped_by: report.stopped_by,
        wall_s: report.wall_s,
    }))
}
