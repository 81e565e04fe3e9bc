//! `flat-train metrics`.

use super::print;
use crate::args::TraceArgs;
use crate::exit::Outcome;
use crate::flatness::{self, Settings};
use crate::subject::Subject;
use crate::ui::Ui;
use anyhow::Result;

/// Measures and prints the Hessian trace.
pub(super) fn trace(args: &TraceArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let settings = Settings::of_args(args)?;
    let subject = Subject::load(&args.on)?;
    match flatness::trace(&subject.model, subject.loss, &subject.data, &settings, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(summary) => print(json, &summary, || summary.table()),
    }
}
