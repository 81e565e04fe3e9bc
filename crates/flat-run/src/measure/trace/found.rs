//! A trace with its errors, as text and as JSON.

use crate::measure::provenance::Taken;
use crate::parts::evaluate::Score;
use crate::value::number::short;
use crate::value::table::{Table, pairs};
use flat_metrics::{Estimate, Stop, Trace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A trace with its errors, and the point it was taken at.
#[derive(Debug, Clone, Serialize)]
pub struct TraceFound {
    /// Mean loss on the examples, with BatchNorm as in the trace.
    pub loss: f64,
    /// Accuracy on the examples, in 0..1, likewise.
    pub accuracy: f64,
    /// Norm of the gradient of this loss: a trace is of a minimum only where it is small.
    pub grad_norm: f64,
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
    /// Of perturbed estimators, in place of an interval: the ends that the probes' error alone gives at 95 %. The
    /// bias of a finite radius is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes_alone95: Option<[f64; 2]>,
    /// 95 % interval over the images that these stand for: errors of the probes and of the choice of images together.
    /// Student's quantile has one degree of freedom less than the groups or the probes, whichever are fewer; `null`
    /// where it cannot be told.
    pub population_ci95: Option<[f64; 2]>,
    /// Norm of the perturbations; `null` for estimators by products.
    pub radius: Option<f64>,
    /// Trace of the diagonal block of each parameter; empty for perturbed losses.
    pub per_layer: BTreeMap<String, Estimate>,
}

/// What others read of a trace in a journal or a summary.
#[derive(Debug, Clone, Deserialize)]
pub struct TraceRecord {
    /// The trace over d.
    #[serde(default)]
    pub trace_normalized: Option<f64>,
    /// Its 95 % interval over the probes.
    #[serde(default)]
    pub trace_normalized_ci95: Option<[f64; 2]>,
    /// Norm of the gradient there.
    #[serde(default)]
    pub grad_norm: Option<f64>,
    /// Images.
    #[serde(default)]
    pub examples: Option<u64>,
    /// The trace itself.
    pub trace: Probes,
}

/// Probes of an estimate.
#[derive(Debug, Clone, Deserialize)]
pub struct Probes {
    /// How many.
    #[serde(default)]
    pub probes: Option<u64>,
}

impl TraceFound {
    pub(super) fn new(of: Trace, score: &Score, grad_norm: f64) -> Self {
        Self {
            loss: score.loss,
            accuracy: score.accuracy,
            grad_norm,
            trace_normalized: of.trace_normalized.value,
            trace_normalized_ci95: of.trace_normalized.ci95,
            probe_std_error: of.probe_std_error,
            data_std_error: of.data_std_error,
            data_groups: of.data_groups,
            probes_alone95: of.probes_alone95,
            population_ci95: of.population_ci95(),
            radius: of.radius,
            trace: of.trace,
            per_layer: of.per_layer,
        }
    }
}

/// The trace and where it was taken, for a person.
pub fn text(found: &Taken<TraceFound>) -> String {
    let place = format!("loss {}, accuracy {:.2} %", short(found.loss), 100.0 * found.accuracy);
    format!("{}   at {place}, ||gradient|| {} there", line(found), short(found.grad_norm))
}

fn line(found: &Taken<TraceFound>) -> String {
    let (t, normalized) = (&found.trace, over_d(found));
    if let Some(ends) = found.probes_alone95 {
        return format!(
            "{}   (the error of {} probes alone: {} with 95 %; the bias of radius {} is in no interval)   tr/d {normalized}",
            short(t.value),
            t.probes,
            ends_in_words(ends),
            found.radius.map_or("unknown".to_string(), short),
        );
    }
    let interval = t
        .ci95
        .map_or("no interval from one probe".to_string(), |ends| format!("95 % interval {}", ends_in_words(ends)));
    let population = found.population_ci95.map_or("unknown".to_string(), ends_in_words);
    format!(
        "{}   ({interval} for these {} images, by {} {}; {population} for all images like them)   tr/d {normalized}",
        short(t.value),
        found.provenance.computed.examples.unwrap_or_default(),
        t.probes,
        if t.probes == 1 { "probe" } else { "probes" },
    )
}

fn over_d(found: &TraceFound) -> String {
    let ends = found.trace_normalized_ci95.map_or(String::new(), |ends| format!(" ({})", ends_in_words(ends)));
    format!("{}{ends}", short(found.trace_normalized))
}

/// A table for a person, layer by layer.
pub(super) fn table(found: &Taken<TraceFound>) -> String {
    let number = |x: Option<f64>| x.map_or("unknown".to_string(), short);
    let freedom =
        |n: Option<u64>| n.filter(|n| *n >= 2).map_or(String::new(), |n| format!(" ({} degrees of freedom)", n - 1));
    let errors = format!(
        "of the probes {}{}, of the choice of images {}{}",
        number(found.probe_std_error),
        freedom(Some(found.trace.probes)),
        number(found.data_std_error),
        freedom(found.data_std_error.and(found.data_groups).map(|n| n as u64))
    );
    let rows = [
        ("loss", short(found.loss)),
        ("accuracy", format!("{:.2} %", 100.0 * found.accuracy)),
        ("||gradient||", short(found.grad_norm)),
        ("trace", line(found)),
        ("standard errors", errors),
    ];
    let mut lines = vec![pairs(rows)];
    if found.stop == Stop::Interrupted {
        lines.insert(0, format!("interrupted: of {} probes", found.trace.probes));
    }
    if !found.per_layer.is_empty() {
        let mut layers = Table::new(1, ["layer", "trace", "std. error"]);
        for (name, e) in &found.per_layer {
            layers.row([name.clone(), short(e.value), e.std_error.map_or("one probe: none".into(), short)]);
        }
        lines.extend([String::new(), layers.text(), "(one standard error, of the probes)".into()]);
    }
    lines.join("\n")
}

fn ends_in_words([low, high]: [f64; 2]) -> String {
    format!("{} to {}", short(low), short(high))
}
