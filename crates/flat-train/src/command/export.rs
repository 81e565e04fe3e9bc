//! `flat-train export`.

use super::print;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::parts::ExportArgs;

/// Writes weights for other programs.
pub(super) fn run(args: &ExportArgs, json: bool) -> Result<Outcome> {
    let exported = args.write()?;
    print(json, &exported, || exported.text())
}
