//! Curvature layer by layer.

use super::curvature::Curvature;
use super::interface::{InAll, Measure};
use super::lambda_max::{LambdaMax, lambda_max};
use super::operator::OperatorArgs;
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::signal;
use crate::ui::Ui;
use crate::usage::flags_of;
use crate::value::number::short;
use crate::value::table::{Table, paragraph};
use anyhow::Result;
use flat_core::Streams;
use flat_core::setting::{Needs, Range, Value};
use flat_metrics::{Block, Bounds, Diagonal, Error, Estimate, Progress, Stop, TraceConfig};
use serde::Serialize;

flat_core::settings! {
    /// Flags of `metrics layers`.
    #[derive(Debug, Clone)]
    pub struct LayersArgs {
        /// Probes for the traces and the diagonal.
        probes as "probes": u64 = 32, range: Range::AtLeast(2), metavar: "K";
        /// Products at most for the largest eigenvalue of each layer's block; 0 leaves it out.
        max_matvecs as "max-matvecs": u64 = 30;
        /// Stop at a residual of this fraction of a layer's largest eigenvalue.
        rel_tol as "rel-tol": f64 = 0.01, range: Range::Positive,
            needs: Needs::That(|v| v.get("max-matvecs") != Some(&Value::Count(0)), "--max-matvecs above 0");
    }
    with {
        /// The matrix.
        operator: OperatorArgs;
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

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

/// All parameters.
#[derive(Debug, Clone, Serialize)]
pub struct Layers {
    /// One a parameter, sorted by name.
    pub layers: Vec<Layer>,
    /// Trace of the whole.
    pub trace: Estimate,
}

impl Measure for LayersArgs {
    const NAME: &'static str = "layers";
    const ABOUT: &'static str = "Trace, diagonal, largest eigenvalue and norm of the weights, layer by layer";
    const IN_ALL: Option<InAll> = None;

    type Found = Layers;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    /// Costs `--probes` products, and up to `--max-matvecs` a layer. Interrupted: the traces of the probes completed, the
    /// eigenvalues of the layers completed.
    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<Layers>>> {
        let start = std::time::Instant::now();
        let curvature = Curvature::of_args(&self.hessian, &self.operator);
        let diagonal = Diagonal::new(TraceConfig::fixed(self.probes)).map_err(|e| flags_of(e, &[]))?;
        let params = subject.model.params();
        let entries = params.layout().entries();
        let at_most: u64 = entries.iter().map(|e| self.max_matvecs.min(e.len as u64)).sum();
        let mut bar = ui.bar("layers", 0, self.probes + at_most, "products at most");
        let streams = Streams::new(subject.seed(&self.hessian));
        let measured = curvature.run(&subject.model, subject.loss, &subject.data, |operator| {
            let report = diagonal.run(operator, &streams, &mut |p: &Progress| {
                bar.update(p.done, || "diagonal".into());
                signal::go_on()
            })?;
            let (mut largest, mut interrupted) = (Vec::new(), report.stop == Stop::Interrupted);
            for entry in entries.iter().filter(|_| self.max_matvecs > 0) {
                if interrupted {
                    break;
                }
                let before = operator.matvecs();
                let mut block = Block::of(operator, &entry.name)?;
                let found = lambda_max(&mut block, self.max_matvecs, self.rel_tol, &streams, &mut |p: &Progress| {
                    bar.update(before + p.done, || entry.name.clone());
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
            measured => measured.map_err(|e| flags_of(e, &[]))?,
        };
        let theta = params.read()?;
        let norms = theta.dot_per_entry(&theta)?;
        let mut taken = report.map(|of| {
            let (mut per_layer, mut largest) = (of.per_layer, largest.into_iter());
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
            Layers { layers: layers.collect(), trace: of.trace }
        });
        taken.effort.matvecs = matvecs;
        taken.effort.wall_s = start.elapsed().as_secs_f64();
        taken.stop = if interrupted { Stop::Interrupted } else { taken.stop };
        let computed = taken.provenance.clone();
        let mut provenance = Provenance::of_hessian(subject, &self.hessian.on, curvature.which, computed)?;
        provenance.hvp = curvature.hvp();
        Ok(Some(taken.placed(|_| provenance)))
    }

    fn table(found: &Taken<Layers>) -> String {
        let mut table = Table::new(1, HEADS);
        found.layers.iter().for_each(|layer| table.row(layer.row()));
        let dim = found.provenance.computed.dim;
        let over_size = short(found.trace.value / dim as f64);
        table.row(["all".into(), dim.to_string(), String::new(), with_error(&found.trace), over_size]);
        let mut lines = vec![table.text()];
        if found.stop == Stop::Interrupted {
            let probes = found.trace.probes;
            lines.insert(0, format!("interrupted: of {probes} probes and the eigenvalues completed by then"));
        }
        lines.push(paragraph(
            "(traces +- one standard error of the probes, eigenvalues +- residual; mean |diag| from at least |trace|/size to \
             at most the root mean square, rms diag [95 % interval]: free of the probes' noise in a single entry, whose \
             standard error is entries' error)",
        ));
        if found.layers.iter().any(|l| l.lambda_max.as_ref().is_some_and(|m| !m.converged)) {
            lines.push("(*) at least this: the residual did not reach --rel-tol: raise --max-matvecs".into());
        }
        lines.join("\n")
    }
}

/// Heads of the table; the largest eigenvalues stand beside the traces as far as there is place.
const HEADS: [&str; 9] =
    ["layer", "size", "||w||", "trace", "trace/size", "lambda_max", "mean |diag|", "rms diag", "entries' error"];

impl Layer {
    fn row(&self) -> [String; HEADS.len()] {
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
            largest,
            format!("{} to {most}", short(at_least)),
            rms,
            self.diagonal_std_error.map_or("(one probe)".into(), short),
        ]
    }
}

fn with_error(e: &Estimate) -> String {
    e.std_error
        .map_or_else(|| format!("{} (one probe)", short(e.value)), |x| format!("{} +- {}", short(e.value), short(x)))
}
