//! `flat-train metrics dimension`.

use super::print;
use crate::args::DimensionArgs;
use crate::exit::Outcome;
use anyhow::Result;
use flat_metrics::{IntrinsicDimension, Measured, TwoNn};
use flat_run::measure::card::{Card, Carded};
use flat_run::measure::hidden;
use flat_run::parts::subject::Subject;
use flat_run::settings::args::EvalArgs;
use flat_run::settings::choice::BnModeName;
use flat_run::ui::Ui;

/// Images looked at where `--limit` does not say it.
const IMAGES: usize = 2000;

/// Estimates and prints the intrinsic dimension of the hidden states.
pub(super) fn run(args: &DimensionArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let mut on = args.on.clone();
    on.limit = on.limit.or(Some(IMAGES));
    let subject = Subject::to_measure(&on)?.announced(ui);
    let method = TwoNn { discard: args.discard };
    match estimate(&subject, &on, args.bn_mode, &method, ui)? {
        None => Ok(Outcome::Interrupted),
        Some(found) => print(json, &found, || format!("{}\n{}", line(&found.report), found.card.line())),
    }
}

/// Estimates on at most the first `IMAGES` images of the subject; `None` where a signal asked to stop.
pub(super) fn estimate(
    subject: &Subject,
    on: &EvalArgs,
    bn_mode: BnModeName,
    method: &TwoNn,
    ui: Ui,
) -> Result<Option<Carded<Measured<IntrinsicDimension>>>> {
    let wanted = on.limit.unwrap_or(IMAGES);
    let found = hidden::dimension(&subject.model, bn_mode.mode(), &subject.data, wanted, method, ui)?;
    Ok(found.map(|report| {
        let mut card = Card::of_eval(subject, on, bn_mode);
        (card.examples, card.wall_s) = (report.points, report.effort.wall_s);
        Carded { card, report }
    }))
}

/// One line for a person.
pub(super) fn line(d: &IntrinsicDimension) -> String {
    let [lo, hi] = d.ci95;
    let copies = if d.duplicates > 0 { format!(", {} of them duplicates", d.duplicates) } else { String::new() };
    format!(
        "intrinsic dimension of the hidden states  {:.2}  [{lo:.2}, {hi:.2}]  (TwoNN, {} points in {} dimensions{copies})",
        d.value, d.points, d.coordinates
    )
}
