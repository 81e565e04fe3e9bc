//! `flat-train train`.

use super::print;
use crate::args::TrainArgs;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::{End, Run, RunConfig, RunState, Silent, Ui, ranks, signal, usage};
use serde::Serialize;

/// What `--pause-after` leaves.
#[derive(Serialize)]
struct Paused {
    state: &'static str,
    out: String,
}

/// Trains, or continues a run, to its summary.
pub(super) fn run(args: &TrainArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let Some(run) = ranks::agree(begun(args, json))? else { return Ok(Outcome::Done) };
    if args.dry_run {
        let plan = run.plan();
        return print(json, &plan, || plan.text());
    }
    match run.shown_on(ui).pause_after(args.pause_after).train(&mut Silent)? {
        End::Stopped(out) if args.pause_after.is_some() && !signal::stop_requested() => {
            print(json, &Paused { state: "paused", out: out.display().to_string() }, String::new)
        }
        End::Stopped(_) => Ok(Outcome::Interrupted),
        End::Finished(summary) => {
            let printed = print(json, &summary, || summary.text())?;
            Ok(if summary.state == RunState::Diverged { Outcome::Diverged } else { printed })
        }
    }
}

/// The run that the flags ask for; `None` where its configuration was all that was asked for.
fn begun<'a>(args: &TrainArgs, json: bool) -> Result<Option<Run<'a>>> {
    let given = &args.given.values;
    if args.print_config {
        let config = RunConfig::resolve(given, args.config.as_deref())?.filled()?;
        config.check()?;
        let text = config.to_toml()?;
        return print(json, &config, || text.trim_end().into()).map(|_| None);
    }
    let run = match &args.resume {
        Some(_) if args.config.is_some() || args.out.is_some() => {
            let message = "--resume takes its configuration and folder from the run: leave out --config and --out";
            return Err(usage(message));
        }
        Some(root) => Run::resume(root, given)?,
        None => {
            let run = Run::new(RunConfig::resolve(given, args.config.as_deref())?)?;
            match &args.out {
                Some(out) => run.out(out),
                None => run,
            }
        }
    };
    Ok(Some(run))
}
