//! Curvature layer by layer.

use crate::args::LayersArgs;
use crate::curvature::Curvature;
use crate::flatness::flags;
use crate::signal;
use crate::subject::Subject;
use crate::ui::Ui;
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{
    Block, Diagonal, DiagonalReport, Error, Estimate, Lanczos, LanczosConfig, LinearOperator, TraceConfig,
};
use serde::Serialize;
use std::ops::ControlFlow;

/// One parameter.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// PyTorch's name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Numbers in it.
    pub size: usize,
    /// Euclidean norm of the weights.
    pub weight_norm: f64,
    /// Trace of its block.
    pub trace: Estimate,
    /// Trace over size.
    pub trace_over_size: Estimate,
    /// Mean size of the estimated entries of the diagonal; noise of the probes adds to it.
    pub diagonal_mean_abs: f64,
    /// Root mean square of the standard errors of these entries.
    pub diagonal_std_error: Option<f64>,
    /// Quantiles of these entries at 5, 25, 50, 75 and 95 %.
    pub diagonal_quantiles: [f64; 5],
    /// Fraction of these entries below zero by more than two standard errors.
    pub diagonal_negative: Option<f64>,
    /// Largest eigenvalue of its block, where asked for.
    pub lambda_max: Option<LambdaMax>,
}

/// A largest eigenvalue.
#[derive(Debug, Clone, Serialize)]
pub struct LambdaMax {
    /// The value.
    pub value: f64,
    /// Some eigenvalue is at most this far from it.
    pub residual: f64,
    /// Products spent.
    pub matvecs: u64,
    /// Whether the residual met the tolerance.
    pub converged: bool,
}

/// All parameters.
#[derive(Debug, Clone, Serialize)]
pub struct Layers {
    /// One a parameter, sorted by name.
    pub layers: Vec<Layer>,
    /// Trace of the whole.
    pub trace: Estimate,
    /// Trainable parameters, d.
    pub dim: usize,
    /// Data set and split in words.
    pub data: String,
    /// Examples the loss averages over.
    pub examples: usize,
    /// The matrix and how it was evaluated.
    pub operator: String,
    /// BatchNorm mode; `null` for a model without it.
    pub bn_mode: Option<String>,
    /// Element type.
    pub dtype: String,
    /// Seed of every random draw.
    pub seed: u64,
    /// Products spent in all.
    pub matvecs: u64,
    /// Seconds.
    pub wall_s: f64,
}

/// The largest eigenvalue of an operator; `residual` at most `rel_tol` of it where `max_matvecs` products are enough.
///
/// # Errors
/// [`Error::Interrupted`] when `go_on` says so; the operator's own.
pub fn lambda_max(
    operator: &mut dyn LinearOperator,
    max_matvecs: u64,
    rel_tol: f64,
    streams: &Streams,
    go_on: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> flat_metrics::Result<LambdaMax> {
    let lanczos = Lanczos::new(LanczosConfig { top: 1, bottom: 0, max_matvecs, rel_tol })?;
    let report = lanczos.run_watched(operator, streams, &mut |p| go_on(p.matvecs))?;
    let (matvecs, converged) = (report.matvecs, report.converged);
    match report.top.first() {
        Some(pair) => Ok(LambdaMax { value: pair.value, residual: pair.residual, matvecs, converged }),
        None => Err(Error::Interrupted),
    }
}

/// Measures; `None` where a signal asked to stop. Cost: `--probes` products, and up to `--max-matvecs` a layer.
///
/// # Errors
/// A loss that is not deterministic or not finite; flags out of range; candle's.
pub fn measure(subject: &Subject, args: &LayersArgs, data: String, ui: Ui) -> Result<Option<Layers>> {
    let start = std::time::Instant::now();
    let curvature = Curvature::of_args(&args.hessian, &args.operator)?;
    let rel_tol = args.rel_tol.unwrap_or(0.01);
    let diagonal = Diagonal::new(TraceConfig::fixed(args.probes)).map_err(flags)?;
    let params = subject.model.params();
    let entries = params.layout().entries();
    let at_most: u64 = entries.iter().map(|e| args.max_matvecs.min(e.len as u64)).sum();
    let mut bar = ui.bar("layers", 0, args.probes + at_most, "products at most");
    let streams = Streams::new(subject.seed(&args.hessian));
    let measured = curvature.run(&subject.model, subject.loss, &subject.data, |operator| {
        let report = diagonal.run_watched(operator, &streams, &mut |p| {
            bar.update(p.probes, || "diagonal".into());
            signal::go_on()
        })?;
        let mut largest = Vec::new();
        for entry in entries.iter().filter(|_| args.max_matvecs > 0) {
            let before = operator.matvecs();
            let mut block = Block::of(operator, &entry.name)?;
            largest.push(lambda_max(&mut block, args.max_matvecs, rel_tol, &streams, &mut |done| {
                bar.update(before + done, || entry.name.clone());
                signal::go_on()
            })?);
        }
        Ok((report, largest, operator.matvecs()))
    });
    drop(bar);
    if signal::stop_requested() {
        return Ok(None);
    }
    let (report, largest, matvecs) = measured.map_err(flags)?;
    let mut largest = largest.into_iter();
    let theta = params.read()?;
    let norms = theta.dot_per_entry(&theta)?;
    let DiagonalReport { mut per_layer, trace, dim, operator, bn_mode, dtype, seed, .. } = report;
    let layers = entries.iter().zip(norms).filter_map(|(entry, squared)| {
        let layer = per_layer.remove(&entry.name)?;
        Some(Layer {
            name: entry.name.clone(),
            shape: entry.shape.dims().to_vec(),
            size: entry.len,
            weight_norm: squared.sqrt(),
            trace: layer.trace,
            trace_over_size: layer.mean,
            diagonal_mean_abs: layer.mean_abs,
            diagonal_std_error: layer.entry_std_error,
            diagonal_quantiles: layer.quantiles,
            diagonal_negative: layer.negative,
            lambda_max: largest.next(),
        })
    });
    Ok(Some(Layers {
        layers: layers.collect(),
        trace,
        dim,
        data,
        examples: subject.data.split().len(),
        operator,
        bn_mode,
        dtype,
        seed,
        matvecs,
        wall_s: start.elapsed().as_secs_f64(),
    }))
}

impl Layers {
    /// A table for a person.
    pub fn table(&self) -> String {
        let width = self.layers.iter().map(|l| l.name.len()).max().unwrap_or(0).max("layer".len());
        let mut rows = vec![format!(
            "{:<width$}  {:>9}  {:>10}  {:>24}  {:>11}  {:>11}  {:>22}",
            "layer", "size", "||w||", "trace", "trace/size", "mean |diag|", "lambda_max"
        )];
        let with_error = |e: &Estimate| format!("{:.4} +- {:.4}", e.value, e.std_error.unwrap_or(f64::NAN));
        rows.extend(self.layers.iter().map(|l| {
            let largest = l.lambda_max.as_ref().map_or("not measured".to_string(), |m| {
                format!("{:.4} +- {:.1e}{}", m.value, m.residual, if m.converged { "" } else { " (*)" })
            });
            format!(
                "{:<width$}  {:>9}  {:>10.4}  {:>24}  {:>11.3e}  {:>11.3e}  {:>22}",
                l.name,
                l.size,
                l.weight_norm,
                with_error(&l.trace),
                l.trace_over_size.value,
                l.diagonal_mean_abs,
                largest
            )
        }));
        rows.push(format!("{:<width$}  {:>9}  {:>10}  {:>24}", "all", self.dim, "", with_error(&self.trace)));
        rows.push("(traces +- one standard error, eigenvalues +- residual)".into());
        if self.layers.iter().any(|l| l.lambda_max.as_ref().is_some_and(|m| !m.converged)) {
            rows.push("(*) the residual did not reach --rel-tol: raise --max-matvecs".into());
        }
        let bn_mode = self.bn_mode.as_ref().map_or(String::new(), |mode| format!("; BatchNorm {mode}"));
        rows.push(format!(
            "({}; {} {}{bn_mode}; {}; seed {}; {} products, {:.1} s)",
            self.operator, self.examples, self.data, self.dtype, self.seed, self.matvecs, self.wall_s
        ));
        rows.join("\n")
    }
}
