//! Flatness along a training run.

use crate::measure::curvature::Curvature;
use crate::measure::flatness;
use crate::measure::hidden::dimension;
use crate::measure::layers::lambda_max;
use crate::measure::score::Score;
use crate::measure::trace_settings::Settings;
use crate::settings::choice::FlatnessName;
use crate::settings::config::TrainConfig;
use crate::signal;
use crate::store::journal::Record;
use crate::ui::Ui;
use crate::value::number::short;
use anyhow::Result;
use flat_core::Streams;
use flat_data::Loader;
use flat_metrics::TwoNn;
use flat_nn::{Loss, Mode, Model};

/// Products at most for a largest eigenvalue, and the residual, as a fraction of it, at which they end: a curve over
/// training needs no more digits.
const PRODUCTS: u64 = 50;
const REL_TOL: f64 = 0.01;

/// Takes the measures that `config` asks for, on the present weights; `None` where a signal asked to stop. The same probes
/// every time: a curve's differences carry less noise than its points.
///
/// # Errors
/// A loss or a product that is not finite; candle's.
pub fn measure(config: &TrainConfig, model: &Model, loss: Loss, data: &Loader, ui: Ui) -> Result<Option<Record>> {
    let mut record = Record::default();
    if config.flatness.contains(&FlatnessName::Trace) {
        let settings = Settings::of_training(config, config.flatness_probes);
        let Some(trace) = flatness::trace(model, loss, data, &settings, ui)? else { return Ok(None) };
        record.loss = Some(trace.loss);
        record.accuracy = Some(trace.accuracy);
        record.trace = Some(serde_json::to_value(&trace)?);
    }
    if config.flatness.contains(&FlatnessName::LambdaMax) {
        let mut bar = ui.bar("largest eigenvalue", 0, PRODUCTS, "products at most");
        let curvature = Curvature::of_training();
        let largest = curvature.run(model, loss, data, |operator| {
            lambda_max(operator, PRODUCTS, REL_TOL, &Streams::new(config.seed), &mut |done| {
                bar.update(done, String::new);
                signal::go_on()
            })
        });
        drop(bar);
        if signal::stop_requested() {
            return Ok(None);
        }
        record.lambda_max = Some(serde_json::to_value(largest?)?);
    }
    if config.flatness.contains(&FlatnessName::Score) {
        let Some(score) = Score::measure(model, loss, data, config.seed, ui)? else { return Ok(None) };
        record.score = Some(serde_json::to_value(score)?);
    }
    if config.flatness.contains(&FlatnessName::Dimension) {
        let images = data.split().len();
        let found = dimension(model, Mode::Eval, data, images, &TwoNn::default(), ui)?;
        let Some(found) = found else { return Ok(None) };
        record.dimension = Some(serde_json::to_value(found)?);
    }
    Ok(Some(record))
}

/// The measures in one line for a person.
pub fn describe(record: &Record) -> String {
    let number = |x: &serde_json::Value| x.as_f64().map_or("unknown".to_string(), short);
    let mut parts = Vec::new();
    if let Some(trace) = &record.trace {
        parts.push(format!(
            "trace {} +- {} (||gradient|| {})",
            number(&trace["trace"]["value"]),
            number(&trace["probe_std_error"]),
            number(&trace["grad_norm"])
        ));
    }
    if let Some(largest) = &record.lambda_max {
        parts.push(format!("lambda_max {} +- {}", number(&largest["value"]), number(&largest["residual"])));
    }
    let ends = |x: &serde_json::Value| format!("[{}, {}]", number(&x["ci95"][0]), number(&x["ci95"][1]));
    if let Some(score) = &record.score {
        let rank = &score["rank"];
        parts.push(format!(
            "score {} {} (rank {} {})",
            number(&score["value"]),
            ends(score),
            number(&rank["value"]),
            ends(rank)
        ));
    }
    if let Some(found) = &record.dimension {
        parts.push(format!("dimension {} {}", number(&found["value"]), ends(found)));
    }
    parts.join("  ")
}
