//! `flat-train metrics sharpness`.

use super::print_measured;
use crate::args::{BallArgs, SharpnessArgs, SharpnessName};
use crate::exit::Outcome;
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{Error, Geometry, Measured, Progress, Rise, Sharpness, Stop};
use flat_run::measure::card::{Card, Carded};
use flat_run::measure::which::Which;
use flat_run::parts::setup;
use flat_run::parts::subject::Subject;
use flat_run::settings::args::HessianArgs;
use flat_run::signal;
use flat_run::ui::Ui;
use flat_run::usage::{flag_of, usage};
use serde::Serialize;

/// All measures of one checkpoint.
#[derive(Debug, Serialize)]
pub(super) struct SharpnessList {
    /// One report a measure.
    pub measures: Vec<Measured<Rise>>,
    /// A signal ended it: the measures completed by then.
    pub interrupted: bool,
}

/// Measures and prints the sharpness.
pub(super) fn run(args: &SharpnessArgs, ui: Ui, json: bool) -> Result<Outcome> {
    check(&args.ball)?;
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    match measure(&subject, &args.hessian, &args.ball, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(found) => print_measured(json, found.report.interrupted, &found, || {
            format!("{}\n{}", table(&found.report), found.card.line())
        }),
    }
}

/// Refuses what makes no sense or would be ignored, before any work is spent.
pub(super) fn check(args: &BallArgs) -> Result<()> {
    let list = args.list();
    if list.is_empty() {
        return Err(usage("--measures: name at least one"));
    }
    for sharpness in list {
        sharpness.validated().map_err(flag_of)?;
    }
    if args.eta.is_some() && !args.adaptive() {
        return Err(usage("--eta has no effect here: it needs --geometry adaptive-l2 or adaptive-linf"));
    }
    if args.infinity() && args.measures.as_ref().is_some_and(|m| m.contains(&SharpnessName::Average)) {
        return Err(usage(
            "--measures average: its mean square is a Euclidean radius; use --geometry l2 or adaptive-l2",
        ));
    }
    Ok(())
}

/// Measures; what there is by then where a signal asks to stop, `None` before the first number.
pub(super) fn measure(
    subject: &Subject,
    hessian: &HessianArgs,
    args: &BallArgs,
    ui: Ui,
) -> Result<Option<Carded<SharpnessList>>> {
    let which = Which::of(hessian);
    let list = args.list();
    let most = list.iter().map(Sharpness::max_evaluations).sum();
    let whole = which.objective(&subject.model, subject.loss, &subject.data)?;
    let space = subject.model.params().space();
    let split = subject.data.split().clone();
    let loader = setup::plain_loader(split, subject.pixels.clone(), args.m as usize, space.dtype, &space.device)?;
    let batches = which.objective(&subject.model, subject.loss, &loader)?;
    let mut bar = ui.bar("sharpness", 0, most, "evaluations");
    let (mut measures, mut before, wanted) = (Vec::new(), 0, list.len());
    for sharpness in list {
        let objective = if matches!(sharpness, Sharpness::PerBatch { .. }) { &batches } else { &whole };
        let report = sharpness.run(objective, &Streams::new(subject.seed(hessian)), &mut |p: &Progress| {
            bar.update(before + p.done, || name(&sharpness).0);
            signal::go_on()
        });
        match report {
            Err(Error::Interrupted) => break,
            Err(e) => return Err(flag_of(e)),
            Ok(report) => measures.push(report),
        }
        if signal::stop_requested() {
            break;
        }
        before += sharpness.max_evaluations();
    }
    drop(bar);
    if measures.is_empty() {
        return Ok(None);
    }
    let interrupted = measures.len() < wanted || measures.iter().any(|m| m.stop == Stop::Interrupted);
    let mut card = Card::new(subject, hessian);
    card.hvp = None;
    card.gradients = measures.iter().map(|m| m.effort.gradients).sum();
    card.losses = measures.iter().map(|m| m.effort.losses).sum();
    card.wall_s = measures.iter().map(|m| m.effort.wall_s).sum();
    Ok(Some(Carded { card, report: SharpnessList { measures, interrupted } }))
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

/// A line a measure.
pub(super) fn table(list: &SharpnessList) -> String {
    let mut rows = vec![format!("{:<24}  {:<28}  {:>12}  95 % interval or starts", "measure", "radius", "value")];
    if let Some(first) = list.measures.first() {
        rows.insert(0, format!("loss at the weights  {:.6e}", first.loss));
    }
    for m in &list.measures {
        let (name, radius) = name(&m.sharpness);
        let spread = match (&m.estimate, m.starts.as_slice()) {
            (Some(e), _) => {
                e.ci95.map_or("no interval from one pair".into(), |[lo, hi]| format!("[{lo:.4e}, {hi:.4e}]"))
            }
            (None, []) => String::new(),
            (None, starts) => {
                let lowest = starts.iter().copied().fold(f64::INFINITY, f64::min);
                format!("{} ascents rise by {lowest:.4e} to {:.4e}", starts.len(), m.displaced - m.loss)
            }
        };
        let part = if m.stop == Stop::Interrupted { "  (interrupted)" } else { "" };
        rows.push(format!("{name:<24}  {radius:<28}  {:>12.4e}  {spread}{part}", m.value));
    }
    if list.interrupted {
        rows.insert(0, format!("interrupted: {} measures by then", list.measures.len()));
    }
    rows.join("\n")
}
