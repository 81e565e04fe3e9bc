//! `flat-train inspect`.

use super::print;
use crate::args::InspectArgs;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::parts::Contents;

/// Prints what a file of weights holds.
pub(super) fn run(args: &InspectArgs, json: bool) -> Result<Outcome> {
    let contents = Contents::read(&args.file, args.prefix.as_deref())?;
    print(json, &contents, || contents.text())
}
