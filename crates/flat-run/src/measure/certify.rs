//! The certificate of Ahn et al. 2024 for a checkpoint: flat, not flat, no minimum, or undecided.

use super::hessian_method::HessianMethod;
use super::interface::{InAll, Measure, Shared};
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::signal;
use crate::ui::Ui;
use crate::usage::flags_of;
use crate::value::number::{digits, short};
use crate::value::table::pairs;
use anyhow::Result;
use candle_core::DType;
use flat_core::Streams;
use flat_metrics::{
    Certificate, CertificateConfig, Error, Judgement, Known, Progress, SpectrumReport, Stage, Stop, Verdict,
};

flat_core::settings! {
    /// Flags of `metrics certify`; f64 is the right element type here.
    #[derive(Debug, Clone)]
    pub struct CertifyArgs {}
    with {
        /// What is certified, and how far the flow is followed.
        config: CertificateConfig;
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

impl Measure for CertifyArgs {
    const NAME: &'static str = "certify";
    const ABOUT: &'static str = "Whether the checkpoint is (eps, eps')-flat in the sense of Ahn et al. 2024, with the intervals \
                                 it rests on";
    const IN_ALL: Option<InAll> = Some(InAll {
        title: Some("Certificate"),
        key: Some("certificate"),
        asked_by: Some(("certify", "Certify (eps, eps')-flatness too, the most costly part")),
        flags: &[
            Shared::same("eps"),
            Shared::same("eps-prime"),
            Shared::same("grad-tol"),
            Shared::same("max-gradients"),
        ],
    });

    type Found = Judgement;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    fn validate(&self) -> Result<()> {
        Certificate::new(self.config.clone()).map_err(|e| flags_of(e, &[])).map(|_| ())
    }

    /// `None` where a signal asked to stop before the first gradient, a partial report where it did so later.
    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<Judgement>>> {
        let certificate = Certificate::new(self.config.clone()).map_err(|e| flags_of(e, &[]))?;
        let which = HessianMethod::of(&self.hessian);
        let objective = which.objective(&subject.model, subject.loss, &subject.data)?;
        let streams = Streams::new(subject.seed(&self.hessian));
        let most = self.config.flow.max_gradients;
        let (mut bar, mut stage) = (ui.bar("gradient flow", 0, most, "gradients and products at most"), Stage::Flow);
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
        let report = match report {
            Err(Error::Interrupted) => return Ok(None),
            report => report.map_err(|e| flags_of(e, &[]))?,
        };
        let mut provenance = Provenance::of_hessian(subject, &self.hessian.on, which, report.provenance.clone())?;
        provenance.source.notes.extend(notes(subject));
        Ok(Some(report.placed(|_| provenance)))
    }

    fn table(found: &Taken<Judgement>) -> String {
        table(found)
    }
}

/// What the intervals do not show.
fn notes(subject: &LoadedCheckpoint) -> Vec<String> {
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
fn table(r: &Judgement) -> String {
    let verdict = match r.verdict {
        Verdict::Flat => "flat",
        Verdict::NotFlat => "not flat",
        Verdict::NotAMinimum => "not a local minimum",
        _ => "undecided",
    };
    let left = r.flow.left.map_or("unknown".into(), |left| format!("about {left:.1e}"));
    let mut rows = vec![
        ("verdict", format!("{verdict}: {}", r.reason.naming(|setting| format!("--{}", setting.replace('_', "-"))))),
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
    pairs(rows)
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
