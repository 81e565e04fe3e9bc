//! A trace as the command line reports it, with the card of what it was measured on.

use crate::measure::trace_settings::Settings;
use crate::measure::which::mode_in_words;
use crate::parts::evaluate::Score;
use crate::settings::args::OperatorName;
use crate::value::number::short;
use flat_metrics::{Estimate, Measured, Stop, Trace};
use flat_nn::Loss;
use serde::Serialize;
use std::collections::BTreeMap;

/// A trace with its errors and what it was measured on.
#[derive(Debug, Clone, Serialize)]
pub struct TraceSummary {
    /// Mean loss on the examples, with BatchNorm as in the trace.
    pub loss: f64,
    /// Accuracy on the examples, in 0..1, likewise.
    pub accuracy: f64,
    /// Norm of the gradient of this loss: a trace is of a minimum only where it is small.
    pub grad_norm: f64,
    /// Trainable parameters, d.
    pub dim: usize,
    /// The trace.
    pub trace: Estimate,
    /// The trace over d.
    pub trace_normalized: f64,
    /// Ends of the 95 % confidence interval of the trace over d.
    pub trace_normalized_ci95: Option<[f64; 2]>,
    /// Standard error of the trace from the probes, for these very examples.
    pub probe_std_error: Option<f64>,
    /// Standard error of the trace from the choice of examples, groups of them taken as clusters; `null` where it cannot be
    /// told.
    pub data_std_error: Option<f64>,
    /// Groups of examples that it was found from, one more than its degrees of freedom.
    pub data_groups: Option<usize>,
    /// Perturbed estimators, in place of an interval: where the error of the probes alone leaves the trace with 95 %, without
    /// the bias of a finite radius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes_alone95: Option<[f64; 2]>,
    /// 95 % interval for the images that these stand for: errors of the probes and of the choice of images together, with
    /// Student's quantile of one less than the groups or the probes, whichever are fewer; `null` where it cannot be told.
    pub population_ci95: Option<[f64; 2]>,
    /// Trace of the diagonal block of each parameter; empty for perturbed losses.
    pub per_layer: BTreeMap<String, Estimate>,
    /// The loss: `cross-entropy` (with its label smoothing above 0) or `mse`.
    pub loss_name: String,
    /// BatchNorm: `eval` or `batch`.
    pub bn_mode: &'static str,
    /// Hessian-vector products: `exact`, `double` or `difference`; `null` where none were taken.
    pub hvp: Option<&'static str>,
    /// Element type.
    pub dtype: String,
    /// Seed of the probes.
    pub seed: u64,
    /// Examples the loss averages over.
    pub examples: usize,
    /// Why the probes ended.
    pub stopped_by: Stop,
    /// Seconds.
    pub wall_s: f64,
    /// What to know when reading the numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was measured, how, and at what cost.
    pub card: TraceCard,
}

/// What was measured, how, and at what cost.
#[derive(Debug, Clone, Serialize)]
pub struct TraceCard {
    /// The data in words.
    pub data: String,
    /// Examples the loss averages over.
    pub examples: usize,
    /// Batches these were taken in.
    pub batches: Option<usize>,
    /// Images a batch.
    pub batch_size: usize,
    /// BatchNorm mode; `null` for a model without it.
    pub bn_mode: Option<String>,
    /// Element type.
    pub dtype: String,
    /// Seed of every random draw.
    pub seed: u64,
    /// The matrix and how it was evaluated.
    pub operator: String,
    /// The estimator.
    pub estimator: String,
    /// Distribution of the probes.
    pub probe_distribution: String,
    /// Norm of the perturbations; `null` for estimators by products.
    pub radius: Option<f64>,
    /// Independent probes.
    pub probes: u64,
    /// Products over the examples; evaluations of the gradient or the loss for the perturbed estimators.
    pub matvecs: u64,
    /// Seconds.
    pub wall_s: f64,
    /// Version of this program.
    pub version: &'static str,
}

impl TraceCard {
    fn new(report: &Measured<Trace>, examples: usize, batch_size: usize, settings: &Settings) -> Self {
        Self {
            data: settings.data.clone(),
            examples,
            batches: report.provenance.batches,
            batch_size,
            bn_mode: report.provenance.bn_mode.clone(),
            dtype: report.provenance.dtype.clone(),
            seed: settings.seed,
            operator: report.provenance.operator.clone().unwrap_or_default(),
            estimator: report.estimator.clone(),
            probe_distribution: report.probe_distribution.to_string(),
            radius: report.radius,
            probes: report.trace.probes,
            matvecs: report.trace.matvecs,
            wall_s: report.effort.wall_s,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// One line for a person.
    fn line(&self) -> String {
        let work = match self.estimator.as_str() {
            "perturbed-gradient" => "gradients",
            "perturbed-loss" => "losses",
            _ => "products",
        };
        let mut parts = vec![
            self.operator.clone(),
            format!("{}, {} probes", self.estimator, self.probe_distribution),
            format!("{} {}", self.examples, self.data),
        ];
        parts.extend(self.radius.map(|r| format!("radius {r}")));
        parts.extend(self.bn_mode.as_ref().map(|mode| mode_in_words(mode, self.batch_size)));
        parts.extend([self.dtype.clone(), format!("seed {}", self.seed)]);
        parts.push(format!("{} {work}, {:.1} s", self.matvecs, self.wall_s));
        format!("({})", parts.join("; "))
    }
}

impl TraceSummary {
    /// From the library's report.
    pub fn new(
        report: Measured<Trace>,
        score: &Score,
        grad_norm: f64,
        batch_size: usize,
        loss: Loss,
        settings: &Settings,
    ) -> Self {
        let (bn_mode, hvp) = settings.curvature.which.words();
        let by_products = !settings.estimator.perturbs() && settings.curvature.operator == OperatorName::Hessian;
        let mut notes = Vec::new();
        if settings.probes.rel_tol.is_some() {
            notes.push(
                "--rel-tol looks at the interval several times and widens it for that; where one eigenvalue dominates, probes \
                 that hardly meet it agree too early, and it covers in about 90 % of all runs: raise --min-probes"
                    .into(),
            );
        }
        Self {
            card: TraceCard::new(&report, score.examples, batch_size, settings),
            notes: settings.notes.iter().cloned().chain(notes).collect(),
            loss: score.loss,
            accuracy: score.accuracy,
            grad_norm,
            dim: report.provenance.dim,
            trace_normalized: report.trace_normalized.value,
            trace_normalized_ci95: report.trace_normalized.ci95,
            probe_std_error: report.probe_std_error,
            data_std_error: report.data_std_error,
            data_groups: report.data_groups,
            probes_alone95: report.probes_alone95,
            population_ci95: report.population_ci95(),
            trace: report.result.trace,
            per_layer: report.result.per_layer,
            loss_name: loss.to_string(),
            bn_mode,
            hvp: by_products.then_some(hvp),
            dtype: report.provenance.dtype,
            seed: settings.seed,
            examples: score.examples,
            stopped_by: report.stop,
            wall_s: report.effort.wall_s,
        }
    }

    /// A signal ended it: of the probes completed by then.
    pub fn interrupted(&self) -> bool {
        self.stopped_by == Stop::Interrupted
    }

    /// The trace and where it was taken, for a person.
    pub fn text(&self) -> String {
        let place = format!("loss {}, accuracy {:.2} %", short(self.loss), 100.0 * self.accuracy);
        format!("{}   at {place}, ||gradient|| {} there", self.line(), short(self.grad_norm))
    }

    fn line(&self) -> String {
        let t = &self.trace;
        if let Some(ends) = self.probes_alone95 {
            return format!(
                "{}   (the error of {} probes alone: {} with 95 %; the bias of radius {} is in no interval)   tr/d {}",
                short(t.value),
                t.probes,
                ends_in_words(ends),
                self.card.radius.map_or("unknown".to_string(), short),
                short(self.trace_normalized)
            );
        }
        let interval = t
            .ci95
            .map_or("no interval from one probe".to_string(), |ends| format!("95 % interval {}", ends_in_words(ends)));
        let population = self.population_ci95.map_or("unknown".to_string(), ends_in_words);
        format!(
            "{}   ({interval} for these {} images, by {} {}; {population} for all images like them)   tr/d {}",
            short(t.value),
            self.examples,
            t.probes,
            if t.probes == 1 { "probe" } else { "probes" },
            short(self.trace_normalized)
        )
    }

    /// A table for a person, layer by layer.
    pub fn table(&self) -> String {
        let width = self.per_layer.keys().map(String::len).max().unwrap_or(0).max("standard errors".len());
        let number = |x: Option<f64>| x.map_or("unknown".to_string(), short);
        let freedom = |n: Option<u64>| {
            n.filter(|n| *n >= 2).map_or(String::new(), |n| format!(" ({} degrees of freedom)", n - 1))
        };
        let mut rows = vec![
            format!("{:<width$}  {}", "loss", short(self.loss)),
            format!("{:<width$}  {:.2} %", "accuracy", 100.0 * self.accuracy),
            format!("{:<width$}  {}", "||gradient||", short(self.grad_norm)),
            format!("{:<width$}  {}", "trace", self.line()),
            format!(
                "{:<width$}  of the probes {}{}, of the choice of images {}{}",
                "standard errors",
                number(self.probe_std_error),
                freedom(Some(self.trace.probes)),
                number(self.data_std_error),
                freedom(self.data_std_error.and(self.data_groups).map(|n| n as u64))
            ),
            String::new(),
        ];
        if self.interrupted() {
            rows.insert(0, format!("interrupted: of {} probes", self.trace.probes));
        }
        rows.extend(self.per_layer.iter().map(|(name, e)| {
            let error = e.std_error.map_or("(one probe: no error)".to_string(), |x| format!("+- {}", short(x)));
            format!("{name:<width$}  {:>12} {error}", short(e.value))
        }));
        if !self.per_layer.is_empty() {
            rows.push("(+- one standard error of the probes)".into());
        }
        rows.extend(self.notes.iter().map(|note| format!("note: {note}")));
        rows.push(self.card.line());
        rows.join("\n")
    }
}

fn ends_in_words([low, high]: [f64; 2]) -> String {
    format!("{} to {}", short(low), short(high))
}
