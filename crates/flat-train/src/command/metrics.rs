//! `flat-train metrics`.

use super::print_measured;
use crate::args::EigArgs;
use crate::exit::Outcome;
use anyhow::Result;
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{Eigenpairs, Error, Lanczos, LanczosConfig, Measured, Progress, Stop};
use flat_run::measure::curvature::Curvature;
use flat_run::measure::flatness;
use flat_run::measure::layers;
use flat_run::measure::trace_settings::{Settings, flags};
use flat_run::measure::which::Which;
use flat_run::parts::subject::Subject;
use flat_run::settings::args::{HessianArgs, LayersArgs, TraceArgs};
use flat_run::signal;
use flat_run::ui::Ui;
use flat_run::usage::usage;
use flat_run::value::number::{digits, short};
use serde_json::json;

/// Measures and prints a trace.
pub(super) fn trace(args: &TraceArgs, ui: Ui, json: bool) -> Result<Outcome> {
    Settings::of_args(args, None, String::new())?; // before the data is loaded
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    let mut settings = Settings::of_args(args, subject.run.as_ref(), subject.data_in_words())?;
    settings.notes.extend(subject.assumed.clone());
    match flatness::measure(&subject.model, subject.loss, &subject.data, &settings, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(summary) => print_measured(json, summary.interrupted(), &summary, || summary.table()),
    }
}

/// Measures and prints the curvature of every layer.
pub(super) fn layers(args: &LayersArgs, ui: Ui, json: bool) -> Result<Outcome> {
    Curvature::of_args(&args.hessian, &args.operator)?; // before the data is loaded
    if args.max_matvecs == 0 && args.rel_tol.is_some() {
        return Err(usage("--rel-tol has no effect here: it needs --max-matvecs above 0"));
    }
    if let Some(tol) = args.rel_tol.filter(|tol| !(tol.is_finite() && *tol > 0.0)) {
        return Err(usage(format!("--rel-tol {tol}: give a positive fraction, such as 0.01")));
    }
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    let data = subject.data_in_words();
    match layers::measure(&subject, args, data, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(report) => print_measured(json, report.interrupted, &report, || report.table()),
    }
}

/// Computes and prints the Hessian's extreme eigenvalues.
pub(super) fn eig(args: &EigArgs, ui: Ui, as_json: bool) -> Result<Outcome> {
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    let rel_tol = args.rel_tol.unwrap_or_else(|| eigen_tolerance(&subject));
    let config = LanczosConfig { top: args.top, bottom: args.bottom, max_matvecs: args.max_matvecs, rel_tol };
    match eigenvalues(&subject, &args.hessian, config, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(report) => {
            let interrupted = report.stop == Stop::Interrupted;
            print_measured(as_json, interrupted, &eigenvalue_json(&report)?, || eigenvalue_table(&report))
        }
    }
}

/// The residual at which eigenvalues are done where no flag says it, as a fraction of the largest.
pub(super) fn eigen_tolerance(subject: &Subject) -> f64 {
    if subject.model.params().space().dtype == DType::F64 { 1e-6 } else { 1e-4 }
}

/// Computes them; as far as the products go where a signal asks to stop, `None` with fewer products than eigenvalues.
pub(super) fn eigenvalues(
    subject: &Subject,
    hessian: &HessianArgs,
    config: LanczosConfig,
    ui: Ui,
) -> Result<Option<Measured<Eigenpairs>>> {
    let (max_matvecs, rel_tol) = (config.max_matvecs, config.rel_tol);
    let lanczos = Lanczos::new(config).map_err(flags)?;
    let which = Which::of(hessian);
    let mut bar = ui.bar("eigenvalues", 0, max_matvecs, "products at most");
    let report = which.hessian(&subject.model, subject.loss, &subject.data, |operator| {
        lanczos.run(operator, &Streams::new(subject.seed(hessian)), &mut |p: &Progress| {
            bar.update(p.done, || match (p.value, p.error) {
                (Some(top), Some(residual)) => format!("largest {}, residuals {residual:.1e}", short(top)),
                _ => String::new(),
            });
            signal::go_on()
        })
    });
    drop(bar);
    let report = match report {
        Err(Error::Interrupted) => return Ok(None),
        report => report.map_err(flags)?,
    };
    if !report.converged {
        ui.warn(format!(
            "not every residual reached {rel_tol:.0e} ({:?} after {} products): raise --max-matvecs or --rel-tol, or use --dtype f64",
            report.stop, report.effort.matvecs
        ));
    }
    Ok(Some(report))
}

/// The report with all eigenvalues in descending order.
pub(super) fn eigenvalue_json(report: &Measured<Eigenpairs>) -> Result<serde_json::Value> {
    let mut value = serde_json::to_value(report)?;
    let pairs = report.top.iter().chain(report.bottom.iter().rev());
    value["eigenvalues"] = pairs.map(|p| json!({ "value": p.value, "residual": p.residual })).collect();
    Ok(value)
}

/// A line an eigenvalue.
pub(super) fn eigenvalue_table(report: &Measured<Eigenpairs>) -> String {
    let mut rows = vec![format!("{:>14}  {:>9}", "eigenvalue", "residual")];
    if report.stop == Stop::Interrupted {
        rows.insert(0, format!("interrupted: of {} products", report.effort.matvecs));
    }
    rows.extend(report.top.iter().map(|p| format!("{:>14}  {:>9.1e}", digits(p.value, 7), p.residual)));
    if !report.bottom.is_empty() {
        rows.push(format!("{:>14}", "..."));
    }
    rows.extend(report.bottom.iter().rev().map(|p| format!("{:>14}  {:>9.1e}", digits(p.value, 7), p.residual)));
    let (of, cost) = (&report.provenance, &report.effort);
    let (examples, seed) = (of.examples.unwrap_or_default(), cost.seed.unwrap_or_default());
    rows.push(format!("({} products on {examples} images, {}, seed {seed})", cost.matvecs, of.dtype));
    rows.join("\n")
}
