//! `flat-train metrics all`.

use super::{certify, density, dimension, metrics, print, sharpness};
use crate::args::{AllArgs, BallArgs, EstimatorName, GeometryName, NoiseName, OperatorName};
use crate::card::{Card, Carded};
use crate::curvature::Curvature;
use crate::exit::{Outcome, flag_of};
use crate::flatness::{self, Settings, Which};
use crate::subject::Subject;
use crate::trace_summary::TraceSummary;
use crate::ui::Ui;
use anyhow::Result;
use flat_metrics::{
    Certificate, CertificateReport, DensityReport, IntrinsicDimension, LanczosConfig, SpectralDensity, TraceConfig,
    TwoNn,
};
use serde::Serialize;
use std::time::Instant;

/// Every measure of one checkpoint.
#[derive(Debug, Serialize)]
struct Report {
    /// The trace with its layers.
    trace: TraceSummary,
    /// As `metrics eig --json`.
    eig: serde_json::Value,
    /// The spectral density.
    density: DensityReport,
    /// The sharpness.
    sharpness: sharpness::SharpnessList,
    /// Intrinsic dimension of the hidden states.
    dimension: IntrinsicDimension,
    /// The certificate, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateReport>,
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
        .map_err(flatness::flags)?;
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
    let Some(trace) = flatness::trace(&subject.model, subject.loss, &subject.data, &settings, ui)? else {
        return Ok(Outcome::Interrupted);
    };
    let config = LanczosConfig {
        top: args.top,
        bottom: args.bottom,
        rel_tol: metrics::eigen_tolerance(&subject),
        ..LanczosConfig::default()
    };
    let Some(eig) = metrics::eigenvalues(&subject, hessian, config, ui)? else { return Ok(Outcome::Interrupted) };
    let Some(density) = density::estimate(&subject, hessian, &estimator, &args.quadrature, ui)? else {
        return Ok(Outcome::Interrupted);
    };
    let Some(sharpness) = sharpness::measure(&subject, hessian, &ball, ui)? else { return Ok(Outcome::Interrupted) };
    let Some(dimension) = dimension::estimate(&subject, &hessian.on, hessian.bn_mode, &TwoNn::default(), ui)? else {
        return Ok(Outcome::Interrupted);
    };
    let certificate = match args.certify {
        false => None,
        true => match certify::certify(&subject, hessian, &certificate, args.bounds.max_gradients, ui)? {
            None => return Ok(Outcome::Interrupted),
            found => found,
        },
    };
    let mut card = Card::new(&subject, hessian);
    let cards = [&density.card, &sharpness.card, &dimension.card];
    let cards = cards.into_iter().chain(certificate.as_ref().map(|c| &c.card));
    card.matvecs = trace.trace.matvecs + eig.matvecs;
    for part in cards {
        card.matvecs += part.matvecs;
        card.gradients += part.gradients;
        card.losses += part.losses;
    }
    card.wall_s = started.elapsed().as_secs_f64();
    let text = || {
        let mut parts = vec![
            ("Trace", trace.table()),
            ("Extreme eigenvalues", metrics::eigenvalue_table(&eig)),
            ("Spectrum", density::table(&density.report)),
            ("Sharpness", sharpness::table(&sharpness.report)),
            ("Hidden states", dimension::line(&dimension.report)),
        ];
        parts.extend(certificate.as_ref().map(|c| ("Certificate", certify::table(&c.report))));
        let parts: Vec<String> = parts.into_iter().map(|(title, table)| format!("{title}\n{table}\n")).collect();
        format!("{}\n{}", parts.join("\n"), card.line())
    };
    if !json {
        return print(false, &(), text);
    }
    let report = Report {
        eig: metrics::eigenvalue_json(&eig)?,
        density: density.report,
        sharpness: sharpness.report,
        dimension: dimension.report,
        certificate: certificate.map(|c| c.report),
        trace,
    };
    print(true, &Carded { card, report }, String::new)
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
