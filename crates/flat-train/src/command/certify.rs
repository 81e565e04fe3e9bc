//! `flat-train metrics certify`.

use super::print;
use crate::args::{CertifyArgs, HessianArgs};
use crate::card::{Card, Carded};
use crate::exit::{Outcome, flag_of};
use crate::flatness::Which;
use crate::signal;
use crate::subject::Subject;
use crate::ui::Ui;
use anyhow::Result;
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{Certificate, CertificateProgress, CertificateReport, Error, Stage, Verdict};

/// Certifies and prints.
pub(super) fn run(args: &CertifyArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let certificate = Certificate::new(args.config()).map_err(flag_of)?;
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    match certify(&subject, &args.hessian, &certificate, args.config().flow.max_gradients, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(found) => print(json, &found, || format!("{}\n{}", table(&found.report), found.card.line())),
    }
}

/// Certifies; `None` where a signal asked to stop.
pub(super) fn certify(
    subject: &Subject,
    args: &HessianArgs,
    certificate: &Certificate,
    max_gradients: u64,
    ui: Ui,
) -> Result<Option<Carded<CertificateReport>>> {
    let which = Which::of(args);
    let objective = which.objective(&subject.model, subject.loss, &subject.data)?;
    let streams = Streams::new(subject.seed(args));
    let (mut bar, mut stage) = (ui.bar("gradient flow", 0, max_gradients, "gradients at most"), Stage::Flow);
    let progress = &mut |p: &CertificateProgress| {
        if p.stage != stage {
            stage = p.stage;
            bar = match stage {
                Stage::Eigenvalues => ui.bar("eigenvalues at the limit", 0, p.of, "products at most"),
                _ => ui.bar("gradient of the trace", 0, p.of, "probes"),
            };
        }
        bar.update(p.done, || p.grad_norm.map_or(String::new(), |g| format!("||grad|| {g:.2e}")));
        signal::go_on()
    };
    let report = which.products(&objective, |hessian| certificate.run_watched(&objective, hessian, &streams, progress));
    drop(bar);
    match report {
        Err(Error::Interrupted) => Ok(None),
        Err(e) => Err(flag_of(e)),
        Ok(report) => {
            let mut card = Card::new(subject, args);
            (card.matvecs, card.gradients, card.wall_s) = (report.matvecs, report.gradients, report.wall_s);
            card.notes.extend(notes(subject));
            Ok(Some(Carded { card, report }))
        }
    }
}

/// What the intervals do not show.
fn notes(subject: &Subject) -> Vec<String> {
    let mut notes = Vec::new();
    if subject.model.config().has_kinks() {
        notes.push(
            "the kinks of ReLU and max pooling have no third derivative: the projected gradient counts those that the probes \
             cross and grows as --rho falls; the theory asks for a smooth network, such as --activation tanh or gelu"
                .into(),
        );
    }
    if subject.model.params().space().dtype == DType::F32 {
        notes.push("in f32 the rounding common to all probes is in no interval; use --dtype f64".into());
    }
    notes
}

/// The verdict and what it rests on.
pub(super) fn table(r: &CertificateReport) -> String {
    let verdict = match r.verdict {
        Verdict::Flat => "flat",
        Verdict::NotFlat => "not flat",
        _ => "undecided",
    };
    let [near, far] = r.distance_interval;
    let [lo, hi] = r.projected_norm_ci95;
    let value = |x: Option<f64>| x.map_or("none".to_string(), |x| format!("{x:.4e}"));
    let whole = r.gradient_norm_squared.value.max(0.0).sqrt();
    let rows = [
        ("verdict", format!("{verdict}: {}", r.reason)),
        ("bounds", format!("eps {}, eps' {}", r.config.eps, r.config.eps_prime)),
        ("||x - Phi(x)||", format!("{:.6}  [{near:.6}, {far:.6}]", r.distance)),
        ("||P grad tr(H)/d||", format!("{:.4e}  [{lo:.4e}, {hi:.4e}]", r.projected_norm)),
        ("without projection", format!("{whole:.4e}")),
        ("f(x) - f(Phi(x))", format!("{:.4e} of {:.4e}", r.loss_gap, r.loss)),
        ("||grad f||", format!("{:.4e} at x, {:.4e} at Phi(x)", r.grad_norm, r.grad_norm_limit)),
        ("flow", format!("{} steps, {} gradients, stopped by {:?}", r.flow.steps, r.flow.gradients, r.flow.stopped_by)),
        ("eigenspace removed", format!("r = {}, gap {} to {}", r.rank, value(r.gap[0]), value(r.gap[1]))),
        ("probes", format!("{} of radius {:.3e}", r.config.probes, r.rho)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<19}  {value}")).collect::<Vec<_>>().join("\n")
}
