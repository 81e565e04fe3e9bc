//! The subcommands, one a file.

mod alone;
mod bench;
mod data;
mod devices;
mod eval;
mod export;
mod inspect;
mod keep;
mod landscape;
mod list;
mod metrics;
mod network;
mod report;
mod reproduce;
mod scaling;
mod shell;
mod sweep;
mod train;

use crate::args::{Cli, Command};
use crate::company::Company;
use crate::events;
use crate::exit::{self, Outcome};
use crate::interrupt;
use crate::news;
use crate::runtime::Threads;
use crate::ui::Terminal;
use crate::view;
use flat_core::setting::Needs;
use flat_run::measure::SCHEMA;
use flat_run::signal;
use std::process::ExitCode;

/// Hessian-vector products that need a thread of their own.
const DOUBLE: Needs = Needs::Is("hvp", "double");

/// Runs a parsed command line to its exit status.
pub fn run(cli: Cli) -> ExitCode {
    let mut company = Company::of_environment();
    // SAFETY: the only thread so far is this one.
    let threads = unsafe { Threads::set(cli.threads, company.threads()) };
    // of a run of a sweep, the last line on stderr is what became of it
    if !cli.stop_at_eof
        && let Err(e) = events::tell(cli.verbose)
    {
        return exit::status(Err(e));
    }
    threads.tell();
    let double = match &cli.command {
        Command::Landscape(given) => DOUBLE.met(&given.values),
        Command::Metrics(metrics) => DOUBLE.met(&metrics.given),
        _ => false,
    };
    // while this is the only thread
    if double && let Err(e) = flat_metrics::DoubleBackwardThread::start() {
        return exit::status(Err(e.into()));
    }
    if !double {
        // kernels start on the thread that calls them instead of being handed over to another one
        let pool = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
        debug_assert!(pool.is_ok(), "nothing has started the pool yet");
    }
    if cli.stop_at_eof {
        interrupt::stop_at_eof();
    }
    let json = cli.json;
    let ranks = match company.join(cli.mpi, cli.mpi_timeout) {
        Ok(ranks) => ranks,
        Err(e) => return company.leave(Err(e)),
    };
    if !Company::takes_part(&ranks, &cli.command) {
        return company.leave(Ok(Outcome::Done));
    }
    let quiet = cli.quiet || !ranks.is_first();
    // in a command of its own the first one has nobody to talk to
    let ranks = if cli.command.is_shared_out() { ranks } else { flat_comm::Ranks::default() };
    let ui = match Terminal::choose(cli.ui, quiet, cli.command.is_long() && !cli.stop_at_eof) {
        Ok(ui) => ui,
        Err(e) => return company.leave(Err(e)),
    };
    threads.warning.iter().for_each(|warning| ui.warn(warning));
    flat_run::settings::show_reading(ui);
    let work = || match cli.command {
        Command::Train(args) => train::run(&args, ui, json),
        Command::Sweep(args) => sweep::run(&args, threads.number, ui, json),
        Command::Eval(given) => eval::run(&given.resolved()?, ui, json),
        Command::Metrics(metrics) => metrics::run(&metrics, ui, json),
        Command::Landscape(given) => landscape::run(&given.resolved()?, ui, json),
        Command::Inspect(args) => inspect::run(&args, json),
        Command::Export(given) => export::run(&given.resolved()?, json),
        Command::Bench(args) => bench::run(&args.given.resolved()?, args.alone, ui, json),
        Command::Report(args) => report::run(&args, ui, json),
        Command::Reproduce(args) => reproduce::run(&args, ui, json),
        Command::Devices => devices::run(json),
        Command::Optimizers => list::optimizers(json),
        Command::Models => list::models(json),
        Command::Datasets => list::datasets(json),
        Command::Recipes => list::recipes(json),
        Command::Data { action } => data::run(action, ui, json),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man(args) => shell::manual(&args, ui),
    };
    let result = interrupt::install().and_then(|()| flat_run::ranks::with(ranks, work));
    view::close();
    company.leave(result)
}

/// Prints what was measured, which a signal may have ended: the exit status says so, as the result itself does.
fn print_measured(
    json: bool,
    interrupted: bool,
    value: &impl serde::Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<Outcome> {
    print(json, value, text).map(|_| Outcome::of_measure(interrupted))
}

/// Prints a result: one JSON object, or the text for a person.
fn print(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> anyhow::Result<Outcome> {
    let line = match json {
        true => news::printable_json(&versioned(value)?.to_string()).into_owned(),
        false => news::printable(&text()).into_owned(),
    };
    print_bytes(format!("{line}\n").as_bytes())
}

/// Writes to stdout as it is; a reader that went away is no error.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<Outcome> {
    use std::io::Write;
    if !flat_run::ranks::here().is_first() {
        return Ok(Outcome::Done);
    }
    // a result stays on the terminal
    view::close();
    match std::io::stdout().write_all(bytes) {
        Err(e) if !is_unread(&e) => Err(anyhow::anyhow!("cannot write the result: {e}")),
        _ => Ok(Outcome::Done),
    }
}

/// Whether nobody is there to read: the reader went away, as in `| head`, or the terminal did, as SIGHUP told.
fn is_unread(e: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    e.kind() == std::io::ErrorKind::BrokenPipe || e.raw_os_error() == Some(EIO) && signal::stop_requested()
}

/// The JSON with the version of its shape.
fn versioned(value: &impl serde::Serialize) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(value)?;
    if let Some(object) = value.as_object_mut() {
        object.entry("schema").or_insert(SCHEMA.into());
    }
    Ok(value)
}
