//! The extreme eigenvalues of the Hessian.

use super::along::{Along, Moment};
use super::curvature::Curvature;
use super::hessian_method::HessianMethod;
use super::interface::{InAll, Measure, Shared};
use super::lambda_max::lambda_max;
use super::provenance::{Provenance, Taken};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::signal;
use crate::store::line::Point;
use crate::ui::{Reading, Shown, Ui};
use crate::usage::flags_of;
use crate::value::number::{digits, short};
use anyhow::Result;
use candle_core::DType;
use flat_core::Streams;
use flat_core::setting::Range;
use flat_metrics::{Eigenpairs, Error, Lanczos, LanczosConfig, Progress, Stop};
use serde::Serialize;

flat_core::settings! {
    /// Flags of `metrics eig`.
    #[derive(Debug, Clone)]
    pub struct EigArgs {
        /// Largest eigenvalues.
        top as "top": usize = LanczosConfig::default().top, metavar: "K";
        /// Smallest eigenvalues.
        bottom as "bottom": usize = LanczosConfig::default().bottom, metavar: "K";
        /// Hessian-vector products at most.
        max_matvecs as "max-matvecs": u64 = LanczosConfig::default().max_matvecs, range: Range::AtLeast(1);
        /// Stop when every residual is at most this fraction of the largest eigenvalue.
        rel_tol as "rel-tol": Option<f64> = None, range: Range::Positive, default_in_words: "1e-4 in f32, 1e-6 in f64";
    }
    with {
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

/// Eigenpairs at both ends of the spectrum.
#[derive(Debug, Serialize)]
pub struct Extremes {
    /// As the library reports them.
    #[serde(flatten)]
    pub pairs: Eigenpairs,
    /// All in descending order.
    pub eigenvalues: Vec<Eigenvalue>,
}

/// An eigenvalue.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Eigenvalue {
    /// The value.
    pub value: f64,
    /// Some eigenvalue of the operator is at most this far from it.
    pub residual: f64,
}

/// Products at most for a largest eigenvalue along a run, and the residual, as a fraction of it, at which they end: a curve
/// over training needs no more digits.
const PRODUCTS: u64 = 50;
const REL_TOL: f64 = 0.01;

impl EigArgs {
    fn config(&self, dtype: DType) -> LanczosConfig {
        let rel_tol = self.rel_tol.unwrap_or_else(|| tolerance(dtype));
        LanczosConfig { top: self.top, bottom: self.bottom, max_matvecs: self.max_matvecs, rel_tol }
    }
}

/// The residual at which eigenvalues are done where no flag says it, as a fraction of the largest.
pub fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-6 } else { 1e-4 }
}

/// The library's names of settings that are flags by another name.
const FLAGS: &[(&str, &str)] = &[("top + bottom", "top + --bottom")];

impl Measure for EigArgs {
    const NAME: &'static str = "eig";
    const ABOUT: &'static str =
        "Largest and smallest eigenvalues of the Hessian by Lanczos' method, with their residuals";
    const IN_ALL: Option<InAll> = Some(InAll {
        title: Some("Extreme eigenvalues"),
        flags: &[Shared::same("top"), Shared::same("bottom")],
        ..InAll::PLAIN
    });
    const ALONG: Option<Along> = Some(Along {
        name: "lambda_max",
        title: "Largest Hessian eigenvalue",
        band: "where, by the residual, an eigenvalue lies for certain",
        take: along,
    });

    type Found = Extremes;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    fn validate(&self) -> Result<()> {
        self.config(DType::F32).validated().map_err(|e| flags_of(e, FLAGS)).map(|_| ())
    }

    /// As far as the products go where a signal asks to stop, `None` with fewer products than eigenvalues.
    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<Extremes>>> {
        let config = self.config(subject.model.params().space().dtype);
        let (max_matvecs, rel_tol) = (config.max_matvecs, config.rel_tol);
        let lanczos = Lanczos::new(config).map_err(|e| flags_of(e, FLAGS))?;
        let which = HessianMethod::of(&self.hessian);
        let mut bar = ui.bar("eigenvalues", 0, max_matvecs, "products at most");
        let report = which.hessian(&subject.model, subject.loss, &subject.data, |operator| {
            lanczos.run(operator, &Streams::new(subject.seed(&self.hessian)), &mut |p: &Progress| {
                bar.update(p.done, || match (p.value, p.error) {
                    (Some(top), Some(residual)) => format!("largest {}, residuals {residual:.1e}", short(top)),
                    _ => String::new(),
                });
                bar.read(p.done, Reading::of_eigenvalue(p));
                signal::go_on()
            })
        });
        drop(bar);
        let report = match report {
            Err(Error::Interrupted) => return Ok(None),
            report => report.map_err(|e| flags_of(e, FLAGS))?,
        };
        if !report.converged {
            ui.warn(format!(
                "not every residual reached {rel_tol:.0e} ({:?} after {} products): raise --max-matvecs or --rel-tol, or use \
                 --dtype f64",
                report.stop, report.effort.matvecs
            ));
        }
        let provenance = Provenance::of_hessian(subject, &self.hessian.on, which, report.provenance.clone())?;
        let pairs = report.top.iter().chain(report.bottom.iter().rev());
        let eigenvalues: Vec<Eigenvalue> = pairs.map(|p| Eigenvalue { value: p.value, residual: p.residual }).collect();
        ui.show(Shown::Eigenvalues(&eigenvalues.iter().map(|found| found.value).collect::<Vec<_>>()));
        Ok(Some(report.map(|pairs| Extremes { pairs, eigenvalues }).placed(|_| provenance)))
    }

    /// A line an eigenvalue.
    fn table(found: &Taken<Extremes>) -> String {
        let mut rows = vec![format!("{:>14}  {:>9}", "eigenvalue", "residual")];
        if found.stop == Stop::Interrupted {
            rows.insert(0, format!("interrupted: of {} products", found.effort.matvecs));
        }
        let line = |p: &Eigenvalue| format!("{:>14}  {:>9.1e}", digits(p.value, 7), p.residual);
        let (top, bottom) = found.eigenvalues.split_at(found.pairs.top.len());
        rows.extend(top.iter().map(line));
        if !bottom.is_empty() {
            rows.push(format!("{:>14}", "..."));
        }
        rows.extend(bottom.iter().map(line));
        rows.join("\n")
    }
}

fn along(now: &Moment<'_>) -> Result<Option<Point>> {
    let mut bar = now.ui.bar("largest eigenvalue", 0, PRODUCTS, "products at most");
    let largest = Curvature::of_training().run(now.model, now.loss, now.data, |operator| {
        lambda_max(operator, PRODUCTS, REL_TOL, &Streams::new(now.config.seed), &mut |p: &Progress| {
            bar.update(p.done, String::new);
            signal::go_on()
        })
    });
    drop(bar);
    if signal::stop_requested() {
        return Ok(None);
    }
    Ok(Some(Point::new(&largest?)?))
}
