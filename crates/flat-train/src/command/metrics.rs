//! `flat-train metrics`.

use super::print_measured;
use crate::args::MetricsCommand;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::Ui;
use flat_run::measure::{All, MEASURES};
use flat_run::parts::LoadedCheckpoint;

/// Takes what was asked for and prints it.
pub(super) fn run(command: &MetricsCommand, ui: Ui, json: bool) -> Result<Outcome> {
    let Some(measure) = command.measure else {
        return match All::asked(MEASURES, &command.given)?.report(ui)? {
            None => Ok(Outcome::Interrupted),
            Some(found) => print_measured(json, found.interrupted, &found.document, || found.text.clone()),
        };
    };
    let asked = measure.asked(&command.given)?;
    let subject = LoadedCheckpoint::to_measure(&asked.on())?.announced(ui);
    match asked.report(&subject, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(found) => print_measured(json, found.interrupted, &found.document, || found.text()),
    }
}
