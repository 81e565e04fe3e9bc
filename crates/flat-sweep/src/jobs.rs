//! Processes of this program, some at a time, each with its share of the cores.

use crate::held;
use anyhow::{Context, Result};
use flat_comm::Ranks;
use flat_comm::launcher::Launcher;
use flat_run::signal;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Time between two looks at the processes.
const POLL: Duration = Duration::from_millis(20);

/// The number of processes that run at a time, and the threads of each.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// The program, which takes `train` and `eval`.
    pub program: PathBuf,
    /// Processes at a time.
    pub at_once: usize,
    /// Threads of each.
    pub threads: usize,
    /// Why so many, in words.
    pub why: String,
}

impl Jobs {
    /// For `runs` runs on `cores` cores, `asked` of them at a time where the user says so. On a CPU every core has a run of its
    /// own as long as there are enough: a thread more speeds up a run by less than a run more does, and numbers do not
    /// depend on threads. A GPU has one run at a time.
    pub fn choose(program: PathBuf, asked: Option<usize>, cores: usize, runs: usize, gpu: bool) -> Self {
        let cores = cores.max(1);
        let (at_once, why) = match asked {
            Some(jobs) => (jobs.max(1), "as --jobs says".to_string()),
            None if gpu => (1, "one at a time on a GPU; --jobs for more".to_string()),
            None => (
                cores.min(runs).max(1),
                format!("a core each of {cores} while there are enough runs; --jobs for another number"),
            ),
        };
        Self { program, at_once, threads: (cores / at_once).max(1), why }
    }
}

/// A process to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// What it is, for a person.
    pub name: String,
    /// Its words.
    pub args: Vec<OsString>,
    /// Where its stdout goes, which it holds as long as it lives.
    pub out: PathBuf,
    /// Where its stderr goes.
    pub log: PathBuf,
}

/// How a process ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Its exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The last line that it wrote to stderr.
    pub said: String,
}

/// A process that runs; it is asked to stop, and waited for, when dropped.
struct Running {
    task: usize,
    child: Child,
}

impl Running {
    /// Closes its standard input: `--stop-at-eof` takes that for SIGINT.
    fn ask_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_stop();
        // of a process that has ended already this is its status
        let _ = self.child.wait();
    }
}

impl Jobs {
    /// Runs the tasks, in their order, or every rank its share of them; `ended` hears of each, of those of other ranks once all are done;
    /// `shown` of those that run here, by their places. `false` where a signal
    /// asked to stop: the processes have stopped then, with checkpoints written.
    ///
    /// # Errors
    /// A process cannot be started; those of `ended`. All processes have stopped then.
    pub(crate) fn run(
        &self,
        tasks: &[Task],
        mut ended: impl FnMut(usize, Exit) -> Result<()>,
        shown: impl FnMut(&[usize]),
    ) -> Result<bool> {
        let ranks = flat_comm::here();
        if ranks.is_alone() {
            return self.run_own(tasks, &(0..tasks.len()).collect::<Vec<_>>(), ended, shown);
        }
        ranks.tell(serde_json::to_vec(&(tasks, self.at_once, self.threads))?)?;
        let own: Vec<usize> = share(&ranks, tasks.len()).collect();
        let done = self.run_own(tasks, &own, &mut ended, shown)?;
        ranks.meet()?;
        let (mut all_done, said) = (done, ranks.hear(&[])?);
        for said in said.iter().skip(1) {
            let (done, exits): (bool, Vec<(usize, Exit)>) = serde_json::from_slice(said)?;
            all_done &= done;
            exits.into_iter().try_for_each(|(place, exit)| ended(place, exit))?;
        }
        Ok(all_done)
    }

    /// Runs the share of a rank that is not the first in every set of tasks that the first has, until [`Self::end`].
    ///
    /// # Errors
    /// A process cannot be started; a rank that is gone.
    pub fn serve(program: &Path) -> Result<()> {
        let ranks = flat_comm::here();
        loop {
            let told = ranks.tell(Vec::new())?;
            if told.is_empty() {
                return Ok(());
            }
            let (tasks, at_once, threads): (Vec<Task>, usize, usize) = serde_json::from_slice(&told)?;
            let jobs = Self { program: program.to_path_buf(), at_once, threads, why: String::new() };
            let mut exits: Vec<(usize, Exit)> = Vec::new();
            let own: Vec<usize> = share(&ranks, tasks.len()).collect();
            let keep = |place, exit| {
                exits.push((place, exit));
                Ok(())
            };
            let done = jobs.run_own(&tasks, &own, keep, |_| ())?;
            ranks.meet()?;
            ranks.hear(&serde_json::to_vec(&(done, exits))?)?;
        }
    }

    /// Lets the other ranks go.
    ///
    /// # Errors
    /// A rank that is gone.
    pub fn end() -> Result<()> {
        Ok(flat_comm::here().tell(Vec::new()).map(drop)?)
    }

    /// Runs those of the tasks that lie at these places.
    fn run_own(
        &self,
        tasks: &[Task],
        own: &[usize],
        mut ended: impl FnMut(usize, Exit) -> Result<()>,
        mut shown: impl FnMut(&[usize]),
    ) -> Result<bool> {
        let mut running: Vec<Running> = Vec::new();
        let mut next = 0;
        loop {
            let stop = signal::asked();
            if stop {
                running.iter_mut().for_each(Running::ask_to_stop);
            }
            while !stop && running.len() < self.at_once && next < own.len() {
                running.push(Running { task: own[next], child: self.start(&tasks[own[next]])? });
                next += 1;
            }
            let mut i = 0;
            while i < running.len() {
                let Some(status) = running[i].child.try_wait().context("cannot wait for a run")? else {
                    i += 1;
                    continue;
                };
                let done = running.swap_remove(i).task;
                tracing::info!(run = tasks[done].name, %status, "run ended");
                ended(done, Exit { code: status.code(), said: last_line(&tasks[done].log) })?;
            }
            if running.is_empty() && (stop || next == own.len()) {
                return Ok(next == own.len() && !signal::asked());
            }
            let mut places: Vec<usize> = running.iter().map(|running| running.task).collect();
            places.sort_unstable();
            shown(&places);
            std::thread::sleep(POLL);
        }
    }

    fn start(&self, task: &Task) -> Result<Child> {
        let open = |path: &Path| -> Result<File> {
            let file = held::take(path)?;
            file.set_len(0).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(file)
        };
        let mut command = Command::new(&self.program);
        command.args(&task.args).arg("--stop-at-eof").arg("--quiet").arg("--threads").arg(self.threads.to_string());
        command.stdin(Stdio::piped()).stdout(open(&task.out)?).stderr(open(&task.log)?);
        let child = Launcher::hide_from(&mut command)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        tracing::info!(run = task.name, pid = child.id(), log = %task.log.display(), "run started");
        Ok(child)
    }
}

/// The tasks of this rank: every so many, since neighbours cost alike.
fn share(ranks: &Ranks, tasks: usize) -> impl Iterator<Item = usize> + use<> {
    (ranks.rank()..tasks).step_by(ranks.size())
}

/// The last line of a log that holds anything.
fn last_line(log: &Path) -> String {
    let text = flat_core::file::read(log, flat_core::file::TEXT)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_without_a_rest() {
        let of = |asked, cores, runs, gpu| {
            let jobs = Jobs::choose("x".into(), asked, cores, runs, gpu);
            (jobs.at_once, jobs.threads)
        };
        assert_eq!(of(None, 8, 100, false), (8, 1));
        assert_eq!(of(None, 8, 3, false), (3, 2));
        assert_eq!(of(None, 8, 3, true), (1, 8));
        assert_eq!(of(Some(4), 8, 100, false), (4, 2));
        assert_eq!(of(Some(16), 8, 100, false), (16, 1));
    }
}
