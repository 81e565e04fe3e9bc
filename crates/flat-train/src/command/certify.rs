//! `flat-train metrics certify`.

use super::print;
use crate::args::CertifyArgs;
use crate::exit::Outcome;
use anyhow::Result;
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{Certificate, Error, Judgement, Known, Measured, Progress, SpectrumReport, Stage, Stop, Verdict};
use flat_run::measure::card::{Card, Carded};
use flat_run::measure::which::Which;
use flat_run::parts::subject::Subject;
use flat_run::settings::args::HessianArgs;
use flat_run::signal;
use flat_run::ui::Ui;
use flat_run::usage::flag_of;
use flat_run::value::number::{digits, short};

/// Certifies and prints.
pub(super) fn run(args: &CertifyArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let certificate = Certificate::new(args.config()).map_err(flag_of)?;
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    match certify(&subject, &args.hessian, &certificate, args.config().flow.max_gradients, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(found) => {
            let done = print(json, &found, || format!("{}\n{}", table(&found.report), found.card.line()))?;
            Ok(if found.report.stop == Stop::Interrupted { Outcome::Interrupted } else { done })
        }
    }
}

/// Certifies; `None` where a signal asked to stop before the first gradient, a partial report where it did so later.
pub(super) fn certify(
    subject: &Subject,
    args: &HessianArgs,
    certificate: &Certificate,
    max_gradients: u64,
    ui: Ui,
) -> Result<Option<Carded<Measured<Judgement>>>> {
    let which = Which::of(args);
    let objective = which.objective(&subject.model, subject.loss, &subject.data)?;
    let streams = Streams::new(subject.seed(args));
    let (mut bar, mut stage) =
        (ui.bar("gradient flow", 0, max_gradients, "gradients and products at most"), Stage::Flow);
    let progress = &mut |p: &Progress| {
        if p.stage != stage {
            stage = p.stage;
            bar = match stage {
                Stage::Spectrum => ui.bar("spectrum at the limit", 0, p.of, "products at most"),
                _ => ui.bar("slope of the trace", 0, p.of, "vectors"),
            };
        }
        bar.update(p.done, || p.value.map_or(String::new(), |g| format!("||grad|| {g:.2e}")));
        signal::go_on()
    };
    let report = which.products(&objective, |hessian| certificate.run(&objective, hessian, &streams, progress));
    drop(bar);
    match report {
        Err(Error::Interrupted) => Ok(None),
        Err(e) => Err(flag_of(e)),
        Ok(report) => {
            let mut card = Card::new(subject, args);
            (card.matvecs, card.gradients, card.wall_s) =
                (report.effort.matvecs, report.effort.gradients, report.effort.wall_s);
            card.notes.extend(notes(subject));
            Ok(Some(Carded { card, report }))
        }
    }
}

/// What the intervals do not show.
fn notes(subject: &Subject) -> Vec<String> {
    let mut notes = Vec::new();
    if subject.model.has_kinks() {
        notes.push(
            "ReLU and max pooling have no third derivatives at their kinks: the slope is that between them; the theory asks \
             for a smooth network, such as --activation tanh or gelu"
                .into(),
        );
    }
    if subject.model.params().space().dtype == DType::F32 {
        notes.push("in f32 rounding hides gradients and small eigenvalues; use --dtype f64".into());
    }
    notes
}

/// The verdict and what it rests on.
pub(super) fn table(r: &Judgement) -> String {
    let verdict = match r.verdict {
        Verdict::Flat => "flat",
        Verdict::NotFlat => "not flat",
        Verdict::NotAMinimum => "not a local minimum",
        _ => "undecided",
    };
    let left = r.flow.left.map_or("unknown".into(), |left| format!("about {left:.1e}"));
    let mut rows = vec![
        ("verdict", format!("{verdict}: {}", flags(&r.reason))),
        ("bounds", format!("eps {}, eps' {}", r.config.eps, eps_prime(r))),
        ("||x - Phi(x)||", known(r.distance, r.distance_known, r.distance_interval, "")),
        ("f(x) - f(Phi(x))", format!("at least {} of {}", short(r.loss_gap), short(r.loss))),
        ("||grad f||", format!("{} at x, {} where the flow ended", short(r.grad_norm), short(r.grad_norm_limit))),
        (
            "flow",
            format!(
                "{} steps, {} gradients, {} products, stopped by {}; error at most {:.1e} (estimated), left of the way {left}",
                r.flow.steps,
                r.flow.gradients,
                r.flow.matvecs,
                stop(r.flow.stop),
                r.flow.error
            ),
        ),
    ];
    if let Some(s) = &r.spectrum {
        rows.extend(spectrum(s));
    }
    if let Some(s) = &r.slope {
        let sure = if s.probes > 0 { " (95 %)" } else { "" };
        rows.push(("||P grad tr(H)/d||", known(s.value, s.known, s.interval, sure)));
        rows.push(("tr(H)/d", known(s.trace, Known::Interval, s.trace_interval, sure)));
        let drawn = if s.probes > 0 { format!(", {} probes", s.probes) } else { String::new() };
        rows.push(("third derivatives", format!("by differences of {:.1e}{drawn}", s.rho)));
    }
    rows.iter().map(|(name, value)| format!("{name:<19}  {value}")).collect::<Vec<_>>().join("\n")
}

/// The library's settings as flags.
fn flags(reason: &str) -> String {
    ["max_gradients", "max_matvecs", "rel_tol"]
        .iter()
        .fold(reason.to_string(), |text, name| text.replace(name, &format!("--{}", name.replace('_', "-"))))
}

fn stop(why: Stop) -> &'static str {
    match why {
        Stop::Arrived => "arrival",
        Stop::Budget => "--max-gradients",
        Stop::Rounding => "rounding",
        _ => "a signal",
    }
}

/// eps' and where it comes from.
fn eps_prime(r: &Judgement) -> String {
    match (r.config.eps_prime, r.eps_prime) {
        (Some(given), _) => given.to_string(),
        (None, Some([lo, hi])) => format!("sqrt(eps) tr(H)/d: {} to {}", short(lo), short(hi)),
        (None, None) => "sqrt(eps) tr(H)/d".into(),
    }
}

/// A number with its interval or bound.
fn known(value: f64, known: Known, [lo, hi]: [f64; 2], sure: &str) -> String {
    match known {
        Known::AtMost => format!("at most {}{sure}; {} by what was reached", short(hi), short(value)),
        Known::AtLeast => format!("at least {}{sure}; {} by what was reached", short(lo), short(value)),
        _ => format!("{}  [{}, {}]{sure}", digits(value, 7), digits(lo, 7), digits(hi, 7)),
    }
}

fn spectrum(s: &SpectrumReport) -> Vec<(&'static str, String)> {
    let [low, residual] = s.smallest;
    let least =
        s.smallest_at_least.map_or("not bounded from below".into(), |x| format!("at least {} (95 %)", short(x)));
    let top =
        s.largest.first().map_or("none".into(), |[value, residual]| format!("{} +- {residual:.1e}", short(*value)));
    let rank = match s.resolution {
        Some(resolution) => {
            format!("{}, the whole range; an eigenvalue missed is at most {resolution:.1e} (95 %)", s.rank)
        }
        None => format!("not reached: {} eigenvalues above zero found with {} products", s.rank, s.matvecs),
    };
    vec![
        ("largest eigenvalue", top),
        (
            "smallest eigenvalue",
            format!("at most {} +- {residual:.1e}, {least}; negative below {:.1e}", short(low), -s.doubt),
        ),
        ("rank", format!("{rank}; up to {:.1e} counts as zero", s.zero)),
    ]
}
