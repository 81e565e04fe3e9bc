//! Sentences of the page that are computed from the runs of its parts.

use super::compare::{Row, proxy, rows};
use super::method::Method;
use super::part::{File, Part};
use super::{Contender, Outcome, Trial};
use crate::interval::{correlation_text, short};

/// How the test accuracy of the reference, RS and SA moved.
pub(super) fn moved(file: &File, rows: &[Row]) -> String {
    let gains = |is: fn(&Method) -> bool| {
        let of_kind = rows.iter().filter(move |r| file.method(&r.setting.method).is_ok_and(is));
        of_kind.filter_map(|r| Some(r.gain?.value)).reduce(f64::max)
    };
    let (sgd, rs, sa) = (rows.first().and_then(|r| Some(r.gain?.value)), gains(Method::is_rs), gains(Method::is_sa));
    let escaped = |gain: Option<f64>| gain.is_some_and(|g| g >= 0.05);
    let moved = match (sgd.is_some_and(|g| g.abs() <= 0.02), escaped(rs) && escaped(sa)) {
        (true, true) => "SGD stays at the bad minimum's test accuracy within 2 points, while RS and SA gain 5 or more.",
        (true, false) => "SGD stays within 2 points of the bad minimum's test accuracy; RS and SA do not both gain 5.",
        (false, true) => "RS and SA gain 5 points of test accuracy or more, but SGD does not stay within 2 either.",
        (false, false) => {
            "No setting was found in which RS and SA gain 5 points of test accuracy while SGD stays within 2."
        }
    };
    let gained = [("SGD moves by", sgd), ("RS by", rs), ("the best SA by", sa)];
    let gained = gained.into_iter().filter_map(|(who, gain)| Some(format!("{who} {:.1}", 100.0 * gain?)));
    format!("{moved} {} points.", gained.collect::<Vec<_>>().join(", "))
}

/// The findings of every part in a sentence or two each.
pub(super) fn in_short(file: &File, outcomes: &[Outcome]) -> String {
    let finding = |outcome: &Outcome| {
        let rows = rows(outcome);
        let perturbed = rows.iter().filter(|r| file.method(&r.setting.method).is_ok_and(|m| m.is_rs() || m.is_sa()));
        let times: Vec<String> =
            perturbed.filter_map(|row| Some(format!("{} for {}", row.at_equal_loss?.text(short), row.name))).collect();
        let traces = match times.is_empty() {
            true => String::new(),
            false => format!(" SGD's trbar at equal training loss is larger by a factor of {}.", times.join(", ")),
        };
        format!("* **{}**: {}{traces}", outcome.title, moved(file, &rows))
    };
    outcomes.iter().map(finding).collect::<Vec<_>>().join("\n")
}

/// Which losses traces can be compared at.
pub(super) fn why(part: &Part) -> &'static str {
    match part.has_margins() {
        true => {
            "A method that lowers the cross entropy further has a smaller trace for that reason alone, since the margins \
             grow: compare at equal loss, or at equal margin."
        }
        false => {
            "The squared loss has no growing margins. Where a method stays at a higher loss than the start, no loss is in \
             common with SGD, and the traces are compared after equal evaluations."
        }
    }
}

/// The correlation of test accuracy with the trace, and how many runs it is of.
pub(super) fn correlation(outcome: &Outcome) -> (String, usize) {
    let (r, n) = proxy(outcome, |fit| fit.end()?.trbar);
    let r = r.map_or("unknown".into(), |r| correlation_text(r, n));
    let (at_unit_margin, m) = proxy(outcome, |fit| Some(fit.unit_margin?.trbar));
    let at_unit_margin =
        at_unit_margin.map_or(String::new(), |r| format!(", at unit margin {}", correlation_text(r, m)));
    (format!("{r}{at_unit_margin}"), n)
}

/// What limits the comparison: radii chosen at the ends of their grids, methods without a loss in common with the reference.
pub(super) fn limits(outcomes: &[Outcome]) -> String {
    let (mut ends, mut apart) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        let at_an_end = |contender: &&Contender| {
            let mine = |t: &&Trial| t.setting.method == contender.setting.method;
            let sizes = outcome.trials.iter().filter(mine).map(|t| t.setting.size());
            let [low, high] = sizes.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], x| [a.min(x), b.max(x)]);
            low < high && [low, high].contains(&contender.setting.size())
        };
        let count = outcome.contenders.iter().filter(at_an_end).count();
        if count > 0 {
            ends.push(format!("{count} of {} methods in {}", outcome.contenders.len(), outcome.part));
        }
        let without = rows(outcome).into_iter().filter(|row| row.at_equal_loss.is_none());
        apart.extend(without.map(|row| format!("{} in {}", row.name, outcome.part)));
    }
    let list = |what: &str, items: Vec<String>| match items.is_empty() {
        true => String::new(),
        false => format!("{what}: {}. ", items.join("; ")),
    };
    let ends = list("The chosen radius is the smallest or the largest that was tried for", ends);
    format!("{ends}{}", list("No training loss is in common with SGD for", apart)).trim_end().into()
}
