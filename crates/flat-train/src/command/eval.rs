//! `flat-train eval`.

use super::print;
use crate::exit::Outcome;
use anyhow::{Result, bail};
use flat_nn::Mode;
use flat_run::Ui;
use flat_run::parts::{LoadedCheckpoint, evaluate};
use flat_run::settings::EvalArgs;
use flat_run::value::short;

/// Prints loss and accuracy.
pub(super) fn run(args: &EvalArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let subject = LoadedCheckpoint::to_score(args)?.announced(ui);
    match evaluate(&subject.model, subject.loss, &subject.data, Mode::Eval, "evaluating", ui)? {
        None => Ok(Outcome::Interrupted),
        Some(score) if !score.loss.is_finite() => bail!(
            "{}: the loss is not finite on {} images: the weights give no prediction",
            args.checkpoint.display(),
            score.examples
        ),
        Some(score) => print(json, &score, || {
            let groups = score.groups.map(|groups| groups.text()).unwrap_or_default();
            let all = format!(
                "{} on {}: accuracy {:.2} %, loss {} ({} images)",
                subject.model.name(),
                subject.dataset,
                100.0 * score.accuracy,
                short(score.loss),
                score.examples
            );
            let named = ["average group", "worst group"].into_iter().zip(groups).filter(|(_, text)| !text.is_empty());
            let rest = named.map(|(name, text)| format!("\n{name:<15} {text}"));
            [all].into_iter().chain(rest).collect()
        }),
    }
}
