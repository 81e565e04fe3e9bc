//! A fault at every file-system call of a case, one at a time.

mod tracer;

use crate::args::Given;
use crate::case::{CASES, Case, Kind};
use crate::kills::{Undisturbed, undisturbed};
use crate::outcome::Outcome;
use crate::random::Random;
use crate::report::Report;
use crate::room::{Room, copy_folder};
use crate::sitting::{Ended, Sitting};
use anyhow::{Result, bail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tracer::{Call, Tracer};

/// The cases that are tried: between them every file that the tool writes.
const TRIED: [&str; 5] = ["sgd", "fsam-validation", "f64-flatness", "study", "sweep"];

/// The faults.
const FAULTS: [&str; 5] = ["kill", "eio", "eintr", "enospc", "full"];

/// A case under the tracer: from nothing, or from what a kill left of it.
struct Start {
    name: String,
    whole: Undisturbed,
    begun: Option<PathBuf>,
    /// The calls that it makes without a fault.
    calls: Vec<Call>,
}

/// A fault to try.
struct Trial {
    /// Of the starts.
    start: usize,
    fault: &'static str,
    /// The number of the call, from 1 on.
    at: usize,
    /// What the call is without a fault.
    call: Call,
}

/// Tries every fault at every call until the time is over: in a random order, and no call has a second fault before each has one.
///
/// # Errors
/// A tool that does not run.
pub(crate) fn run(room: &Room, given: &Given, report: &mut Report) -> Result<()> {
    let tracer = match Tracer::build(room)? {
        Ok(tracer) => tracer,
        Err(why) => {
            report.skipped = Some(why);
            return Ok(());
        }
    };
    let wanted = CASES.iter().filter(|case| TRIED.contains(&case.name) && given.wants(case.name));
    let (mut starts, mut trials): (Vec<Start>, Vec<Trial>) = (Vec::new(), Vec::new());
    for case in wanted {
        let fresh = Start::new(room, &tracer, case, None)?;
        // killed where two thirds of its calls were made, it goes on with a journal that is longer than its checkpoint says
        let begun = room.fresh(&format!("{}-begun", case.name))?;
        tracer.sitting(room, case, &begun, fresh.calls.len() * 2 / 3, "kill")?;
        starts.extend([fresh, Start::new(room, &tracer, case, Some(begun))?]);
    }
    for (start, Start { calls, .. }) in starts.iter().enumerate() {
        for fault in FAULTS {
            // Rust's standard library takes a folder that does not close for a bug of the program and panics
            let fits = |call: &Call| match fault {
                "enospc" | "full" => call.needs_room,
                "eio" => call.name != "close",
                _ => true,
            };
            let calls = calls.iter().enumerate().filter(|(_, call)| fits(call));
            trials.extend(calls.map(|(i, call)| Trial { start, fault, at: i + 1, call: call.clone() }));
        }
    }
    report.of = Some(trials.len() as u64);
    Random::new(given.seed).shuffle(&mut trials);
    for trial in by_rounds(trials) {
        if !report.goes_on() {
            break;
        }
        let start = &starts[trial.start];
        report.tried += 1;
        match trial.of(room, &tracer, start)? {
            Ok(what) => report.count(&start.name, &format!("{} {what}", trial.fault)),
            Err((kind, what)) => {
                let Trial { fault, at, call: Call { name, file, .. }, .. } = &trial;
                let file = file.file_name().unwrap_or_default().to_string_lossy();
                report.fail(&start.name, kind, format!("{fault} at call {at}, {name} of {file}: {what}"));
            }
        }
    }
    Ok(())
}

/// The trials in rounds, each of which has at most one fault of a call.
fn by_rounds(trials: Vec<Trial>) -> impl Iterator<Item = Trial> {
    let mut had = HashMap::new();
    let round = |trial: Trial| {
        let round = had.entry((trial.start, trial.at)).or_insert(0);
        *round += 1;
        (*round, trial)
    };
    let mut trials: Vec<(usize, Trial)> = trials.into_iter().map(round).collect();
    trials.sort_by_key(|(round, _)| *round);
    trials.into_iter().map(|(_, trial)| trial)
}

impl Start {
    fn new(room: &Room, tracer: &Tracer, case: &Case, begun: Option<PathBuf>) -> Result<Self> {
        let name = if begun.is_some() { format!("{}, gone on with", case.name) } else { case.name.into() };
        let mut start = Self { name, whole: undisturbed(room, *case)?, begun, calls: Vec::new() };
        let (sitting, calls) = tracer.sitting(room, case, &start.folder(room)?, 0, "none")?;
        if !sitting.is_well() {
            bail!("{}: it does not run under the tracer: {}", start.name, sitting.why());
        }
        start.calls = calls;
        Ok(start)
    }

    /// A folder to start in.
    fn folder(&self, room: &Room) -> Result<PathBuf> {
        let out = room.fresh("faulty")?;
        if let Some(begun) = &self.begun {
            copy_folder(begun, &out)?;
        }
        Ok(out)
    }
}

impl Trial {
    /// What became of it in the end, or what failed.
    fn of(&self, room: &Room, tracer: &Tracer, start: &Start) -> Result<Result<&str, (&'static str, String)>> {
        let (whole, case, out) = (&start.whole, &start.whole.case, start.folder(room)?);
        let (sitting, calls) = tracer.sitting(room, case, &out, self.at, self.fault)?;
        let finished = sitting.is_well();
        match sitting.ended {
            Ended::Hung => return Ok(Err(("hangs", "no end".into()))),
            // SIGABRT and the like are not errors that are said
            Ended::Signal(_) => return Ok(Err(("crashes", sitting.why()))),
            Ended::Code(code) if sitting.said.contains("panicked") || (code > 128 && code != 128 + 9) => {
                return Ok(Err(("crashes", sitting.why())));
            }
            Ended::Code(0 | 137) => {}
            Ended::Code(_) if sitting.said.trim().is_empty() => return Ok(Err(("says nothing", sitting.why()))),
            Ended::Code(_) => {}
        }
        if let Some(lost) = lost(case, &calls, &out) {
            return Ok(Err(("loses", lost)));
        }
        if !finished {
            // a sweep says what failed in one sitting and makes up for it in the next
            let again = Sitting::of(&mut room.command(&case.words(room, &out)?))?;
            if !again.is_well() {
                return Ok(Err(("stuck", again.why())));
            }
        }
        let outcome = match Outcome::of(case, &out) {
            Ok(outcome) => outcome,
            Err(e) => return Ok(Err(("stuck", format!("{e:#}")))),
        };
        Ok(match outcome.differs_from(&whole.outcome) {
            None if finished => Ok("borne"),
            None => Ok("made up for"),
            Some(difference) if case.kind == Kind::Sweep => {
                // a sweep with a run that failed ends well and says so; the next sitting makes up for it
                let again = Sitting::of(&mut room.command(&case.words(room, &out)?))?;
                match Outcome::of(case, &out).map(|outcome| outcome.differs_from(&whole.outcome)) {
                    Ok(None) if again.is_well() => Ok("made up for"),
                    _ => Err(("differs", difference)),
                }
            }
            Some(difference) => Err(("differs", difference)),
        })
    }
}

/// A checkpoint that was there by the fault and for which there is none as far now.
fn lost(case: &Case, calls: &[Call], out: &Path) -> Option<String> {
    if case.kind != Kind::Run {
        return None;
    }
    let checkpoints = out.join("checkpoints");
    let step = |name: &str| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse::<u64>().ok();
    let newest = |names: &mut dyn Iterator<Item = String>| names.filter_map(|name| step(&name)).max();
    // pruned files were there: the newest that was opened, renamed or deleted by its name is a bound from below only where it
    // was deleted, so take the deleted ones and ask for a newer one
    let deleted = calls.iter().filter(|call| call.name.starts_with("unlink") && call.file.starts_with(&checkpoints));
    let deleted = newest(&mut deleted.filter_map(|call| Some(call.file.file_name()?.to_str()?.to_string())))?;
    let there = std::fs::read_dir(&checkpoints).into_iter().flatten().flatten();
    let there = newest(&mut there.filter_map(|entry| entry.file_name().into_string().ok()));
    (there <= Some(deleted)).then(|| format!("the checkpoint of step {deleted} went, and {there:?} is the newest now"))
}
