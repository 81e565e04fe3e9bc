//! Random signals at random times, over every case, until the end; then bit for bit with the uninterrupted run.

use crate::args::Given;
use crate::case::{CASES, Case, Kind};
use crate::ears::Ears;
use crate::outcome::Outcome;
use crate::random::Random;
use crate::report::Report;
use crate::room::Room;
use crate::sitting::{Ended, PATIENCE, Sitting, ends_within, signal, wait};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;

/// Signals: one that nothing survives, a polite one, Ctrl-C, a terminal that went.
const SIGNALS: [&str; 4] = ["KILL", "TERM", "INT", "HUP"];

/// Kills of one run, after which it is left alone.
const KILLS: usize = 8;

/// A case as it ends if nobody disturbs it.
pub(crate) struct Undisturbed {
    pub case: Case,
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// Runs a case twice, undisturbed: both must come to the same, or nothing can be compared with it.
///
/// # Errors
/// A case that does not run, or not to the same.
pub(crate) fn undisturbed(room: &Room, case: Case) -> Result<Undisturbed> {
    let once = || -> Result<(Outcome, Duration)> {
        let out = room.fresh("undisturbed")?;
        let sitting = Sitting::of(&mut room.command(&case.words(room, &out)?))?;
        if !sitting.is_well() {
            bail!("{}: it does not run: {}", case.name, sitting.why());
        }
        Ok((Outcome::of(&case, &out)?, sitting.took))
    };
    let ((outcome, first), (again, second)) = (once()?, once()?);
    if let Some(difference) = again.differs_from(&outcome) {
        bail!("{}: it differs from one run to the next: {difference}", case.name);
    }
    Ok(Undisturbed { case, outcome, took: first.min(second) })
}

/// Kills until the time is over.
///
/// # Errors
/// A tool that does not run.
pub(crate) fn run(room: &Room, given: &Given, report: &mut Report) -> Result<()> {
    let cases = CASES.iter().filter(|case| given.wants(case.name));
    let cases: Vec<Undisturbed> = cases.map(|case| undisturbed(room, *case)).collect::<Result<_>>()?;
    if cases.is_empty() {
        bail!("--only {}: no case has that in its name", given.only);
    }
    let mut random = Random::new(given.seed);
    for i in 0.. {
        if !report.goes_on() {
            return Ok(());
        }
        let Undisturbed { case, outcome, took } = &cases[i % cases.len()];
        let out = room.fresh(&format!("killed-{i}"))?;
        let mut history = String::new();
        match killed(room, case, *took, &out, &mut random, report, &mut history)? {
            false => report.fail(case.name, "stuck", history),
            true => match Outcome::of(case, &out).map(|found| found.differs_from(outcome)) {
                Ok(None) => report.count(case.name, "same in the end"),
                Ok(Some(difference)) => report.fail(case.name, "differs", format!("{history} {difference}")),
                Err(e) => report.fail(case.name, "stuck", format!("{history} {e:#}")),
            },
        }
        // of a case that is stuck a process may still write there; it goes with the room
        let _ = std::fs::remove_dir_all(&out);
    }
    Ok(())
}

/// Starts and kills a case until it has ended by itself; false where it does not.
fn killed(
    room: &Room,
    case: &Case,
    took: Duration,
    out: &Path,
    random: &mut Random,
    report: &mut Report,
    history: &mut String,
) -> Result<bool> {
    for _ in 0..KILLS {
        let ears = Ears::random(random);
        let mut child = ears.start(&mut room.command(&case.words(room, out)?), &room.path("said"))?;
        let after = took.mul_f64(1.1 * random.unit());
        if let Some(ended) = ends_within(&mut child, after)? {
            *history += &format!("[{ears:?} {ended:?}]");
            return Ok(ended == Ended::Code(0));
        }
        let name = *random.of(&SIGNALS);
        let checkpoints = has_checkpoint(out);
        signal(&child, name)?;
        let twice = random.below(8) == 0;
        if twice {
            signal(&child, name)?;
        }
        let ended = wait(&mut child, PATIENCE)?;
        report.tried += 1;
        report.count(case.name, name);
        *history += &format!("[{ears:?} {name} at {} ms {ended:?}]", after.as_millis());
        match ended {
            // it was just done
            Ended::Code(0) => return Ok(true),
            Ended::Code(130) | Ended::Signal(_) => {}
            // a second Ctrl-C aborts
            Ended::Code(137) if twice => {}
            Ended::Code(_) | Ended::Hung => {
                if ears == Ears::File {
                    *history += &format!(" {}", std::fs::read_to_string(room.path("said"))?.trim());
                }
                return Ok(false);
            }
        }
        if case.kind == Kind::Run && checkpoints && !has_checkpoint(out) {
            *history += "[its checkpoints are gone]";
            return Ok(false);
        }
    }
    // a study may leave some cells to the next sitting
    let sitting = Sitting::of(&mut room.command(&case.words(room, out)?))?;
    *history += &format!("[{}]", sitting.why());
    Ok(sitting.is_well())
}

/// Whether a run has a checkpoint.
pub(crate) fn has_checkpoint(out: &Path) -> bool {
    let names = std::fs::read_dir(out.join("checkpoints")).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("step-"))
}
