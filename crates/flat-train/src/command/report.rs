//! `flat-train report`.

use super::print_measured;
use crate::args::ReportArgs;
use crate::exit::Outcome;
use crate::report::{Report, check};
use anyhow::Result;
use flat_run::{Ui, signal};
use std::time::{Duration, Instant};

/// Seconds between two pages of `--watch`.
const EVERY: u64 = 5;
/// Time within which a signal is heard.
const HEARD: Duration = Duration::from_millis(100);

/// Reads the folders, writes the page and says what it holds; with `--watch` again and again.
pub(super) fn run(args: &ReportArgs, ui: Ui, json: bool) -> Result<Outcome> {
    check(args)?;
    let mut last = None;
    loop {
        let report = match Report::read(args, ui) {
            Ok(Some(report)) => report,
            Ok(None) => return last.map_or(Ok(Outcome::Interrupted), |report| end(&report, args, json)),
            Err(e) => {
                // the page is read again by nobody
                last.map(|report: Report| report.write(args, None)).transpose()?;
                return Err(e);
            }
        };
        if !(args.watch && report.in_progress()) {
            return end(&report, args, json);
        }
        report.write(args, Some(EVERY))?;
        if stopped_within(Duration::from_secs(EVERY)) {
            return end(&report, args, json);
        }
        last = Some(report);
    }
}

/// Writes the page that is not read again, and says what it holds.
fn end(report: &Report, args: &ReportArgs, json: bool) -> Result<Outcome> {
    let contents = report.write(args, None)?;
    print_measured(json, args.watch && signal::stop_requested(), &contents, || contents.text())
}

/// Waits; whether a signal asked to stop.
fn stopped_within(time: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time && !signal::stop_requested() {
        std::thread::sleep(HEARD);
    }
    signal::stop_requested()
}
