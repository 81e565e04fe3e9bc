//! The search for a method's setting: a sweep over its grid, ranked on validation images.

use super::{Case, Method, Plan};
use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::interval::Mean;
use crate::scratch::clear;
use crate::study::Study;
use crate::training::of_seed;
use anyhow::{Context, Result, bail};
use flat_core::setting::Value;
use flat_run::Ui;
use flat_run::store::write_whole;
use flat_sweep::{Axis, Budget, Jobs, Row, Spread, Sweep, this_program};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A search for a method's setting in a case.
pub(super) struct Search<'a> {
    /// Its cell.
    pub key: String,
    pub method: &'a Method,
    /// The flags of its runs but for the setting.
    pub base: &'a Flags,
    pub case: &'a Case,
}

/// A setting that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Trial {
    /// The setting.
    pub setting: Flags,
    /// Accuracy on the validation images over the seeds of the search; `None` where a run diverged.
    pub val_accuracy: Option<Mean>,
    /// Accuracy on the training images, likewise.
    pub train_accuracy: Option<Mean>,
    /// Gradient evaluations of a run, in the mean.
    pub evals: Option<f64>,
}

impl Trial {
    fn of(row: &Row, settings: &[Flags]) -> Result<Self> {
        let is = |flags: &Flags, name: &str, value: &str| match flags.text(name) {
            Some(text) => text == value,
            None => flags.number(name).is_some() && flags.number(name) == value.parse().ok(),
        };
        let setting = settings.iter().find(|s| row.settings.iter().all(|(name, value)| is(s, name, value)));
        let mean = |spread: Option<Spread>| spread.map(Mean::from);
        let whole = row.diverged == 0;
        Ok(Self {
            setting: setting.with_context(|| format!("the sweep has {}, which the grid has not", row.cell))?.clone(),
            val_accuracy: mean(row.val_accuracy).filter(|_| whole),
            train_accuracy: mean(row.train_accuracy).filter(|_| whole),
            evals: row.evals,
        })
    }
}

impl Search<'_> {
    /// The settings tried, the best first; `None` where a signal asked to stop. Costs the runs: settings times seeds.
    ///
    /// # Errors
    /// A run that fails, a full disk. A setting that diverges is a result.
    pub fn run(&self, study: &mut Study<'_>, args: &ReproduceArgs, plan: &Plan) -> Result<Option<Vec<Trial>>> {
        let settings = self.method.settings(plan.first_of_grid);
        let [train, validation, test] = self.case.images;
        // the search has seeds of its own
        let first = args.seed + plan.seeds;
        let flags = of_seed(self.base, first, args)
            .without(&["seed"])
            .count("train-limit", train as u64)
            .count("validation", validation as u64)
            .count("test-limit", test as u64);
        let mut sweep = flat_sweep::Study {
            seeds: (first..first + self.case.search_seeds).collect(),
            train: flags.without(&["evals"]).values()?,
            budget: Budget::Evals(Some(self.case.evals)),
            ..Default::default()
        };
        for axis in axes(&settings)? {
            sweep.vary(axis);
        }
        let runs = settings.iter().map(|s| flags.under(s).kept()).collect::<Result<Vec<_>>>()?;
        let folder = study.folder("searches")?.join(&self.key);
        study.cell_in(std::slice::from_ref(&folder), &self.key, &(runs, sweep.seeds.clone()), |ui| {
            let Some(rows) = ranked(sweep, &folder, ui)? else { return Ok(None) };
            Ok(Some(rows.iter().map(|row| Trial::of(row, &settings)).collect::<Result<Vec<_>>>()?))
        })
    }
}

/// The settings as values along axes, of which they are every combination.
fn axes(settings: &[Flags]) -> Result<Vec<Axis>> {
    let names = settings.first().map(Flags::names).into_iter().flatten();
    let axis = |name: &str| {
        let mut values: Vec<Value> = Vec::new();
        for setting in settings {
            let value = setting.text(name).map_or_else(|| setting.needed(name).map(Value::Number), |t| Ok(t.into()))?;
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Axis::new(name, values)
    };
    names.map(axis).collect()
}

/// The rows of a sweep in this folder, the best first; one that was begun with other settings is begun again.
fn ranked(sweep: flat_sweep::Study, folder: &Path, ui: Ui) -> Result<Option<Vec<Row>>> {
    let asked = sweep.to_toml()?;
    let file = folder.join("asked.toml");
    if folder.exists() && !std::fs::read_to_string(&file).is_ok_and(|found| found == asked) {
        clear(folder)?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    write_whole(&file, asked.as_bytes())?;
    let (program, cores) = (this_program()?, rayon::current_num_threads());
    let jobs = |runs, gpu| Jobs::choose(program, None, cores, runs, gpu);
    let board = Sweep::open(sweep, folder, jobs, ui.quiet())?.run()?;
    match board.failures.first() {
        _ if !board.complete => Ok(None),
        Some(failed) => bail!("{} seed {} failed: {}", failed.cell, failed.seed, failed.why),
        None => Ok(Some(board.rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_s_combinations_are_the_axes_they_came_from() -> Result<()> {
        let grid: Flags = toml::from_str("rho = [0.1, 0.2]\nlr = [0.5, 1.0, 2.0]\nmodel = 'mlp'")?;
        let axes = axes(&grid.combinations())?;
        let found: Vec<(&str, usize)> = axes.iter().map(|a| (a.name.as_str(), a.values.len())).collect();
        assert_eq!(found.iter().map(|(_, n)| n).product::<usize>(), grid.combinations().len());
        assert!(found.contains(&("rho", 2)) && found.contains(&("lr", 3)) && found.contains(&("model", 1)));
        Ok(())
    }
}
