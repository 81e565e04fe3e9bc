//! `flat-train metrics`.

use super::print_measured;
use crate::args::MetricsCommand;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::parts::subject::LoadedCheckpoint;
use flat_run::ui::Ui;

/// Takes what was asked for and prints it.
pub(super) fn run(asked: &MetricsCommand, ui: Ui, json: bool) -> Result<Outcome> {
    match asked {
        MetricsCommand::One(measure) => {
            measure.check()?;
            let subject = LoadedCheckpoint::to_measure(&measure.on())?.announced(ui);
            match measure.report(&subject, ui)? {
                None => Ok(Outcome::Interrupted),
                Some(found) => print_measured(json, found.interrupted, &found.document, || found.text()),
            }
        }
        MetricsCommand::All(all) => match all.report(ui)? {
            None => Ok(Outcome::Interrupted),
            Some(found) => print_measured(json, found.interrupted, &found.document, || found.text.clone()),
        },
    }
}
