//! Groups of runs, one run a seed, and their differences seed by seed.

use crate::interval::{Mean, short};
use crate::markdown::Table;
use crate::training::{Fit, Point};
use anyhow::{Result, bail};
use flat_run::value::percentage;

/// The runs of one method, in the order of the seeds.
pub(super) struct Group {
    /// The method in words.
    pub name: String,
    /// Learning rate.
    pub lr: f64,
    /// The runs.
    pub fits: Vec<Fit>,
}

impl Group {
    /// The logarithm of its traces over those of another group of the same seeds; `None` where a run diverged.
    pub fn log_ratio(&self, other: &Self) -> Option<Mean> {
        self.above(other, &|p| Some(p.trbar?.ln()))
    }

    /// Its accuracies on the images held out above those of another group of the same seeds.
    pub fn accuracy_above(&self, other: &Self) -> Option<Mean> {
        self.above(other, &|p| Some(p.held_out_accuracy))
    }

    /// The mean difference, seed by seed.
    pub fn above(&self, other: &Self, of: &dyn Fn(&Point) -> Option<f64>) -> Option<Mean> {
        self.fits_above(other, &|fit| of(fit.end()?))
    }

    /// The mean difference of a number of whole runs, seed by seed; `None` where a run has none.
    pub fn fits_above(&self, other: &Self, of: &dyn Fn(&Fit) -> Option<f64>) -> Option<Mean> {
        let values = |group: &Self| group.fits.iter().map(of).collect::<Option<Vec<f64>>>();
        let (a, b) = (values(self)?, values(other)?);
        Mean::of(&a.iter().zip(&b).map(|(a, b)| a - b).collect::<Vec<_>>())
    }

    /// The mean of a number of whole runs; `None` where a run has none.
    pub fn fits_mean(&self, of: &dyn Fn(&Fit) -> Option<f64>) -> Option<Mean> {
        Mean::of(&self.fits.iter().map(of).collect::<Option<Vec<f64>>>()?)
    }

    /// The mean of a number at the ends of its runs; `None` where one diverged.
    pub fn mean(&self, of: &dyn Fn(&Point) -> Option<f64>) -> Option<Mean> {
        self.fits_mean(&|fit| of(fit.end()?))
    }
}

/// The setting with the best accuracy on the images held out; the first of several.
///
/// # Errors
/// All of them diverged.
pub(super) fn best<S: Clone>(tried: &[(S, Fit)]) -> Result<S> {
    let mut found: Option<(S, f64)> = None;
    for (setting, fit) in tried {
        if let Some(end) = fit.end()
            && found.as_ref().is_none_or(|(_, accuracy)| end.held_out_accuracy > *accuracy)
        {
            found = Some((setting.clone(), end.held_out_accuracy));
        }
    }
    match found {
        Some((setting, _)) => Ok(setting),
        None => bail!("every setting of the search diverged"),
    }
}

/// A trial's training loss, accuracies, and whether it was chosen, as cells of a table.
pub(super) fn trial(fit: &Fit, chosen: bool) -> [String; 4] {
    let [loss, train, held_out] = fit.end().map_or([DIVERGED.into(), String::new(), String::new()], |end| {
        [short(end.train_loss), percentage(end.train_accuracy), percentage(end.held_out_accuracy)]
    });
    [loss, train, held_out, if chosen { "chosen" } else { "" }.into()]
}

/// Stands for the number of runs of which one diverged.
pub(super) const DIVERGED: &str = "diverged";

/// A mean as text; without one a run diverged.
pub(super) fn text(mean: Option<Mean>, number: impl Fn(f64) -> String) -> String {
    mean.map_or(DIVERGED.into(), |m| m.text(number))
}

/// How the groups end.
pub(super) fn ends(caption: &str, groups: &[Group]) -> Table {
    let columns =
        ["method", "lr", "evals", "train loss", "train acc., %", "test loss", "test acc., %", "trbar", "lambda_max"];
    // the last column where it was measured at all
    let measured = groups.iter().flat_map(|g| &g.fits).flat_map(|f| &f.points).any(|p| p.lambda_max.is_some());
    let columns = &columns[..columns.len() - usize::from(!measured)];
    let mut table = Table::new(caption, columns);
    for group in groups {
        let log = |of: &dyn Fn(&Point) -> Option<f64>| group.mean(&|p| Some(of(p)?.ln())).map(|m| m.map(f64::exp));
        let row = [
            group.name.clone(),
            group.lr.to_string(),
            group.mean(&|p| Some(p.evals)).map_or(DIVERGED.into(), |m| format!("{:.0}", m.value)),
            text(group.mean(&|p| Some(p.train_loss)), short),
            text(group.mean(&|p| Some(p.train_accuracy)), percentage),
            text(group.mean(&|p| Some(p.held_out_loss)), short),
            text(group.mean(&|p| Some(p.held_out_accuracy)), percentage),
            text(log(&|p| p.trbar), short),
            text(log(&|p| p.lambda_max), short),
        ];
        table.row(row.into_iter().take(columns.len()));
    }
    table
}

/// Differences of groups of the same seeds: (words, first, what is subtracted). Traces are divided.
pub(super) fn differences(caption: &str, pairs: &[(&str, &Group, &Group)]) -> Table {
    let columns = ["difference", "test acc., points", "test loss", "train acc., points", "trbar, ratio", "shown"];
    let mut table = Table::new(caption, &columns);
    for (words, first, second) in pairs {
        let paired = |of: &dyn Fn(&Point) -> Option<f64>| first.above(second, of);
        let accuracy = first.accuracy_above(second);
        let shown = match accuracy.and_then(|m| m.ci95) {
            Some([lo, _]) if lo > 0.0 => "better",
            Some([_, hi]) if hi < 0.0 => "worse",
            _ => "no difference in test accuracy",
        };
        table.row([
            words.to_string(),
            text(accuracy, percentage),
            text(paired(&|p| Some(p.held_out_loss)), short),
            text(paired(&|p| Some(p.train_accuracy)), percentage),
            text(first.log_ratio(second).map(|m| m.map(f64::exp)), short),
            shown.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(accuracies: &[f64]) -> Group {
        let fit = |a: &f64| Fit {
            points: vec![Point {
                step: 1,
                evals: 1.0,
                train_loss: 0.1,
                train_accuracy: 1.0,
                held_out_loss: 1.0,
                held_out_accuracy: *a,
                trbar: Some(*a),
                trbar_ci95: None,
                lambda_max: None,
                groups: None,
                wall_s: None,
            }],
            diverged: None,
            unit_margin: None,
        };
        Group { name: "g".into(), lr: 0.1, fits: accuracies.iter().map(fit).collect() }
    }

    #[test]
    fn differences_are_taken_seed_by_seed() {
        // the groups overlap, the differences are all 1 point
        let (a, b) = (group(&[0.51, 0.61, 0.71]), group(&[0.5, 0.6, 0.7]));
        let table = differences("", &[("a - b", &a, &b), ("b - a", &b, &a), ("a - a", &a, &a)]);
        let shown: Vec<&str> = table.rows.iter().map(|r| r[5].as_str()).collect();
        assert_eq!(shown, ["better", "worse", "no difference in test accuracy"]);
        assert!(table.rows[0][1].starts_with("1.00 ["), "{:?}", table.rows[0]);
    }

    #[test]
    fn the_best_setting_is_the_first_of_the_most_accurate() -> Result<()> {
        let fit = |a| group(&[a]).fits.remove(0);
        let lost = Fit { points: Vec::new(), diverged: Some("inf".into()), unit_margin: None };
        assert_eq!(best(&[(1, fit(0.2)), (2, fit(0.5)), (3, fit(0.5)), (4, lost.clone())])?, 2);
        assert!(best(&[(4, lost)]).is_err());
        Ok(())
    }
}
