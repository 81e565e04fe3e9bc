//! Curvature layer by layer.

use crate::measure::curvature::Curvature;
use crate::measure::trace_settings::flags;
use crate::parts::subject::Subject;
use crate::settings::args::LayersArgs;
use crate::signal;
use crate::ui::Ui;
use crate::value::number::short;
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{
    Block, Bounds, Diagonal, Error, Estimate, Lanczos, LanczosConfig, LinearOperator, Progress, Stop, TraceConfig,
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
    /// Where the mean size of the diagonal's entries lies, with 95 %: between |trace| over size and their root mean square.
    pub diagonal_mean_abs: Bounds,
    /// Root mean square of the entries, without the probes' noise.
    pub diagonal_rms: Estimate,
    /// Root mean square of the standard errors of the single estimated entries.
    pub diagonal_std_error: Option<f64>,
    /// Largest eigenvalue of its block, where asked for.
    pub lambda_max: Option<LambdaMax>,
}

/// A largest eigenvalue.
#[derive(Debug, Clone, Serialize)]
pub struct LambdaMax {
    /// The value.
    pub value: f64,
    /// Some eigenvalue is at most this far from it, and the largest is at least the value.
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
    /// A signal ended it: traces of the probes completed, eigenvalues of the layers completed.
    pub interrupted: bool,
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
    let report = lanczos.run(operator, streams, &mut |p: &Progress| go_on(p.done))?;
    let (matvecs, converged) = (report.effort.matvecs, report.converged);
    match report.top.first() {
        Some(pair) => Ok(LambdaMax { value: pair.value, residual: pair.residual, matvecs, converged }),
        None => Err(Error::Interrupted),
    }
}

/// Measures; what there is by then where a signal asks to stop, `None` before the first probe. Cost: `--probes` products, and up to `--max-matvecs` a layer.
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
        let report = diagonal.run(operator, &streams, &mut |p: &Progress| {
            bar.update(p.done, || "diagonal".into());
            signal::go_on()
        })?;
        let (mut largest, mut interrupted) = (Vec::new(), report.stop == Stop::Interrupted);
        for entry in entries.iter().filter(|_| args.max_matvecs > 0) {
            if interrupted {
                break;
            }
            let before = operator.matvecs();
            let mut block = Block::of(operator, &entry.name)?;
            let found = lambda_max(&mut block, args.max_matvecs, rel_tol, &streams, &mut |done| {
                bar.update(before + done, || entry.name.clone());
                signal::go_on()
            });
            match found {
                Ok(found) => largest.push(found),
                Err(Error::Interrupted) => interrupted = true,
                Err(e) => return Err(e),
            }
            interrupted |= signal::stop_requested() && largest.len() < entries.len();
        }
        Ok((report, largest, interrupted, operator.matvecs()))
    });
    drop(bar);
    let (report, largest, interrupted, matvecs) = match measured {
        Err(Error::Interrupted) => return Ok(None),
        measured => measured.map_err(flags)?,
    };
    let mut largest = largest.into_iter();
    let theta = params.read()?;
    let norms = theta.dot_per_entry(&theta)?;
    let (provenance, seed) = (report.provenance, streams.seed());
    let (mut per_layer, trace) = (report.result.per_layer, report.result.trace);
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
            diagonal_rms: layer.rms,
            diagonal_std_error: layer.entry_std_error,
            lambda_max: largest.next(),
        })
    });
    Ok(Some(Layers {
        layers: layers.collect(),
        trace,
        dim: provenance.dim,
        data,
        examples: subject.data.split().len(),
        operator: provenance.operator.unwrap_or_default(),
        bn_mode: provenance.bn_mode,
        dtype: provenance.dtype,
        seed,
        matvecs,
        interrupted,
        wall_s: start.elapsed().as_secs_f64(),
    }))
}

impl Layers {
    /// A table for a person.
    pub fn table(&self) -> String {
        let mut rows = vec![
            [
                "layer",
                "size",
                "||w||",
                "trace",
                "trace/size",
                "mean |diag|",
                "rms diag",
                "entries' error",
                "lambda_max",
            ]
            .map(String::from),
        ];
        rows.extend(self.layers.iter().map(Layer::row));
        let mut all = [const { String::new() }; COLUMNS];
        (all[0], all[1], all[3]) = ("all".into(), self.dim.to_string(), with_error(&self.trace));
        all[4] = short(self.trace.value / self.dim as f64);
        rows.push(all);
        let widths: [usize; COLUMNS] =
            std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
        let line = |row: &[String; COLUMNS]| {
            let cells = row.iter().zip(widths).enumerate();
            let cells = cells.map(|(i, (cell, w))| if i == 0 { format!("{cell:<w$}") } else { format!("{cell:>w$}") });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        if self.interrupted {
            let probes = self.trace.probes;
            lines.insert(0, format!("interrupted: of {probes} probes and the eigenvalues completed by then"));
        }
        lines.push(
            "(traces +- one standard error of the probes, eigenvalues +- residual; mean |diag| from at least |trace|/size to \
             at most the root mean square, rms diag [95 % interval]: free of the probes' noise in a single entry, whose \
             standard error is entries' error)"
                .into(),
        );
        if self.layers.iter().any(|l| l.lambda_max.as_ref().is_some_and(|m| !m.converged)) {
            lines.push("(*) at least this: the residual did not reach --rel-tol: raise --max-matvecs".into());
        }
        let bn_mode = self.bn_mode.as_ref().map_or(String::new(), |mode| format!("; BatchNorm {mode}"));
        lines.push(format!(
            "({}; {} {}{bn_mode}; {}; seed {}; {} products, {:.1} s)",
            self.operator, self.examples, self.data, self.dtype, self.seed, self.matvecs, self.wall_s
        ));
        lines.join("\n")
    }
}

/// Columns of the table.
const COLUMNS: usize = 9;

impl Layer {
    fn row(&self) -> [String; COLUMNS] {
        let Bounds { at_least, at_most } = self.diagonal_mean_abs;
        let most = at_most.map_or("? (3 probes tell)".into(), short);
        let rms = self.diagonal_rms.ci95.map_or("(too few probes)".to_string(), |[lo, hi]| {
            format!("{} [{}, {}]", short(self.diagonal_rms.value), short(lo), short(hi))
        });
        let largest = self.lambda_max.as_ref().map_or("not measured".to_string(), |m| {
            format!("{} +- {:.1e}{}", short(m.value), m.residual, if m.converged { "" } else { " (*)" })
        });
        [
            self.name.clone(),
            self.size.to_string(),
            short(self.weight_norm),
            with_error(&self.trace),
            short(self.trace_over_size.value),
            format!("{} to {most}", short(at_least)),
            rms,
            self.diagonal_std_error.map_or("(one probe)".into(), short),
            largest,
        ]
    }
}

fn with_error(e: &Estimate) -> String {
    e.std_error
        .map_or_else(|| format!("{} (one probe)", short(e.value)), |x| format!("{} +- {}", short(e.value), short(x)))
}
