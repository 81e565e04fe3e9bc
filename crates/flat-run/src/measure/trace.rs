//! The trace of the Hessian of a model's loss on a data set, or of a relative of it.

mod flags;
mod found;
mod settings;

pub use flags::TraceArgs;
pub use found::{Probes, TraceFound, TraceRecord, text};
pub use settings::TraceSettings;

use super::along::{Along, Moment};
use super::document::Document;
use super::interface::{InAll, Measure, Shared};
use super::provenance::{Source, Taken};
use crate::parts::evaluate::{evaluate, gradient_norm};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::EvalArgs;
use crate::signal;
use crate::store::line::Point;
use crate::ui::{Reading, Ui};
use crate::usage::flags_of;
use crate::value::number::short;
use anyhow::Result;
use flat_core::Streams;
use flat_data::Loader;
use flat_metrics::{Progress, Stop};
use flat_nn::{Loss, Model};
use settings::Estimator;

/// What a perturbed estimate of a network with kinks is not.
const KINKS: &str = "the kinks of ReLU and max pooling that a perturbation crosses count as curvature here, while the Hessian does \
     not see them: the value depends on --radius and may be many times the Hessian's trace";

impl Measure for TraceArgs {
    const NAME: &'static str = "trace";
    const ABOUT: &'static str = "Trace of the Hessian of the loss, or of a relative of it, with a confidence interval";
    const IN_ALL: Option<InAll> = Some(InAll {
        title: Some("Trace"),
        flags: &[Shared { flag: "trace-probes", own: "probes", instead: Some(("Probes of the trace", "64")) }],
        ..InAll::PLAIN
    });
    const ALONG: Option<Along> =
        Some(Along { name: "trace", title: "Hessian trace", band: "the 95 % interval of its probes", take: along });

    type Found = TraceFound;

    fn on(&self) -> EvalArgs {
        self.hessian.on.clone()
    }

    fn validate(&self) -> Result<()> {
        TraceSettings::of_args(self, None, None).map(|_| ())
    }

    fn take(&self, subject: &LoadedCheckpoint, ui: Ui) -> Result<Option<Taken<TraceFound>>> {
        let source = Source::of_subject(subject, &self.hessian.on)?;
        let settings = TraceSettings::of_args(self, subject.run.as_ref(), Some(source))?;
        measure(&subject.model, subject.loss, &subject.data, &settings, ui)
    }

    fn table(found: &Taken<TraceFound>) -> String {
        found::table(found)
    }
}

fn along(now: &Moment<'_>) -> Result<Option<Point>> {
    let settings = TraceSettings::of_training(now.config, now.config.flatness_probes);
    let Some(taken) = trace(now.model, now.loss, now.data, &settings, now.ui)? else { return Ok(None) };
    Ok(Some(Point::new(&Document { measure: "trace", taken })?))
}

/// As the measure itself, `None` where a signal asked to stop.
///
/// # Errors
/// As the measure.
pub fn trace(
    model: &Model,
    loss: Loss,
    data: &Loader,
    settings: &TraceSettings,
    ui: Ui,
) -> Result<Option<Taken<TraceFound>>> {
    Ok(measure(model, loss, data, settings, ui)?.filter(|taken| taken.stop != Stop::Interrupted))
}

/// Measures; of the probes completed where a signal asks to stop, `None` before the first. Cost: an evaluation, a gradient,
/// and 1.6 to 2.7 gradients over the examples a probe.
///
/// # Errors
/// A loss that is not deterministic or not finite; settings that the estimator cannot take; candle's.
pub fn measure(
    model: &Model,
    loss: Loss,
    data: &Loader,
    settings: &TraceSettings,
    ui: Ui,
) -> Result<Option<Taken<TraceFound>>> {
    let (which, curvature) = (settings.curvature.which, &settings.curvature);
    let Some(score) = evaluate(model, loss, data, which.mode(), "scoring", ui)? else { return Ok(None) };
    let Some(grad_norm) = gradient_norm(&which.objective(model, loss, data)?)? else { return Ok(None) };
    let estimator = Estimator::new(settings).map_err(|e| flags_of(e, &[]))?;
    let mut bar = ui.bar("trace", 0, settings.probes.max_probes, settings.unit());
    let streams = Streams::new(settings.seed);
    let progress = &mut |p: &Progress| {
        bar.update(p.done, || match (p.value, p.error) {
            (Some(v), Some(e)) => format!("{} +- {}", short(v), short(e)),
            _ => String::new(),
        });
        bar.read(p.done, Reading::of_estimate(p));
        signal::go_on()
    };
    let objective = which.grouped_objective(model, loss, data)?;
    let report = match estimator {
        Estimator::Hutchinson(e) => curvature.products(&objective, |a| e.run(a, &streams, progress)),
        Estimator::Hutchpp(e) => curvature.products(&objective, |a| e.run(a, &streams, progress)),
        Estimator::Xtrace(e) => curvature.products(&objective, |a| e.run(a, &streams, progress)),
        Estimator::Gradient(e) => e.run(&objective, &streams, progress),
        Estimator::Loss(e) => e.run(&objective, &streams, progress),
    };
    drop(bar);
    let report = match report {
        Err(flat_metrics::Error::Interrupted) => return Ok(None),
        report => report.map_err(|e| flags_of(e, &[]))?,
    };
    let (estimator, distribution) = (report.estimator.clone(), report.probe_distribution.to_string());
    let mut taken = report
        .map(|trace| TraceFound::new(trace, &score, grad_norm))
        .placed(|computed| settings.source.clone().provenance(model, loss, data, which.bn_mode, computed));
    let provenance = &mut taken.provenance;
    provenance.hvp = curvature.hvp().filter(|_| !settings.estimator.perturbs());
    (provenance.estimator, provenance.probe_distribution) = (Some(estimator), Some(distribution));
    provenance.source.notes.extend(settings.notes());
    if settings.estimator.perturbs() && model.has_kinks() {
        provenance.source.notes.push(KINKS.into());
    }
    Ok(Some(taken))
}
