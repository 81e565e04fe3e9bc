//! How much the loss grows around the weights.

mod flags;

pub use flags::{SharpnessArgs, SharpnessName};

use super::hessian_method::HessianMethod;
use super::interface::{InAll, Measure, Shared};
use super::provenance::{Provenance, Taken};
use crate::parts::setup;
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::EvalArgs;
use crate::signal;
use crate::ui::Ui;
use crate::usage::{flags_of, usage};
use crate::value::number::digits;
use crate::value::table::Table;
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{Effort, Error, Geometry, Measured, Progress, Rise, Sharpness, Stop};
use serde::Serialize;

/// All measures of one checkpoint.
#[derive(Debug, Serialize)]
pub struct SharpnessList {
    /// One report a measure.
    pub measures: Vec<Measured<Rise>>,
}

impl Measure for SharpnessArgs {
    const NAME: &'static str = "sharpness";
    const ABOUT: &'static str = "How much the loss grows around the weights: worst case, average, SAM's step, m-sharpness, \
                                 filtered, Keskar's";
    const IN_ALL: Option<InAll> = Some(InAll {
        title: Some("Sharpness"),
        flags: &[Shared {
            flag: "rho",
            own: "rho",
            instead: Some(("Radius of the sharpness in the Euclidean norm", "0.05")),
        }],
        ..InAll::PLAIN
    });

    type Found = SharpnessList;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    fn validate(&self) -> Result<()> {
        let list = self.list();
        if list.is_empty() {
            return Err(usage("--measures: name at least one"));
        }
        for sharpness in list {
            sharpness.validated().map_err(|e| flags_of(e, &[]))?;
        }
        if self.infinity() && self.measures.as_ref().is_some_and(|m| m.contains(&SharpnessName::Average)) {
            return Err(usage(
                "--measures average: its mean square is a Euclidean radius; use --geometry l2 or adaptive-l2",
            ));
        }
        Ok(())
    }

    /// What there is by then where a signal asks to stop, `None` before the first number.
    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<SharpnessList>>> {
        let which = HessianMethod::of(&self.hessian);
        let list = self.list();
        let most = list.iter().map(Sharpness::max_evaluations).sum();
        let whole = which.objective(&subject.model, subject.loss, &subject.data)?;
        let space = subject.model.params().space();
        let (split, m) = (subject.data.split().clone(), self.m);
        let loader = setup::plain_loader(split, subject.pixels.clone(), m, space.dtype, &space.device)?;
        let batches = which.objective(&subject.model, subject.loss, &loader)?;
        let mut bar = ui.bar("sharpness", 0, most, "evaluations");
        let (mut measures, mut before, wanted) = (Vec::new(), 0, list.len());
        for sharpness in list {
            let objective = if matches!(sharpness, Sharpness::PerBatch { .. }) { &batches } else { &whole };
            let report = sharpness.run(objective, &Streams::new(subject.seed(&self.hessian)), &mut |p: &Progress| {
                bar.update(before + p.done, || name(&sharpness).0);
                signal::go_on()
            });
            match report {
                Err(Error::Interrupted) => break,
                Err(e) => return Err(flags_of(e, &[])),
                Ok(report) => measures.push(report),
            }
            if signal::stop_requested() {
                break;
            }
            before += sharpness.max_evaluations();
        }
        drop(bar);
        let Some(first) = measures.first() else { return Ok(None) };
        let computed = first.provenance.clone();
        let mut effort = Effort { seed: first.effort.seed, ..Effort::default() };
        measures.iter().for_each(|m| effort.add(&m.effort));
        let interrupted = measures.len() < wanted || measures.iter().any(|m| m.stop == Stop::Interrupted);
        Ok(Some(Measured {
            result: SharpnessList { measures },
            provenance: Provenance::of_subject(subject, &self.hessian.on, self.hessian.bn_mode, computed)?,
            effort,
            stop: Stop::interrupted_if(interrupted),
        }))
    }

    fn table(found: &Taken<SharpnessList>) -> String {
        table(found)
    }
}

/// Name and radius in words.
fn name(sharpness: &Sharpness) -> (String, String) {
    let ball = |rho: f64, geometry: &Geometry| match geometry {
        Geometry::L2 => format!("l2 {rho}"),
        Geometry::LInf => format!("linf {rho}"),
        Geometry::AdaptiveL2 { eta } => format!("adaptive-l2 {rho}, eta {eta}"),
        Geometry::AdaptiveLInf { eta } => format!("adaptive-linf {rho}, eta {eta}"),
    };
    match sharpness {
        Sharpness::FirstOrder { rho, geometry } => ("first-order".into(), ball(*rho, geometry)),
        Sharpness::PerBatch { rho, geometry } => ("per-batch (m-sharpness)".into(), ball(*rho, geometry)),
        Sharpness::Average { rho, adaptive: None, .. } => ("average".into(), format!("l2 {rho}")),
        Sharpness::Average { rho, adaptive: Some(eta), .. } => {
            ("average".into(), format!("adaptive-l2 {rho}, eta {eta}"))
        }
        Sharpness::Worst { rho, geometry, .. } => ("worst".into(), ball(*rho, geometry)),
        Sharpness::LowPass { sigma, .. } => ("low-pass (filtered loss)".into(), format!("sigma {sigma}")),
        Sharpness::Keskar { epsilon, .. } => ("keskar (percent)".into(), format!("epsilon {epsilon}")),
    }
}

/// Significant digits of the table.
const DIGITS: i32 = 5;

/// A line a measure.
fn table(list: &Taken<SharpnessList>) -> String {
    let mut rows = Vec::new();
    if let Some(first) = list.measures.first() {
        rows.push(format!("loss at the weights  {}", digits(first.loss, DIGITS)));
    }
    let mut table = Table::new(2, ["measure", "radius", "value", "95 % interval or starts"]);
    for m in &list.measures {
        let (name, radius) = name(&m.sharpness);
        let spread = match (&m.estimate, m.starts.as_slice()) {
            (Some(e), _) => e.ci95.map_or("none of one pair".into(), |[lo, hi]| {
                format!("[{}, {}]", digits(lo, DIGITS), digits(hi, DIGITS))
            }),
            (None, []) => String::new(),
            (None, starts) => {
                let lowest = starts.iter().copied().fold(f64::INFINITY, f64::min);
                let highest = m.displaced - m.loss;
                format!("{} rise by {} to {}", starts.len(), digits(lowest, DIGITS), digits(highest, DIGITS))
            }
        };
        let part = if m.stop == Stop::Interrupted { "  (interrupted)" } else { "" };
        table.row([name, radius, digits(m.value, DIGITS), format!("{spread}{part}")]);
    }
    rows.push(table.text());
    if list.stop == Stop::Interrupted {
        rows.insert(0, format!("interrupted: {} measures by then", list.measures.len()));
    }
    rows.join("\n")
}
