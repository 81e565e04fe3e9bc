//! The measurements of flatness along a training run.

use crate::measure;
use crate::measure::along::Moment;
use crate::settings::config::RunConfig;
use crate::store::line::Point;
use crate::ui::Ui;
use crate::value::number::short;
use anyhow::Result;
use flat_data::Loader;
use flat_nn::{Loss, Model};
use std::collections::BTreeMap;
use std::time::Instant;

/// Measures by name.
pub type Measured = BTreeMap<String, Point>;

/// Takes the measures that `config` asks for, on the present weights; `None` where a signal asked to stop.
///
/// # Errors
/// A loss or a product that is not finite; candle's.
pub fn measure(config: &RunConfig, model: &Model, loss: Loss, data: &Loader, ui: Ui) -> Result<Option<Measured>> {
    let now = Moment { config, model, loss, data, ui };
    let mut out = Measured::new();
    for along in measure::along().filter(|along| config.flatness.iter().any(|name| *name == along.name)) {
        let _span = tracing::info_span!("measure", name = along.name).entered();
        let begun = Instant::now();
        let Some(point) = (along.take)(&now)? else { return Ok(None) };
        tracing::info!(value = point.value, s = begun.elapsed().as_secs_f64(), "taken along the run");
        out.insert(along.name.to_string(), point);
    }
    Ok(Some(out))
}

/// The measures in one line for a person.
pub fn describe(measured: &Measured) -> String {
    let number = |x: Option<f64>| x.map_or("unknown".to_string(), short);
    let one = |(name, point): (&String, &Point)| {
        let interval = point.interval.map_or(String::new(), |[lo, hi]| format!(" [{}, {}]", short(lo), short(hi)));
        format!("{name} {}{interval}", number(point.value))
    };
    measured.iter().map(one).collect::<Vec<_>>().join("  ")
}
