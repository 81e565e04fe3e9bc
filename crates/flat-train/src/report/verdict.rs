//! Who won, in words.

use super::export::interval;
use super::ranking::{Ranking, Row};
use flat_run::value::percentage;
use flat_sweep::Spread;
use std::cmp::Ordering;

/// What a row's difference to the first shows.
pub(super) fn of_row(row: &Row) -> String {
    for (count, what) in [(row.diverged, "diverged"), (row.in_progress, "in progress")] {
        if count > 0 {
            return format!("{what}: {count} of {}", row.runs);
        }
    }
    match (row.score, row.above_first) {
        (None, _) => "no result".into(),
        _ if row.rank == 1 => "first".into(),
        (_, None) => "no seed in common with the first".into(),
        (_, Some(difference)) => match difference.sign() {
            None => "one seed: no interval".into(),
            Some(Ordering::Less) => "below the first".into(),
            Some(Ordering::Equal) => "not told apart".into(),
            Some(Ordering::Greater) => "above the first on common seeds".into(),
        },
    }
}

/// The answer in sentences: who is first, and what the differences to the second and to the baseline show.
pub(super) fn of(ranking: &Ranking) -> Vec<String> {
    let (Some(metric), Some(first)) = (ranking.metric, ranking.rows.first()) else {
        return vec!["No run has ended yet, so that nobody has won.".into()];
    };
    let Some(score) = first.score else { return vec![format!("No run came to a {metric}, so that nobody has won.")] };
    let seeds = if score.n == 1 { "one seed".into() } else { format!("{} seeds", score.n) };
    let mean = format!("{} % mean {metric} over {seeds}", interval(score, percentage));
    if ranking.rows.len() == 1 {
        return vec![format!("One setting, {}: {mean}.", first.name)];
    }
    let others = &ranking.rows[1..];
    let shown = |row: &Row| row.above_first.and_then(|d| d.sign()) == Some(Ordering::Less);
    let mut said = vec![match others.iter().filter(|row| !shown(row)).count() {
        0 => format!("{} won: {mean}, and every other setting is told apart from it.", first.name),
        1 => format!(
            "No winner is shown: {} is first with {mean}, but one setting is not told apart from it.",
            first.name
        ),
        n => format!(
            "No winner is shown: {} is first with {mean}, but {n} settings are not told apart from it.",
            first.name
        ),
    }];
    let second = &others[0];
    let is_baseline = second.name == ranking.baseline;
    let what = if is_baseline { "second and the baseline" } else { "second" };
    said.push(above(second.above_first.map(|d| negative(&d)), what, &second.name));
    if first.name == ranking.baseline {
        said.push(format!("The baseline, {}, is itself first.", first.name));
    } else if !is_baseline {
        said.push(above(first.above_baseline, "baseline", &ranking.baseline));
    }
    let (running, all) = ranking.rows.iter().fold((0, 0), |(k, n), row| (k + row.in_progress, n + row.runs));
    if running > 0 {
        said.push(format!("In progress: {running} of {all} runs, which may change this."));
    }
    said
}

/// By how much the first is above another, and whether that is shown.
fn above(difference: Option<Spread>, what: &str, name: &str) -> String {
    let Some(difference) = difference else {
        return format!("It has no seed in common with the {what}, {name}: not compared.");
    };
    let shown = match difference.sign() {
        None => "one seed, so no interval and not told apart",
        Some(Ordering::Equal) => "not told apart",
        Some(Ordering::Greater) => "told apart",
        Some(Ordering::Less) => "told apart, on the seeds that both have",
    };
    let side = if difference.mean < 0.0 { "below" } else { "above" };
    let size = if difference.mean < 0.0 { negative(&difference) } else { difference };
    format!("It is {} points {side} the {what}, {name}: {shown}.", interval(size, percentage))
}

fn negative(spread: &Spread) -> Spread {
    Spread { mean: -spread.mean, ci95: spread.ci95.map(|[low, high]| [-high, -low]), ..*spread }
}

/// What to know when reading the numbers.
pub(super) fn notes(ranking: &Ranking) -> Vec<String> {
    let mut notes = vec![
        "Intervals are Student's 95 % over the seeds, not widened for the number of settings; differences are \
         paired by seed."
            .to_string(),
    ];
    match ranking.metric {
        Some("test accuracy") if ranking.rows.len() > 1 => notes.push(
            "The test images chose the first, so that its own accuracy is a little too good; a sweep chooses by images \
             held out."
                .into(),
        ),
        Some("training accuracy") => notes.push("No run has an accuracy on images that it did not train on.".into()),
        _ => {}
    }
    if let Some(key) =
        ["dataset", "data-dir", "test-limit"].into_iter().find(|key| ranking.varied.iter().any(|v| v == key))
    {
        notes.push(format!("Settings that differ in {key} are scored on other images."));
    }
    if ranking.rows.iter().any(|row| row.in_progress + row.diverged > 0) {
        notes.push(
            "Runs in progress and runs that diverged count for no mean, and rank their setting below the whole ones."
                .into(),
        );
    }
    if ranking.rows.iter().any(|row| row.trace.is_some_and(|trace| trace.n == 1)) {
        notes.push("The interval of the trace of a single run is that of its probes.".into());
    }
    notes
}
