//! `flat-train report`.

use super::print;
use crate::args::ReportArgs;
use crate::exit::Outcome;
use crate::report::{Report, check_name};
use anyhow::Result;
use flat_run::Ui;

/// Reads the folders, writes the page and says what it holds.
pub(super) fn run(args: &ReportArgs, ui: Ui, json: bool) -> Result<Outcome> {
    check_name(&args.out)?;
    let Some(report) = Report::read(&args.runs, ui)? else { return Ok(Outcome::Interrupted) };
    let contents = report.write(&args.out)?;
    print(json, &contents, || contents.text())
}
