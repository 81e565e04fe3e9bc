//! The Hessian trace of a model's loss on a data set, as the command line reports it.

use crate::measure::trace_settings::{Estimator, Settings, flags};
use crate::measure::trace_summary::TraceSummary;
use crate::parts::evaluate::{evaluate, gradient_norm};
use crate::signal;
use crate::ui::Ui;
use crate::value::number::short;
use anyhow::Result;
use flat_core::Streams;
use flat_data::Loader;
use flat_metrics::Progress;
use flat_nn::{Loss, Model};

/// What a perturbed estimate of a network with kinks is not.
const KINKS: &str = "the kinks of ReLU and max pooling that a perturbation crosses count as curvature here, while the Hessian does \
     not see them: the value depends on --radius and may be many times the Hessian's trace";

/// As [`measure`], `None` where a signal asked to stop.
///
/// # Errors
/// As [`measure`].
pub fn trace(model: &Model, loss: Loss, data: &Loader, settings: &Settings, ui: Ui) -> Result<Option<TraceSummary>> {
    Ok(measure(model, loss, data, settings, ui)?.filter(|summary| !summary.interrupted()))
}

/// Measures; of the probes completed where a signal asks to stop, `None` before the first. Cost: an evaluation, a gradient,
/// and 1.6 to 2.7 gradients over the examples a probe.
///
/// # Errors
/// A loss that is not deterministic or not finite; settings that the estimator cannot take; candle's.
pub fn measure(model: &Model, loss: Loss, data: &Loader, settings: &Settings, ui: Ui) -> Result<Option<TraceSummary>> {
    let mode = settings.curvature.which.mode();
    let Some(score) = evaluate(model, loss, data, mode, "scoring", ui)? else { return Ok(None) };
    let Some(grad_norm) = gradient_norm(&settings.curvature.which.objective(model, loss, data)?)? else {
        return Ok(None);
    };
    let estimator = Estimator::new(settings).map_err(flags)?;
    let mut bar = ui.bar("trace", 0, settings.probes.max_probes, settings.unit());
    let streams = Streams::new(settings.seed);
    let progress = &mut |p: &Progress| {
        bar.update(p.done, || match (p.value, p.error) {
            (Some(v), Some(e)) => format!("{} +- {}", short(v), short(e)),
            _ => String::new(),
        });
        signal::go_on()
    };
    let curvature = &settings.curvature;
    let objective = curvature.which.grouped_objective(model, loss, data)?;
    let report = match estimator {
        Estimator::Hutchinson(e) => curvature.products(&objective, |a| e.run(a, &streams, progress)),
        Estimator::Hutchpp(e) => curvature.products(&objective, |a| e.run(a, &streams, progress)),
        Estimator::Xtrace(e) => curvature.products(&objective, |a| e.run(a, &streams, progress)),
        Estimator::Gradient(e) => e.run(&objective, &streams, progress),
        Estimator::Loss(e) => e.run(&objective, &streams, progress),
    };
    drop(bar);
    match report {
        Err(flat_metrics::Error::Interrupted) => Ok(None),
        report => {
            let report = report.map_err(flags)?;
            let mut summary = TraceSummary::new(report, &score, grad_norm, data.options().batch_size, loss, settings);
            if settings.estimator.perturbs() && model.has_kinks() {
                summary.notes.push(KINKS.into());
            }
            Ok(Some(summary))
        }
    }
}
