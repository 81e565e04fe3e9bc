//! A sweep from its study to its leaderboard.

use crate::board::Board;
use crate::cell::{Cell, cells_on};
use crate::jobs::{Exit, Jobs, Task};
use crate::outcome::{describe, result};
use crate::ranking::{Tried, rank};
use crate::record::{Record, State};
use crate::results::{Results, rung};
use crate::standing::Standing;
use crate::store::{Found, Store};
use crate::study::Study;
use anyhow::{Context, Result};
use flat_run::store::{same_data, write_whole};
use flat_run::{Ui, signal};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A sweep in its folder, whose cells are all resolved and checked.
pub struct Sweep<'a> {
    results: Results,
    jobs: Jobs,
    ui: Ui<'a>,
}

/// A run of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    cell: usize,
    seed: u64,
}

/// What `eval` prints.
#[derive(Deserialize)]
struct Score {
    loss: Option<f64>,
    accuracy: Option<f64>,
}

impl<'a> Sweep<'a> {
    /// Resolves every cell and takes the folder; runs nothing. `jobs` is told the number of runs and whether they are on a GPU.
    ///
    /// # Errors
    /// A study that makes no sense, which names the cell; a folder that another sweep has.
    pub fn open(study: Study, root: &Path, jobs: impl FnOnce(usize, bool) -> Jobs, ui: Ui<'a>) -> Result<Self> {
        let study = study.checked()?;
        let (cells, notes, sums) = cells_on(&study)?;
        let first = cells.first().context("the study has no cell")?;
        let gpu = !flat_run::parts::open(&first.config)?.device.is_cpu();
        let store = Store::open(root)?;
        same_data(root, &sums)?;
        store.write("sweep.toml", &study.to_toml()?)?;
        let jobs = jobs(cells.len() * study.seeds.len(), gpu);
        let (records, dropped) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { results: Results { study, cells, notes, store, records, dropped }, jobs, ui })
    }

    /// The cells.
    pub fn cells(&self) -> &[Cell] {
        &self.results.cells
    }

    /// Runs what is missing and writes `sweep.json`; the board is not complete where a signal asked to stop. Cost: that of the
    /// runs.
    ///
    /// # Errors
    /// A run in the folder with other settings, a full disk, a process that cannot be started. A run that diverges or fails is
    /// none: the board says so.
    pub fn run(&mut self) -> Result<Board> {
        let (n, seeds, jobs) = (self.results.cells.len(), self.results.study.seeds.len(), &self.jobs);
        self.results.notes.iter().for_each(|note| self.ui.say(note));
        self.ui.say(format!(
            "{n} cells, {seeds} seeds each, {} at a time on {} threads each ({})",
            jobs.at_once, jobs.threads, jobs.why
        ));
        let complete = self.train()? && self.look_at_tests()?;
        self.results.write_board(&self.jobs, complete)
    }

    /// Trains all runs, or those that halving keeps; false where a signal asked to stop.
    fn train(&mut self) -> Result<bool> {
        let mut alive: Vec<usize> = (0..self.results.cells.len()).collect();
        let rungs = self.results.study.halving.map_or_else(|| vec![1], |halving| halving.rungs(alive.len()));
        for divisor in &rungs {
            if !self.stage(&alive, *divisor)? {
                return Ok(false);
            }
            let Some(halving) = self.results.study.halving.filter(|_| *divisor > 1) else { continue };
            let mut ranked: Vec<Tried<'_>> =
                alive.iter().map(|cell| self.results.at_rung(*cell, *divisor)).collect::<Result<_>>()?;
            rank(&mut ranked, self.results.study.select, self.results.study.seeds.len());
            let kept: Vec<&str> =
                ranked.iter().take(halving.kept(ranked.len())).map(|t| t.cell.name.as_str()).collect();
            let (go_on, dropped): (Vec<usize>, Vec<usize>) =
                alive.iter().partition(|cell| kept.contains(&self.results.cells[**cell].name.as_str()));
            self.ui.say(format!("rung at 1/{divisor} of the budget: {} go on", kept.join(" and ")));
            for cell in dropped {
                self.results.dropped.insert(cell, rung(&self.results.cells[cell], *divisor));
            }
            alive = go_on;
        }
        Ok(true)
    }

    /// Brings the runs of these cells to their part of the budget; false where a signal asked to stop.
    fn stage(&mut self, alive: &[usize], divisor: u64) -> Result<bool> {
        let all: Vec<Run> = self
            .results
            .study
            .seeds
            .iter()
            .flat_map(|seed| alive.iter().map(|cell| Run { cell: *cell, seed: *seed }))
            .collect();
        let (mut runs, mut tasks) = (Vec::new(), Vec::new());
        for run in &all {
            if let Some(task) = self.task(*run, divisor)? {
                runs.push(*run);
                tasks.push(task);
            }
            if signal::asked() {
                return Ok(false);
            }
        }
        let (done, of) = (all.len() - runs.len(), all.len());
        let bar = std::cell::RefCell::new(self.ui.bar("sweep", done as u64, of as u64, "runs"));
        let Self { results, jobs, ui } = self;
        let at = std::cell::Cell::new(done);
        let standings = std::cell::RefCell::new(Standing::new(results, *ui));
        let ended = |i: usize, exit: Exit| {
            let run = runs[i];
            let place = results.store.place(&results.cells[run.cell], run.seed);
            let Some(record) = result(&place, exit)? else { return Ok(()) };
            record.write(&place.record).or_else(|e| if place.dir.exists() { Err(e) } else { Ok(()) })?;
            at.set(at.get() + 1);
            bar.borrow().say(format!("{} of {of}  {}  {}", at.get(), tasks[i].name, describe(&record)));
            results.records.insert((run.cell, run.seed), record);
            standings.borrow_mut().ended(results);
            results.write_board(jobs, false).map(drop)
        };
        let shown = |places: &[usize]| {
            let names = || places.iter().map(|i| tasks[*i].name.as_str()).collect::<Vec<_>>().join("; ");
            bar.borrow_mut().update(at.get() as u64, || format!("{} running: {}", places.len(), names()));
            standings.borrow_mut().running(places.iter().map(|i| runs[*i].cell).collect());
        };
        jobs.run(&tasks, ended, shown)
    }

    /// The process that a run still needs; its result where it needs none.
    fn task(&mut self, run: Run, divisor: u64) -> Result<Option<Task>> {
        let cell = &self.results.cells[run.cell];
        let (place, config) = (self.results.store.place(cell, run.seed), cell.config_of(run.seed));
        let pause = (divisor > 1).then(|| rung(cell, divisor));
        let found = self.results.store.find(&place, &config)?;
        if let Found::Ended(record) = &found {
            let far = record.state != State::Paused || pause.is_some_and(|steps| record.steps >= Some(steps));
            self.results.records.insert((run.cell, run.seed), record.clone());
            if far {
                return Ok(None);
            }
        }
        let mut args: Vec<OsString> = vec!["train".into()];
        if let Found::Cleared(why) = &found {
            self.ui.warn(why);
        }
        match found {
            Found::Nothing | Found::Cleared(_) => {
                if let Some(folder) = place.config.parent() {
                    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
                }
                write_whole(&place.config, config.to_toml()?.as_bytes())?;
                args.extend(["--config".into(), place.config.clone().into()]);
                args.extend(["--out".into(), place.dir.clone().into()]);
            }
            Found::Begun | Found::Ended(_) => args.extend(["--resume".into(), place.dir.clone().into()]),
        }
        if let Some(steps) = pause {
            args.extend(["--pause-after".into(), steps.to_string().into()]);
        }
        Ok(Some(Task { name: format!("{} seed {}", cell.name, run.seed), args, out: place.out, log: place.log }))
    }

    /// Scores the weights of the best cell on the test set, or of all; false where a signal asked to stop. While a run has failed
    /// nobody knows which is best, and none is looked at.
    fn look_at_tests(&mut self) -> Result<bool> {
        // a run that failed may be the best once it is taken up again
        let failed = self.results.records.values().any(|record| record.state == State::Failed);
        if failed && !self.results.study.test_all {
            return Ok(true);
        }
        let ranked = self.results.ranked();
        let best = ranked.first().map(|t| t.cell.name.clone());
        let wanted =
            |run: &Run| self.results.study.test_all || Some(&self.results.cells[run.cell].name) == best.as_ref();
        let untested = |record: &Record| record.state == State::Finished && record.test_loss.is_none();
        let runs: Vec<Run> = (self.results.records.iter())
            .filter(|(_, record)| untested(record))
            .map(|((cell, seed), _)| Run { cell: *cell, seed: *seed })
            .filter(wanted)
            .collect();
        let task = |run: &Run| {
            let cell = &self.results.cells[run.cell];
            let place = self.results.store.place(cell, run.seed);
            let mut args: Vec<OsString> = vec!["eval".into(), "--json".into(), "--split".into(), "test".into()];
            args.extend(["--checkpoint".into(), place.dir.into()]);
            args.extend(["--device".into(), cell.config.device.to_string().into()]);
            if let Some(limit) = cell.config.test_limit {
                args.extend(["--limit".into(), limit.to_string().into()]);
            }
            let log = place.test.with_extension("log");
            Task { name: format!("{} seed {}", cell.name, run.seed), args, out: place.test, log }
        };
        let tasks: Vec<Task> = runs.iter().map(task).collect();
        let mut bar = self.ui.bar("test set", 0, tasks.len() as u64, "runs");
        let Self { results, jobs, ui } = self;
        let mut count = 0;
        let ended = |i: usize, exit: Exit| {
            let run = runs[i];
            let place = results.store.place(&results.cells[run.cell], run.seed);
            if exit.code != Some(0) {
                ui.warn(format!("{}: the test set could not be looked at: {}", tasks[i].name, exit.said));
                return Ok(());
            }
            let bytes = flat_core::file::read(&place.test, flat_core::file::TEXT)
                .with_context(|| format!("cannot read {}", place.test.display()))?;
            let score: Score = serde_json::from_slice(&bytes)?;
            if let Some(record) = results.records.get_mut(&(run.cell, run.seed)) {
                (record.test_accuracy, record.test_loss) = (score.accuracy, score.loss);
                record.write(&place.record)?;
            }
            count += 1;
            bar.update(count, String::new);
            results.write_board(jobs, false).map(drop)
        };
        jobs.run(&tasks, ended, |_| ())
    }
}

/// The program that runs now, which a sweep starts again for each run.
///
/// # Errors
/// The system does not say.
pub fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program to start its runs")
}
