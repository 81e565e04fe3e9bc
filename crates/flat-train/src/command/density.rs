//! `flat-train metrics density`.

use super::print_measured;
use crate::args::{DensityArgs, QuadratureArgs};
use crate::exit::Outcome;
use crate::svg;
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{Density, Error, Estimate, Measured, Progress, SpectralDensity, Stop};
use flat_run::measure::card::{Card, Carded};
use flat_run::measure::which::Which;
use flat_run::parts::subject::Subject;
use flat_run::settings::args::HessianArgs;
use flat_run::signal;
use flat_run::store::file::write_with_folders;
use flat_run::ui::Ui;
use flat_run::usage::flag_of;
use flat_run::value::number::short;

/// Estimates, draws and prints the spectral density.
pub(super) fn run(args: &DensityArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let estimator = SpectralDensity::new(args.quadrature.config()).map_err(flag_of)?;
    if let Some(file) = &args.plot {
        svg::check_name("--plot", file)?;
    }
    let subject = Subject::to_measure(&args.hessian.on)?.announced(ui);
    let Some(found) = estimate(&subject, &args.hessian, &estimator, &args.quadrature, ui)? else {
        return Ok(Outcome::Interrupted);
    };
    if let Some(file) = &args.plot {
        let r = &found.report;
        let drawn = flat_plot::Density {
            grid: &r.grid,
            density: &r.density,
            band: &r.band,
            dim: r.provenance.dim,
            sigma: r.sigma,
            effort: [r.quadratures.len(), r.config.steps],
        };
        write_with_folders(file, flat_plot::density(&drawn, &svg::heading(&found.card))?.as_bytes())?;
        ui.say(format!("drawn: {}", file.display()));
    }
    print_measured(json, found.report.stop == Stop::Interrupted, &found, || {
        format!("{}\n{}", table(&found.report), found.card.line())
    })
}

/// Estimates; of the probes completed where a signal asks to stop, `None` before the first.
pub(super) fn estimate(
    subject: &Subject,
    hessian: &HessianArgs,
    estimator: &SpectralDensity,
    quadrature: &QuadratureArgs,
    ui: Ui,
) -> Result<Option<Carded<Measured<Density>>>> {
    let which = Which::of(hessian);
    let most = quadrature.probes.saturating_mul(quadrature.steps.min(subject.model.params().layout().len()) as u64);
    let mut bar = ui.bar("spectral density", 0, most, "products");
    let report = which.hessian(&subject.model, subject.loss, &subject.data, |operator| {
        estimator.run(operator, &Streams::new(subject.seed(hessian)), &mut |p: &Progress| {
            bar.update(p.done, || {
                p.range.map_or(String::new(), |[lo, hi]| format!("eigenvalues {} to {}", short(lo), short(hi)))
            });
            signal::go_on()
        })
    });
    drop(bar);
    let report = match report {
        Err(Error::Interrupted) => return Ok(None),
        report => report.map_err(flag_of)?,
    };
    let mut card = Card::new(subject, hessian);
    (card.matvecs, card.wall_s) = (report.effort.matvecs, report.effort.wall_s);
    Ok(Some(Carded { card, report }))
}

/// A value with its interval.
pub(super) fn interval(e: &Estimate) -> String {
    match e.ci95 {
        Some([lo, hi]) => format!("{:<10}  [{}, {}]", short(e.value), short(lo), short(hi)),
        None => format!("{:<10}  (no interval from one probe)", short(e.value)),
    }
}

/// Edges, moments and ranks.
pub(super) fn table(report: &Measured<Density>) -> String {
    let d = report.provenance.dim as f64;
    let [lo, hi] = report.range;
    let mut rows = vec![
        (
            "eigenvalues".to_string(),
            format!("from {} at most to {} at least (outermost Ritz values)", short(lo), short(hi)),
        ),
        ("smoothing".to_string(), format!("Gaussian, sigma {:.3e}", report.sigma)),
    ];
    let names = ["", "tr H", "tr H^2", "tr H^3"];
    rows.extend(names.iter().zip(&report.moments).skip(1).map(|(name, m)| (name.to_string(), interval(&m.scaled(d)))));
    let rank = &report.rank;
    let ranks = [
        ("rank r, exp of the entropy", &rank.entropy),
        ("rank, tr^2 / tr H^2", &rank.participation),
        ("curvature score, tr / sqrt(r)", &rank.curvature_score),
        ("the same by its authors' code, tr / r", &rank.curvature_score_code),
    ];
    rows.extend(ranks.map(|(name, e)| (name.to_string(), interval(e))));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect();
    if report.stop == Stop::Interrupted {
        let (done, of) = (report.quadratures.len(), report.config.probes);
        lines.insert(0, format!("interrupted: of {done} of {of} probes"));
    }
    lines.push(
        "([95 % intervals] by the spread of the probes; 82 to 93 % where one eigenvalue carries half of the trace)"
            .into(),
    );
    lines.join("\n")
}
