//! The results of a sweep so far, and the leaderboard made of them.

use crate::board::{BOARD, Board, Failure, notes};
use crate::cell::Cell;
use crate::jobs::Jobs;
use crate::ranking::{Tried, rank, rows};
use crate::record::{Record, State};
use crate::store::Store;
use crate::study::Study;
use anyhow::Result;
use flat_run::measure::SCHEMA;
use std::collections::BTreeMap;

/// The cells of a study with the results of their runs.
pub(crate) struct Results {
    pub study: Study,
    pub cells: Vec<Cell>,
    pub notes: Vec<String>,
    pub store: Store,
    /// What is known of the runs, by cell and seed.
    pub records: BTreeMap<(usize, u64), Record>,
    /// Rungs at which halving dropped cells: steps by cell.
    pub dropped: BTreeMap<usize, u64>,
}

impl Results {
    /// A cell with its runs.
    fn tried(&self, cell: usize) -> Tried<'_> {
        let of = |((_, seed), record): (&(usize, u64), &Record)| (*seed, record.clone());
        let runs = self.records.range((cell, 0)..=(cell, u64::MAX)).map(of);
        // a run of an earlier seed that is no more asked for
        let runs = runs.filter(|(seed, _)| self.study.seeds.contains(seed)).collect();
        Tried { cell: &self.cells[cell], runs, dropped_after: self.dropped.get(&cell).copied() }
    }

    /// A cell as it was at a rung, whatever its runs have come to since. A sweep that is begun again decides as it
    /// did.
    pub fn at_rung(&self, cell: usize, divisor: u64) -> Result<Tried<'_>> {
        let mut tried = self.tried(cell);
        let steps = rung(tried.cell, divisor);
        for (seed, run) in tried.runs.iter_mut().filter(|(_, run)| run.steps > Some(steps)) {
            let place = self.store.place(tried.cell, *seed);
            *run = Record::of_journal(&place.dir, State::Paused, None, steps)?;
        }
        Ok(tried)
    }

    /// The cells, the best first.
    pub fn ranked(&self) -> Vec<Tried<'_>> {
        let mut all: Vec<Tried<'_>> = (0..self.cells.len()).map(|cell| self.tried(cell)).collect();
        rank(&mut all, self.study.select, self.study.seeds.len());
        all
    }

    /// Writes the leaderboard of the results so far to the sweep's folder.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_board(&self, jobs: &Jobs, complete: bool) -> Result<Board> {
        let board = self.board(jobs, complete);
        self.store.write(BOARD, &serde_json::to_string_pretty(&board)?)?;
        Ok(board)
    }

    fn board(&self, jobs: &Jobs, complete: bool) -> Board {
        let ranked = self.ranked();
        let rows = rows(&ranked, self.study.select, self.study.seeds.len());
        let failures = ranked.iter().flat_map(|t| {
            t.runs.iter().filter(|(_, run)| run.state == State::Failed).map(|(seed, run)| Failure {
                cell: t.cell.name.clone(),
                seed: *seed,
                why: run.why.clone().unwrap_or_default(),
            })
        });
        let failures: Vec<Failure> = failures.collect();
        let notes = notes(&self.study, !failures.is_empty());
        Board {
            schema: SCHEMA,
            out: self.store.root().display().to_string(),
            complete,
            select: self.study.select,
            budget: self.study.budget.to_string(),
            halving: self.study.halving.map(|h| h.to_string()),
            seeds: self.study.seeds.clone(),
            validation: self.cells.iter().filter_map(|c| c.config.validation).min().unwrap_or_default(),
            jobs: jobs.at_once,
            threads: jobs.threads,
            jobs_why: jobs.why.clone(),
            varied: self.study.names().into_iter().map(String::from).collect(),
            failures,
            notes: self.notes.iter().cloned().chain(notes).collect(),
            rows,
        }
    }
}

/// Steps of a cell's runs at a rung.
pub(crate) fn rung(cell: &Cell, divisor: u64) -> u64 {
    (cell.steps / divisor).max(1)
}
