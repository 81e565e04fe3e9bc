//! `flat-train metrics`.

use super::keep::{keep, place};
use super::print_measured;
use crate::args::MetricsCommand;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::Ui;
use flat_run::measure::{All, MEASURES, all};
use flat_run::parts::LoadedCheckpoint;

/// Takes what was asked for, keeps it in the run directory that it is of, and prints it.
pub(super) fn run(command: &MetricsCommand, ui: Ui, json: bool) -> Result<Outcome> {
    let Some(measure) = command.measure else {
        let asked = All::asked(MEASURES, &command.given)?;
        let on = asked.on().map(|on| on.checkpoint);
        return match asked.report(ui)? {
            None => Ok(Outcome::Interrupted),
            Some(found) => {
                let kept = on.and_then(|on| place(&on, &command.keeping, all::NAME));
                kept.iter().for_each(|file| keep(file, &found.document, ui));
                print_measured(json, found.interrupted, &found.document, || found.text.clone())
            }
        };
    };
    let asked = measure.asked(&command.given)?;
    let on = asked.on();
    let subject = LoadedCheckpoint::to_measure(&on)?.announced(ui);
    match asked.report(&subject, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(found) => {
            let kept = place(&on.checkpoint, &command.keeping, measure.name());
            kept.iter().for_each(|file| keep(file, &found.document, ui));
            print_measured(json, found.interrupted, &found.document, || found.text())
        }
    }
}
