//! Tables of the page on networks of agents.

use super::claims::Verdict;
use super::{Runs, left_after};
use crate::interval::{Mean, short};
use crate::markdown::Table;
use crate::paired::text;
use flat_run::value::percentage;

/// How the runs from random weights end.
pub(super) fn ends(runs: &[Runs]) -> Table {
    let columns = ["case", "method", "train loss", "test loss", "test acc., %", "trbar"];
    let mut table = Table::new("The ends of the runs, means over the seeds.", &columns);
    for Runs { case, group, .. } in runs {
        let log = |m: Option<Mean>| m.map(|m| m.map(f64::exp));
        table.row([
            case.words(),
            group.name.clone(),
            text(log(group.mean(&|p| Some(p.train_loss.ln()))), short),
            text(group.mean(&|p| Some(p.held_out_loss)), short),
            text(group.mean(&|p| Some(p.held_out_accuracy)), percentage),
            text(log(group.mean(&|p| Some(p.trbar?.ln()))), short),
        ]);
    }
    table
}

/// When the runs from the bad minimum left it.
pub(super) fn left(runs: &[Runs], accuracy: f64, steps: u64) -> Table {
    let columns = ["case", "method", "left", "after steps", "test acc. at the end, %", "train loss at the end"];
    let mut table = Table::new("How many runs left the bad minimum, and when.", &columns);
    for Runs { case, group, .. } in runs {
        let left = group.fits.iter().filter(|fit| fit.points.iter().any(|p| p.held_out_accuracy >= accuracy)).count();
        table.row([
            case.words(),
            group.name.clone(),
            format!("{left} of {}", group.fits.len()),
            text(group.fits_mean(&|fit| Some(left_after(fit, accuracy, steps))), short),
            text(group.mean(&|p| Some(p.held_out_accuracy)), percentage),
            text(group.mean(&|p| Some(p.train_loss)), short),
        ]);
    }
    table
}

/// The claims and what became of them.
pub(super) fn claims(verdicts: &[Verdict]) -> Table {
    let columns = ["claim", "case", "found", "verdict"];
    let mut table = Table::new("The paper's claims, seed by seed.", &columns);
    for verdict in verdicts {
        let found = verdict.difference.map_or_else(String::new, |difference| verdict.number.text(difference));
        table.row([verdict.claim.clone(), verdict.case.clone(), found, verdict.words().into()]);
    }
    table
}
