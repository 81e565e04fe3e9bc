//! The density of all eigenvalues, with moments and effective ranks.

mod score;

use super::along::Along;
use super::hessian_method::HessianMethod;
use super::interface::{InAll, Measure, Shared};
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::signal;
use crate::store::file::write_with_folders;
use crate::ui::Ui;
use crate::usage::{check_svg, flags_of};
use crate::value::number::short;
use crate::value::table::{pairs, paragraph};
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{Density, DensityConfig, Error, Estimate, Progress, SpectralDensity, Stop};
use std::path::PathBuf;

flat_core::settings! {
    /// Flags of `metrics density`.
    #[derive(Debug, Clone)]
    pub struct DensityArgs {
        /// Draw the density with its band into this SVG file.
        plot as "plot": Option<PathBuf> = None, metavar: "FILE.svg", aliases: &["out"];
    }
    with {
        /// How to estimate.
        config: DensityConfig;
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

impl Measure for DensityArgs {
    const NAME: &'static str = "density";
    const ABOUT: &'static str = "Density of all eigenvalues of the Hessian by stochastic Lanczos quadrature, with moments and \
                                 effective ranks";
    const IN_ALL: Option<InAll> = Some(InAll {
        title: Some("Spectrum"),
        flags: &[Shared::same("probes"), Shared::same("steps"), Shared::same("width"), Shared::same("points")],
        ..InAll::PLAIN
    });
    const ALONG: Option<Along> = Some(Along {
        name: "score",
        title: "Curvature score, tr H / sqrt(rank)",
        band: "the 95 % interval of its probes",
        take: score::along,
    });

    type Found = Density;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    fn validate(&self) -> Result<()> {
        SpectralDensity::new(self.config.clone()).map_err(|e| flags_of(e, &[]))?;
        self.plot.as_ref().map_or(Ok(()), |file| check_svg("--plot", file))
    }

    /// Of the probes completed where a signal asks to stop, `None` before the first.
    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<Density>>> {
        let estimator = SpectralDensity::new(self.config.clone()).map_err(|e| flags_of(e, &[]))?;
        let which = HessianMethod::of(&self.hessian);
        let steps = self.config.steps.min(subject.model.params().layout().len()) as u64;
        let mut bar = ui.bar("spectral density", 0, self.config.probes.saturating_mul(steps), "products");
        let report = which.hessian(&subject.model, subject.loss, &subject.data, |operator| {
            estimator.run(operator, &Streams::new(subject.seed(&self.hessian)), &mut |p: &Progress| {
                bar.update(p.done, || {
                    p.range.map_or(String::new(), |[lo, hi]| format!("eigenvalues {} to {}", short(lo), short(hi)))
                });
                signal::go_on()
            })
        });
        drop(bar);
        let report = match report {
            Err(Error::Interrupted) => return Ok(None),
            report => report.map_err(|e| flags_of(e, &[]))?,
        };
        let provenance = Provenance::of_hessian(subject, &self.hessian.on, which, report.provenance.clone())?;
        Ok(Some(report.placed(|_| provenance)))
    }

    fn table(found: &Taken<Density>) -> String {
        table(found)
    }

    /// Draws the density.
    fn keep(&self, found: &Taken<Density>, ui: Ui) -> Result<()> {
        let Some(file) = &self.plot else { return Ok(()) };
        let drawn = flat_plot::Density {
            grid: &found.grid,
            density: &found.density,
            band: &found.band,
            dim: found.provenance.computed.dim,
            sigma: found.sigma,
            effort: [found.quadratures.len(), found.config.steps],
        };
        write_with_folders(file, flat_plot::density(&drawn, &found.provenance.heading())?.as_bytes())?;
        ui.say(format!("drawn: {}", file.display()));
        Ok(())
    }
}

/// A value with its interval.
fn interval(e: &Estimate) -> String {
    match e.ci95 {
        Some([lo, hi]) => format!("{:<10}  [{}, {}]", short(e.value), short(lo), short(hi)),
        None => format!("{:<10}  (no interval from one probe)", short(e.value)),
    }
}

/// Edges, moments and ranks.
fn table(report: &Taken<Density>) -> String {
    let d = report.provenance.computed.dim as f64;
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
    let mut lines = vec![pairs(rows)];
    if report.stop == Stop::Interrupted {
        let (done, of) = (report.quadratures.len(), report.config.probes);
        lines.insert(0, format!("interrupted: of {done} of {of} probes"));
    }
    lines.push(paragraph(
        "([95 % intervals] by the spread of the probes; 82 to 93 % where one eigenvalue carries half of the trace)",
    ));
    lines.join("\n")
}
