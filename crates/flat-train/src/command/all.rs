//! `flat-train metrics all`.

use super::{certify, density, dimension, metrics, print_measured, sharpness};
use crate::args::{AllArgs, BallArgs, GeometryName, NoiseName};
use crate::exit::Outcome;
use anyhow::Result;
use flat_metrics::{
    Certificate, Density, IntrinsicDimension, Judgement, LanczosConfig, Measured, SpectralDensity, Stop, TraceConfig,
    TwoNn,
};
use flat_run::measure::card::{Card, Carded};
use flat_run::measure::curvature::Curvature;
use flat_run::measure::flatness;
use flat_run::measure::trace_settings::Settings;
use flat_run::measure::trace_summary::TraceSummary;
use flat_run::measure::which::Which;
use flat_run::parts::subject::Subject;
use flat_run::settings::args::{EstimatorName, OperatorName};
use flat_run::ui::Ui;
use flat_run::usage::flag_of;
use serde::Serialize;
use std::time::Instant;

/// Every measure of one checkpoint; those taken by then where a signal asked to stop.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The trace with its layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceSummary>,
    /// As `metrics eig --json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    eig: Option<serde_json::Value>,
    /// The spectral density.
    #[serde(skip_serializing_if = "Option::is_none")]
    density: Option<Measured<Density>>,
    /// The sharpness.
    #[serde(skip_serializing_if = "Option::is_none")]
    sharpness: Option<sharpness::SharpnessList>,
    /// Intrinsic dimension of the hidden states.
    #[serde(skip_serializing_if = "Option::is_none")]
    dimension: Option<Measured<IntrinsicDimension>>,
    /// The certificate, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Measured<Judgement>>,
    /// A signal ended it.
    interrupted: bool,
}

/// What was measured so far: the reports, their texts, and the card of the whole.
struct Taken {
    report: Report,
    texts: Vec<(&'static str, String)>,
    card: Card,
}

impl Taken {
    /// Adds the cost and the text of a measure and hands its report on.
    fn add<T>(&mut self, title: &'static str, found: Carded<T>, text: impl FnOnce(&T) -> String) -> T {
        self.card.matvecs += found.card.matvecs;
        self.card.gradients += found.card.gradients;
        self.card.losses += found.card.losses;
        self.texts.push((title, text(&found.report)));
        found.report
    }
}

/// Takes every measure on one loaded subject.
pub(super) fn run(args: &AllArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let hessian = &args.hessian;
    let estimator = SpectralDensity::new(args.quadrature.config()).map_err(flag_of)?;
    let ball = ball(args.rho);
    sharpness::check(&ball)?;
    let certificate = Certificate::new(args.bounds.config()).map_err(flag_of)?;
    LanczosConfig { top: args.top, bottom: args.bottom, ..LanczosConfig::default() }
        .validated()
        .map_err(flat_run::measure::trace_settings::flags)?;
    let (started, subject) = (Instant::now(), Subject::to_measure(&hessian.on)?.announced(ui));
    let which = Which::of(hessian);
    let settings = Settings {
        probes: TraceConfig::fixed(args.trace_probes),
        seed: subject.seed(hessian),
        curvature: Curvature { which, operator: OperatorName::Hessian },
        estimator: EstimatorName::Hutchinson,
        radius: None,
        data: subject.data_in_words(),
        notes: subject.assumed.iter().cloned().collect(),
    };
    let mut taken = Taken { report: Report::default(), texts: Vec::new(), card: Card::new(&subject, hessian) };
    let complete = measure(args, &subject, &settings, (&estimator, &ball, &certificate), &mut taken, ui)?;
    if taken.texts.is_empty() {
        return Ok(Outcome::Interrupted);
    }
    let Taken { mut report, mut texts, mut card } = taken;
    card.wall_s = started.elapsed().as_secs_f64();
    report.interrupted = !complete;
    if !complete {
        texts.insert(0, ("Interrupted", "what was measured by then".into()));
    }
    let text = || {
        let parts: Vec<String> = texts.iter().map(|(title, table)| format!("{title}\n{table}\n")).collect();
        format!("{}\n{}", parts.join("\n"), card.line())
    };
    let found = Carded { card: card.clone(), report };
    print_measured(json, !complete, &found, text)
}

/// Takes the measures one after the other; false where a signal ended it.
fn measure(
    args: &AllArgs,
    subject: &Subject,
    settings: &Settings,
    (estimator, ball, certificate): (&SpectralDensity, &BallArgs, &Certificate),
    taken: &mut Taken,
    ui: Ui,
) -> Result<bool> {
    let hessian = &args.hessian;
    let Some(trace) = flatness::measure(&subject.model, subject.loss, &subject.data, settings, ui)? else {
        return Ok(false);
    };
    taken.card.matvecs += trace.trace.matvecs;
    taken.texts.push(("Trace", trace.table()));
    let interrupted = trace.interrupted();
    taken.report.trace = Some(trace);
    if interrupted {
        return Ok(false);
    }
    let config = LanczosConfig {
        top: args.top,
        bottom: args.bottom,
        rel_tol: metrics::eigen_tolerance(subject),
        ..LanczosConfig::default()
    };
    let Some(eig) = metrics::eigenvalues(subject, hessian, config, ui)? else { return Ok(false) };
    taken.card.matvecs += eig.effort.matvecs;
    taken.texts.push(("Extreme eigenvalues", metrics::eigenvalue_table(&eig)));
    taken.report.eig = Some(metrics::eigenvalue_json(&eig)?);
    if eig.stop == Stop::Interrupted {
        return Ok(false);
    }
    let Some(found) = density::estimate(subject, hessian, estimator, &args.quadrature, ui)? else { return Ok(false) };
    let found = taken.add("Spectrum", found, density::table);
    let interrupted = found.stop == Stop::Interrupted;
    taken.report.density = Some(found);
    if interrupted {
        return Ok(false);
    }
    let Some(found) = sharpness::measure(subject, hessian, ball, ui)? else { return Ok(false) };
    let found = taken.add("Sharpness", found, sharpness::table);
    let interrupted = found.interrupted;
    taken.report.sharpness = Some(found);
    if interrupted {
        return Ok(false);
    }
    let Some(found) = dimension::estimate(subject, &hessian.on, hessian.bn_mode, &TwoNn::default(), ui)? else {
        return Ok(false);
    };
    taken.report.dimension = Some(taken.add("Hidden states", found, |d| dimension::line(d)));
    if args.certify {
        let found = certify::certify(subject, hessian, certificate, args.bounds.max_gradients, ui)?;
        let Some(found) = found else { return Ok(false) };
        taken.report.certificate = Some(taken.add("Certificate", found, |r| certify::table(r)));
    }
    Ok(true)
}

/// All measures of sharpness in the Euclidean norm, with the defaults of `metrics sharpness`.
fn ball(rho: f64) -> BallArgs {
    BallArgs {
        measures: None,
        rho: Some(rho),
        geometry: GeometryName::L2,
        eta: None,
        m: 128,
        noise: NoiseName::Sphere,
        pairs: 16,
        steps: 20,
        starts: 3,
        sigma: 0.01,
        epsilon: 1e-3,
    }
}
