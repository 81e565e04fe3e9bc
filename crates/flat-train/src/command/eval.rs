//! `flat-train eval`.

use super::print;
use crate::args::EvalArgs;
use crate::evaluate::evaluate;
use crate::exit::Outcome;
use crate::subject::Subject;
use crate::ui::Ui;
use anyhow::Result;

/// Prints loss and accuracy.
pub(super) fn run(args: &EvalArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let subject = Subject::load(args)?.announced(ui);
    match evaluate(&subject.model, subject.loss, &subject.data, "evaluating", ui)? {
        None => Ok(Outcome::Interrupted),
        Some(score) => print(json, &score, || {
            format!(
                "{} on {}: accuracy {:.2} %, loss {:.4} ({} images)",
                subject.model.config().arch,
                subject.dataset,
                100.0 * score.accuracy,
                score.loss,
                score.examples
            )
        }),
    }
}
