//! A comparison of methods: settings searched on validation images, then the chosen ones run over several seeds.

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::paired::{best, trial};
use crate::study::Study;
use crate::training::{Fit, cell, of_seed};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the search tries, by the methods' keys.
pub(super) type Grid = BTreeMap<String, Flags>;

/// Settings beside the learning rate that may stand in the name of a run, with the words for them.
const NAMED: [(&str, &str); 2] = [("rho", "rho"), ("gerne-beta", "beta")];

/// A method of a comparison.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    pub key: String,
    pub name: String,
    /// Factor on the epochs.
    pub epochs: u64,
    pub flags: Flags,
}

impl Method {
    /// What is tried of it.
    ///
    /// # Errors
    /// The grid does not have it.
    pub fn settings(&self, grid: &Grid) -> Result<Vec<Flags>> {
        let own = grid.get(&self.key).with_context(|| format!("the study's grid has no {}", self.key))?;
        Ok(own.combinations())
    }

    /// The method in words, with the setting beside the learning rate.
    pub fn name(&self, setting: &Flags) -> String {
        named(setting).map(|(word, x)| format!(", {word} {x}")).fold(self.name.clone(), |name, more| name + &more)
    }

    fn key(&self, setting: &Flags) -> Result<String> {
        let start = format!("{}-lr{}", self.key, setting.needed("lr")?);
        Ok(named(setting).map(|(word, x)| format!("-{word}{x}")).fold(start, |key, more| key + &more))
    }
}

fn named(setting: &Flags) -> impl Iterator<Item = (&'static str, f64)> {
    NAMED.into_iter().filter_map(|(flag, word)| Some((word, setting.number(flag)?)))
}

/// A comparison under way.
pub(super) struct Comparison<'a> {
    pub args: &'a ReproduceArgs,
    /// Flags of every run.
    pub flags: &'a Flags,
    pub grid: &'a Grid,
    pub seeds: u64,
    pub epochs: u64,
    /// The beginning of the names of its cells.
    pub prefix: String,
    /// The images of a seed.
    pub images: &'a dyn Fn(u64) -> Result<Images>,
    /// What is added to the runs that are compared, such as what they measure.
    pub compared: &'a dyn Fn(&Flags, &Images) -> Flags,
}

/// A method with the setting that the search chose.
pub(super) struct Compared {
    pub setting: Flags,
    pub lr: f64,
    /// The search: one run of each setting, on a seed that is not among those compared.
    pub tried: Vec<(Flags, Fit)>,
    /// The runs, one a seed.
    pub fits: Vec<Fit>,
}

impl Compared {
    /// The rows of a table of the search: what `first` says of a setting, its learning rate, scores, whether it was chosen.
    pub fn trials(&self, first: impl Fn(&Flags) -> Vec<String>) -> Result<Vec<Vec<String>>> {
        let row = |(setting, fit): &(Flags, Fit)| {
            let mut row = first(setting);
            row.push(setting.needed("lr")?.to_string());
            row.extend(trial(fit, *setting == self.setting));
            Ok(row)
        };
        self.tried.iter().map(row).collect()
    }
}

impl Comparison<'_> {
    /// Searches and runs a method; `None` where a signal asked to stop. Costs a run a setting and a run a seed.
    ///
    /// # Errors
    /// Every setting diverges; those of a cell.
    pub fn of(&self, method: &Method, study: &mut Study<'_>) -> Result<Option<Compared>> {
        let (flags, epochs) = (self.flags.under(&method.flags), method.epochs * self.epochs);
        let run = |setting: &Flags, seed| of_seed(&flags.under(setting).count("epochs", epochs), seed, self.args);
        let seed = self.args.seed + self.seeds;
        let images = (self.images)(seed)?;
        let tried = study.all(method.settings(self.grid)?, |study, setting| {
            let key = format!("{}search-{}", self.prefix, method.key(&setting)?);
            let fit = cell(study, &key, &run(&setting, seed), &images, HeldOut::Validation)?;
            Ok(fit.map(|fit| (setting, fit)))
        })?;
        let Some(tried) = tried else { return Ok(None) };
        let setting = best(&tried)?;
        let fits = study.all(self.args.seed..self.args.seed + self.seeds, |study, seed| {
            let (images, key) = ((self.images)(seed)?, format!("{}run-{}-s{seed}", self.prefix, method.key(&setting)?));
            let flags = (self.compared)(&run(&setting, seed), &images);
            cell(study, &key, &flags, &images, HeldOut::Test)
        })?;
        let Some(fits) = fits else { return Ok(None) };
        Ok(Some(Compared { lr: setting.needed("lr")?, setting, tried, fits }))
    }
}

/// Cells of a comparison of these methods.
///
/// # Errors
/// The grid lacks a method.
pub(super) fn cells(methods: &[Method], grid: &Grid, seeds: u64) -> Result<usize> {
    let settings = methods.iter().map(|method| Ok(method.settings(grid)?.len())).sum::<Result<usize>>()?;
    Ok(settings + methods.len() * seeds as usize)
}
