//! `flat-train metrics dimension`.

use super::print;
use crate::args::{BnModeName, DimensionArgs, EvalArgs};
use crate::card::{Card, Carded};
use crate::exit::{Outcome, flag_of};
use crate::signal;
use crate::subject::Subject;
use crate::ui::Ui;
use anyhow::Result;
use candle_core::DType;
use flat_metrics::{Error, IntrinsicDimension, TwoNn};

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
) -> Result<Option<Carded<IntrinsicDimension>>> {
    let (mut points, mut width, mut seen) = (Vec::new(), 0, 0);
    let wanted = on.limit.unwrap_or(IMAGES);
    for index in 0..subject.data.batches_per_epoch() {
        if seen >= wanted {
            break;
        }
        if signal::stop_requested() {
            return Ok(None);
        }
        let batch = subject.data.batch(0, index)?;
        let states = subject.model.features(&batch.images, bn_mode.mode())?;
        width = states.dim(1)?;
        let take = states.dim(0)?.min(wanted - seen);
        points.extend(states.narrow(0, 0, take)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        seen += take;
    }
    let mut bar = ui.bar("intrinsic dimension", 0, seen as u64, "points");
    let found = method.run(&points, width, &mut |done, _| {
        bar.update(done as u64, String::new);
        signal::go_on()
    });
    drop(bar);
    match found {
        Err(Error::Interrupted) => Ok(None),
        Err(e) => Err(flag_of(e)),
        Ok(report) => {
            let mut card = Card::of_eval(subject, on, bn_mode);
            (card.examples, card.wall_s) = (seen, report.wall_s);
            Ok(Some(Carded { card, report }))
        }
    }
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
