//! `flat-train metrics`.

use super::{print_measured, versioned};
use crate::args::MetricsCommand;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::Ui;
use flat_run::measure::{All, MEASURES, all};
use flat_run::parts::LoadedCheckpoint;
use flat_run::store::write_with_folders;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Takes what was asked for, keeps it in the run directory that it is of, and prints it.
pub(super) fn run(command: &MetricsCommand, ui: Ui, json: bool) -> Result<Outcome> {
    let Some(measure) = command.measure else {
        let asked = All::asked(MEASURES, &command.given)?;
        let on = asked.on().map(|on| on.checkpoint);
        return match asked.report(ui)? {
            None => Ok(Outcome::Interrupted),
            Some(found) => {
                let kept = on.and_then(|on| command.kept(&on, all::NAME));
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
            let kept = command.kept(&on.checkpoint, measure.name());
            kept.iter().for_each(|file| keep(file, &found.document, ui));
            print_measured(json, found.interrupted, &found.document, || found.text())
        }
    }
}

impl MetricsCommand {
    /// Where a measure of this checkpoint is kept: in the run directory that it is; `None` of a file by itself.
    fn kept(&self, checkpoint: &Path, measure: &str) -> Option<PathBuf> {
        let is_run = !self.keeping.no_save && checkpoint.join("config.toml").is_file();
        is_run.then(|| checkpoint.join("metrics").join(format!("{measure}.json")))
    }
}

/// Writes what `--json` prints. Where that is a part, a whole one of before stays. A folder that cannot be written costs a
/// warning: the result is printed all the same.
fn keep(file: &Path, document: &Value, ui: Ui) {
    let name = file.display();
    let part = |document: &Value| document["interrupted"] == Value::Bool(true);
    let before: Option<Value> = flat_core::file::read_text(file).ok().and_then(|text| serde_json::from_str(&text).ok());
    if part(document) && before.is_some_and(|before| !part(&before)) {
        return ui.say(format!("{name} stays as it was: it is whole, and this measurement was interrupted"));
    }
    let written = versioned(document).map_err(Into::into).and_then(|document| {
        flat_core::file::no_link(file.parent().unwrap_or(file))?;
        write_with_folders(file, format!("{document}\n").as_bytes())
    });
    match written {
        Ok(()) => ui.say(format!("kept in {name}")),
        Err(e) => ui.warn(format!("{e:#}; --no-save leaves the run directory alone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_does_not_take_the_place_of_a_whole_measurement() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("metrics/trace.json");
        let of = |value: u32, interrupted: bool| serde_json::json!({"value": value, "interrupted": interrupted});
        for (value, interrupted, kept) in [(1, true, 1), (2, true, 2), (3, false, 3), (4, true, 3), (5, false, 5)] {
            keep(&file, &of(value, interrupted), Ui::NONE);
            let there: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
            assert_eq!(there["value"], kept, "{value}");
        }
        Ok(())
    }
}
