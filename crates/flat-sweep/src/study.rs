//! The study of a sweep: settings that vary, settings that stay, seeds, budget.

use crate::halving::Halving;
use crate::{Axis, Budget, Sampler, Select, seeds};
use anyhow::{Context, Result};
use flat_core::setting::{Value, Values};
use flat_run::{settings, usage};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The settings of a sweep: what varies, what stays, seeds, budget.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Study {
    /// Settings whose every combination is tried.
    pub grid: Vec<Axis>,
    /// Settings that are drawn, for each cell of the grid anew.
    pub sample: Vec<Sampler>,
    /// Draws.
    pub random: Option<usize>,
    /// Seed of the draws.
    pub random_seed: u64,
    /// Seeds of the runs of every cell.
    pub seeds: Vec<u64>,
    /// Settings of every run.
    pub train: Values,
    /// A file with more of them, which `train` overrides.
    pub config: Option<PathBuf>,
    /// What every run may spend.
    pub budget: Budget,
    /// What cells are ranked by.
    pub select: Select,
    /// Stop the worse cells early.
    pub halving: Option<Halving>,
    /// Look at the test set for every cell, not for the first alone.
    pub test_all: bool,
}

/// What is measured and kept unless the user says it: a search needs neither curvature nor old checkpoints.
const USUAL: [(&str, u64); 2] = [("trace-probes", 0), ("keep-checkpoints", 1)];

/// Most cells of a sweep: all are resolved before one runs.
const MOST_CELLS: usize = 100_000;

impl Study {
    /// The study of a TOML file: keys as the flags of `sweep`, tables `grid` and `sample`, and `train` with settings of every
    /// run.
    ///
    /// # Errors
    /// An unreadable file; a usage error that names file and key.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = flat_core::file::read_text(path).with_context(|| format!("cannot read --study {name}"))?;
        let file: File = toml::from_str(&text).map_err(|e| usage(format!("--study {name}: {e}")))?;
        file.study().map_err(|e| usage(format!("--study {name}: {e:#}")))
    }

    /// The same as a file, which [`Self::read`] reads.
    ///
    /// # Errors
    /// A number that TOML does not have.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(&File::of(self)?)?)
    }

    /// Varies a setting over a grid, in place of how it varied before.
    pub fn vary(&mut self, axis: Axis) {
        self.sample.retain(|s| s.name != axis.name);
        match self.grid.iter_mut().find(|a| a.name == axis.name) {
            Some(found) => *found = axis,
            None => self.grid.push(axis),
        }
    }

    /// Draws a setting at random, in place of how it varied before.
    pub fn draw(&mut self, sampler: Sampler) {
        self.grid.retain(|a| a.name != sampler.name);
        match self.sample.iter_mut().find(|s| s.name == sampler.name) {
            Some(found) => *found = sampler,
            None => self.sample.push(sampler),
        }
    }

    /// Names of the settings that vary, in the order of the cells' names.
    pub fn names(&self) -> Vec<&str> {
        self.grid.iter().map(|a| a.name.as_str()).chain(self.sample.iter().map(|s| s.name.as_str())).collect()
    }

    /// The same study with the defaults of a search, once its settings are checked.
    ///
    /// # Errors
    /// A usage error: nothing varies, a setting both varies and stays, draws without samplers.
    pub fn checked(mut self) -> Result<Self> {
        let wrong = |text: String| Err(usage(text));
        if self.grid.is_empty() && self.sample.is_empty() {
            return wrong("nothing varies: give --grid NAME=A,B, or --sample NAME=A..B with --random N".into());
        }
        match (self.random, self.sample.is_empty()) {
            (None, false) => {
                return wrong("--sample has no effect here: it needs --random N, the number of draws".into());
            }
            (Some(n), true) => return wrong(format!("--random {n} has no effect here: it needs --sample NAME=A..B")),
            (Some(0), false) => return wrong("--random 0: draw at least 1".into()),
            (Some(n), _) if n > MOST_CELLS => {
                return wrong(format!("--random {n}: draw at most {MOST_CELLS}, as many cells as a sweep may have"));
            }
            _ => {}
        }
        let cells = self.grid.iter().map(|axis| axis.values.len()).chain(self.random).fold(1, usize::saturating_mul);
        if cells > MOST_CELLS {
            return wrong(format!(
                "--grid and --random make {cells} cells: a sweep has at most {MOST_CELLS}; vary less"
            ));
        }
        if i64::try_from(self.random_seed).is_err() {
            return wrong(format!("--random-seed {}: give a number from 0 to {}", self.random_seed, i64::MAX));
        }
        if let Some(name) = self.names().into_iter().find(|name| self.train.get(name).is_some()) {
            return wrong(format!("--{name} is given and varies too: leave out one of the two"));
        }
        let fixed = ["no-test", "validation", "validation-seed"];
        if let Some(name) = fixed.into_iter().find(|name| self.names().contains(name)) {
            return wrong(format!("--{name} cannot vary in a sweep: its runs are ranked on the same images"));
        }
        self.train.remove("no-test");
        let length = ["epochs", "steps", "evals"];
        if let Budget::Evals(Some(n)) = self.budget
            && let Some(name) =
                length.into_iter().find(|name| self.train.get(name).is_some() || self.names().contains(name))
        {
            return wrong(format!("--{name} and --budget evals={n} both say how long the runs are: leave one out"));
        }
        if let Some(seed) = self.train.remove("seed") {
            if !self.seeds.is_empty() {
                return wrong(format!("--seed {seed} and --seeds both say the seeds: leave out --seed"));
            }
            self.seeds = seeds(&seed.to_string())?;
        }
        if self.seeds.is_empty() {
            self.seeds.push(0);
        }
        let in_file = match &self.config {
            Some(path) => settings::read_table(path)?,
            None => Values::default(),
        };
        for (name, value) in USUAL {
            if self.train.get(name).is_none() && in_file.get(name).is_none() && !self.names().contains(&name) {
                self.train.insert(name, Value::Count(value));
            }
        }
        Ok(self)
    }
}

/// A study as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<toml::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<usize>,
    random_seed: u64,
    budget: String,
    select: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    halving: Option<String>,
    test_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<PathBuf>,
    grid: toml::Table,
    sample: toml::Table,
    train: toml::Table,
}

impl File {
    fn study(self) -> Result<Study> {
        let list = |value: &Value| match value {
            Value::List(all) => all.clone(),
            one => vec![one.clone()],
        };
        let grid = settings::values_of(&self.grid)?;
        let sample = settings::values_of(&self.sample)?;
        let sampler = |(name, value): (&str, &Value)| match value {
            Value::List(all) => Sampler::among(name, all),
            text => Sampler::new(name, &text.to_string()),
        };
        let texts = |value: toml::Value| match value {
            toml::Value::Array(all) => all.iter().map(toml::Value::to_string).collect::<Vec<_>>().join(","),
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(Study {
            grid: grid.iter().map(|(name, value)| Axis::new(name, list(value))).collect::<Result<_>>()?,
            sample: sample.iter().map(sampler).collect::<Result<_>>()?,
            random: self.random,
            random_seed: self.random_seed,
            seeds: self.seeds.map(|value| seeds(&texts(value))).transpose()?.unwrap_or_default(),
            train: settings::values_of(&self.train)?,
            config: self.config,
            budget: if self.budget.is_empty() { Budget::default() } else { self.budget.parse()? },
            select: match self.select.is_empty() {
                true => Select::default(),
                false => self.select.parse().map_err(|e| usage(format!("--{e}")))?,
            },
            halving: self.halving.map(|text| text.parse()).transpose()?,
            test_all: self.test_all,
        })
    }

    fn of(study: &Study) -> Result<Self> {
        let mut grid = Values::default();
        study.grid.iter().for_each(|axis| grid.insert(axis.name.as_str(), Value::List(axis.values.clone())));
        let mut sample = Values::default();
        study.sample.iter().for_each(|s| sample.insert(s.name.as_str(), Value::Text(s.text())));
        let seeds = study.seeds.iter().map(|n| Ok(toml::Value::Integer(i64::try_from(*n)?)));
        Ok(Self {
            seeds: Some(toml::Value::Array(seeds.collect::<Result<_>>()?)),
            random: study.random,
            random_seed: study.random_seed,
            budget: study.budget.to_string(),
            select: study.select.to_string(),
            halving: study.halving.map(|h| h.to_string()),
            test_all: study.test_all,
            config: study.config.as_ref().map(std::path::absolute).transpose()?,
            grid: settings::to_toml(&grid)?,
            sample: settings::to_toml(&sample)?,
            train: settings::to_toml(&study.train)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "seeds = '0..3'\nrandom = 4\nbudget = 'evals=50'\nselect = 'loss'\nhalving = 'eta=3'\n\
                        [grid]\noptimizer = ['sgd', 'sam']\nhidden = [[16, 8], [4]]\n\
                        [sample]\nlr = 'log:0.01..1'\n[train]\nmodel = 'mlp'\n";

    fn read(text: &str) -> Result<Study> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("study.toml");
        std::fs::write(&path, text)?;
        Study::read(&path)
    }

    #[test]
    fn a_study_reads_back_as_it_was_written() -> Result<()> {
        let study = read(TEXT)?;
        assert_eq!((study.grid.len(), study.seeds.len(), study.names()[0]), (2, 3, "hidden"));
        assert_eq!(study.grid[0].values.len(), 2, "a list of lists");
        assert_eq!(read(&study.to_toml()?)?, study);
        Ok(())
    }

    #[test]
    fn faults_of_a_file_name_file_and_key() {
        for (text, part) in [
            ("sedes = '0..3'", "sedes"),
            ("[grid]\nrohs = [1.0]", "rohs"),
            ("[grid]\nlr = []", "lr"),
            ("budget = 'all'", "all"),
            ("select = 'speed'", "speed"),
            ("halving = 'eta=1'", "eta"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(part) && error.contains("study.toml"), "{text}: {error}");
        }
    }

    #[test]
    fn what_makes_no_study_names_the_flag_and_the_remedy() -> Result<()> {
        let with = |change: &dyn Fn(&mut Study)| {
            let mut study = Study::default();
            change(&mut study);
            study.checked().expect_err("refused").to_string()
        };
        let axis = Axis::parse("lr=0.1,0.2")?;
        assert!(with(&|_| {}).contains("--grid"));
        assert!(with(&|s| s.random = Some(3)).contains("nothing varies"));
        let large = with(&|s| (s.random_seed, s.grid) = (u64::MAX, vec![axis.clone()]));
        assert!(large.starts_with("--random-seed 18446744073709551615: give a number"), "{large}");
        let drawn = Sampler { name: "lr".into(), how: crate::How::Uniform(0.1, 0.2) };
        for (draws, values, part) in [(usize::MAX, 1, "--random"), (50_001, 2, "100002 cells")] {
            let seeds = (0..values).map(Value::Count).collect();
            let many = with(&|s| {
                (s.random, s.sample) = (Some(draws), vec![drawn.clone()]);
                s.grid = vec![Axis { name: "warmup".into(), values: Vec::clone(&seeds) }];
            });
            assert!(many.contains(part), "{many}");
        }
        assert!(
            with(&|s| s.sample = vec![Sampler { name: "lr".into(), how: crate::How::Uniform(0.1, 0.2) }])
                .contains("--random")
        );
        let both = with(&|s| {
            s.vary(axis.clone());
            s.train.insert("lr", Value::Number(0.3));
        });
        assert!(both.contains("--lr"), "{both}");
        let twice = with(&|s| {
            s.vary(axis.clone());
            s.budget = Budget::Evals(Some(5));
            s.train.insert("epochs", Value::Count(1));
        });
        assert!(twice.contains("--epochs"), "{twice}");
        Ok(())
    }
}
