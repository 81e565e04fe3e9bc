//! Results that are kept in the run directory that they are of.

use super::versioned;
use crate::args::Keeping;
use flat_run::Ui;
use flat_run::store::write_with_folders;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where a measure of this checkpoint is kept: in the run directory that it is; `None` of a file by itself.
pub(super) fn place(checkpoint: &Path, keeping: &Keeping, measure: &str) -> Option<PathBuf> {
    let is_run = !keeping.no_save && checkpoint.join("config.toml").is_file();
    is_run.then(|| checkpoint.join("metrics").join(format!("{measure}.json")))
}

/// Writes what `--json` prints. Where that is a part, a whole one of before stays. A folder that cannot be written costs a
/// warning: the result is printed all the same.
pub(super) fn keep(file: &Path, document: &Value, ui: Ui) {
    if !flat_run::ranks::here().is_first() {
        return;
    }
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
    use anyhow::Result;

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
