//! From a study to its cells: every combination of settings, resolved and checked before anything runs.

use crate::axis::combinations;
use crate::sampler::draws;
use crate::select::Select;
use crate::study::Study;
use anyhow::{Context, Result};
use candle_core::Device;
use flat_core::setting::{Value, Values};
use flat_data::{DatasetKind, Split};
use flat_run::parts::{self, optimizer};
use flat_run::store::sums;
use flat_run::{RunConfig, usage};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Part of the training images that validates where the user names no number.
const VALIDATION: f64 = 0.1;

/// One combination of settings: a row of the leaderboard.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its settings as `optimizer=sam,rho=0.05`.
    pub name: String,
    /// The settings that vary and have an effect here, with their values.
    pub settings: Vec<(String, String)>,
    /// Everything that decides its runs, but for the seed.
    pub config: RunConfig,
    /// Optimizer steps of its runs.
    pub steps: u64,
}

impl Cell {
    /// The settings of its run with this seed.
    pub fn config_of(&self, seed: u64) -> RunConfig {
        self.config.clone().seed(seed)
    }
}

/// The cells of a study and what to know of them, in words. A setting that has no effect in a cell is left out there, so that
/// cells that differ in nothing else are one; a setting without effect in any cell is an error. Reads the training images
/// of each data set once, to know how many there are.
///
/// # Errors
/// A usage error that names the cell: a value out of range, one cell twice, a rule that needs what the run does not have.
pub fn cells(study: &Study) -> Result<(Vec<Cell>, Vec<String>)> {
    cells_on(study).map(|(cells, notes, _)| (cells, notes))
}

/// Sums of images, by what they are of.
type Sums = BTreeMap<String, String>;

/// The same, with the sums of the training images.
pub(crate) fn cells_on(study: &Study) -> Result<(Vec<Cell>, Vec<String>, Sums)> {
    let mut found =
        Found { study, splits: BTreeMap::new(), cells: Vec::new(), used: Vec::new(), needs: BTreeMap::new() };
    let mut left_out: Vec<(String, String)> = Vec::new();
    let all = study.combinations()?;
    let tried = all.len();
    for swept in all {
        left_out.extend(found.add(swept)?);
    }
    let varied = study.names().into_iter().map(String::from);
    for name in varied.chain(study.train.iter().map(|(name, _)| name.to_string())) {
        if let Some(needs) = found.needs.get(&name).filter(|_| !found.used.contains(&name)) {
            return Err(usage(format!("--{name} has no effect in any cell: it needs {needs}")));
        }
    }
    let mut notes = Vec::new();
    left_out.sort_unstable();
    left_out.dedup();
    for name in study.names() {
        let cells: Vec<&str> = left_out.iter().filter(|(n, _)| n == name).map(|(_, cell)| cell.as_str()).collect();
        if !cells.is_empty() {
            notes.push(format!("{name} has no effect in {} and is left out there", few(&cells)));
        }
    }
    if found.cells.len() < tried {
        notes.push(format!("{tried} combinations are {} cells", found.cells.len()));
    }
    let sums = found.splits.iter().flat_map(|((kind, _), split)| sums(kind, &[("training", split)])).collect();
    Ok((found.cells, notes, sums))
}

/// At most three of them by name.
fn few(names: &[&str]) -> String {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(" and ");
    if names.len() > 3 { format!("{shown} and {} more cells", names.len() - 3) } else { shown }
}

impl Study {
    /// What varies, each combination once: the grid, and the draws for each of its cells.
    fn combinations(&self) -> Result<Vec<Vec<(String, Value)>>> {
        let grid = combinations(&self.grid);
        let Some(n) = self.random else { return Ok(grid) };
        let draws = draws(&self.sample, n, self.random_seed);
        if draws.len() < n {
            let only = draws.len();
            return Err(usage(format!("--random {n}: only {only} different settings could be drawn; draw fewer")));
        }
        let with =
            |cell: &Vec<(String, Value)>, draw: &Vec<(String, Value)>| cell.iter().chain(draw).cloned().collect();
        Ok(grid.iter().flat_map(|cell| draws.iter().map(move |draw| with(cell, draw))).collect())
    }
}

struct Found<'a> {
    study: &'a Study,
    /// Training images of a data set in a folder.
    splits: BTreeMap<(String, Option<PathBuf>), Arc<Split>>,
    cells: Vec<Cell>,
    /// Names that have an effect in some cell.
    used: Vec<String>,
    /// What those need that have none in some cell.
    needs: BTreeMap<String, String>,
}

impl Found<'_> {
    /// Adds a cell; what was left out of it, with its name.
    fn add(&mut self, mut swept: Vec<(String, Value)>) -> Result<Vec<(String, String)>> {
        let file = self.study.config.as_deref();
        let mut fixed = self.study.train.clone();
        let mut left_out = Vec::new();
        let flags = loop {
            let flags = fixed.clone().under(&values_of(&swept));
            let ignored = named(&name_of(&swept), RunConfig::without_effect(&flags, file))?;
            if ignored.is_empty() {
                break flags;
            }
            for (key, needs) in ignored {
                swept.retain(|(name, _)| *name != key);
                fixed.remove(&key);
                if self.study.names().contains(&key.as_str()) {
                    left_out.push(key.clone());
                }
                self.needs.insert(key, needs);
            }
        };
        self.used.extend(flags.iter().map(|(key, _)| key.to_string()));
        let name = name_of(&swept);
        let left_out = left_out.into_iter().map(|key| (key, name.clone())).collect();
        let settings: Vec<(String, String)> =
            swept.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
        if self.cells.iter().any(|cell| cell.settings == settings) {
            return Ok(left_out);
        }
        let (config, steps) = named(&name, self.whole(&flags))?;
        if let Some(twin) = self.cells.iter().find(|cell| cell.config == config) {
            return Err(usage(format!("{} and {name} are one and the same cell: leave one of them out", twin.name)));
        }
        self.cells.push(Cell { name, settings, config, steps });
        Ok(left_out)
    }

    /// The configuration of these flags with validation images and the budget's length, built once to see that it can be.
    fn whole(&mut self, flags: &Values) -> Result<(RunConfig, u64)> {
        let file = self.study.config.as_deref();
        let config = RunConfig::resolve(flags, file)?;
        let train = self.images(&config)?;
        if self.study.select == Select::WorstGroup && train.groups().is_none() {
            let known = DatasetKind::ALL.iter().filter(|kind| kind.attributes > 0).map(ToString::to_string);
            return Err(usage(format!(
                "--select worst-group: --dataset {} has no groups; rank by accuracy or loss, or take {}",
                config.dataset,
                known.collect::<Vec<_>>().join(" or ")
            )));
        }
        let mut flags = flags.clone();
        if config.validation.is_none() {
            flags.insert("validation", Value::from(((train.len() as f64 * VALIDATION).round() as usize).max(1)));
        }
        flags.insert("no-test", Value::Switch(true));
        let config = RunConfig::resolve(&flags, file)?;
        // the test images are none of this
        let nothing = Arc::new(train.take(1)?);
        let data = parts::data_of(&config, train, nothing, PathBuf::new(), &Device::Cpu)?;
        let per_epoch = parts::steps_per_epoch(&config, &data);
        let plain_steps = config.evals.unwrap_or_else(|| parts::total_steps(&config, per_epoch));
        let config = RunConfig::resolve(&self.study.budget.lay_over(&flags, &config, plain_steps), file)?;
        optimizer(&config, &parts::model(&config, &Device::Cpu)?, &data)?;
        let steps = parts::total_steps(&config, per_epoch);
        Ok((config, steps))
    }

    /// Training images that a configuration uses.
    fn images(&mut self, config: &RunConfig) -> Result<Arc<Split>> {
        let name = match config.dataset.own() {
            None => config.dataset.to_string(),
            Some(path) => {
                let [channels, height, width] = config.shape();
                format!("{} ({channels}x{height}x{width})", path.display())
            }
        };
        let key = (name, config.data_dir.clone());
        let all = match self.splits.get(&key) {
            Some(split) => split.clone(),
            None => {
                let split = parts::split(config, true, None)?;
                self.splits.insert(key, split.clone());
                split
            }
        };
        Ok(match config.train_limit {
            Some(limit) if limit < all.len() => Arc::new(all.take(limit)?),
            _ => all,
        })
    }
}

/// An error with the cell that it is of.
fn named<T>(cell: &str, result: Result<T>) -> Result<T> {
    result.with_context(|| format!("in the cell {cell}"))
}

/// The settings of a cell in one word, as its folder is called.
fn name_of(swept: &[(String, Value)]) -> String {
    swept.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn values_of(swept: &[(String, Value)]) -> Values {
    let mut values = Values::default();
    swept.iter().for_each(|(name, value)| values.insert(name.as_str(), value.clone()));
    values
}
