//! `flat-train sweep`.

use super::print;
use crate::args::SweepArgs;
use crate::exit::Outcome;
use crate::runtime::cores;
use anyhow::{Result, bail};
use flat_run::store::write_with_folders;
use flat_run::{Ui, ranks, signal};
use flat_sweep::{Jobs, Sweep, this_program};

/// Runs what the sweep still lacks, and prints its leaderboard.
pub(super) fn run(args: &SweepArgs, threads: Option<usize>, ui: Ui, json: bool) -> Result<Outcome> {
    signal::leaves("what was finished is kept, and the same command goes on");
    let program = this_program()?;
    let ranks = ranks::here();
    if !ranks.is_first() {
        Jobs::serve(&program)?;
        return Ok(Outcome::Done);
    }
    let cores = threads.unwrap_or_else(cores);
    let jobs = |runs, gpu| Jobs::choose(program, args.jobs.map(usize::from), cores, runs, gpu);
    let mut sweep = Sweep::open(args.study()?, &args.out, jobs, ui)?;
    if !ranks.is_alone() {
        ui.say(format!("{} ranks share the runs out ({})", ranks.size(), ranks.engine().name()));
    }
    let board = sweep.run()?;
    Jobs::end()?;
    if !board.complete {
        ui.say(format!("stopped; the same command with --out {} goes on", args.out.display()));
        return Ok(Outcome::Interrupted);
    }
    if let Some(file) = &args.csv {
        write_with_folders(file, board.csv().as_bytes())?;
    }
    let printed = print(json, &board, || board.text())?;
    if !board.failures.is_empty() {
        bail!("{} of the runs failed; the same command tries them again", board.failures.len());
    }
    Ok(printed)
}
