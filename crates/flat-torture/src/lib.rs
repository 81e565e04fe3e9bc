//! The reliability campaign: what is done to `flat-train` to see whether anything is lost, stuck or taken on trust.
//!
//! [`main`] is the program behind `scripts/torture`. Every campaign is a table of cases and a loop over them that ends with its
//! time; what it tried and what failed is a [`Report`]. [`fuzz`] holds the bodies of the fuzz targets, once for the stable loop
//! here and for cargo-fuzz in `fuzz/`.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

mod args;
mod case;
mod damage;
mod ears;
mod faults;
pub mod fuzz;
mod hostile_hub;
mod kills;
mod outcome;
mod random;
mod report;
mod room;
mod sitting;
mod soak;
mod toy;

#[cfg(test)]
mod page;

pub use random::Random;
pub use report::{Failure, Report};

use crate::args::{Args, Campaign};
use crate::room::Room;
use anyhow::{Context, Result};
use clap::Parser;
use std::process::ExitCode;

/// Runs the campaign that the command line names; the exit status is 1 where anything failed.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let given = args.campaign.given();
    let mut report = Report::begin(&args.campaign, given);
    let room = || Room::new(given.tool.as_deref());
    match &args.campaign {
        Campaign::Kills(_) => kills::run(&room()?, given, &mut report)?,
        Campaign::Faults(_) => faults::run(&room()?, given, &mut report)?,
        Campaign::Damage(_) => damage::run(&room()?, given, &mut report)?,
        Campaign::HostileHub(_) => hostile_hub::run(given, &mut report)?,
        Campaign::Soak(_) => soak::run(&room()?, given, &mut report)?,
        Campaign::Fuzz(_) => fuzz::run(given, &mut report)?,
    }
    report.end();
    print!("{report}");
    if let Some(file) = &given.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write --json {}", file.display()))?;
    }
    Ok(report.failures.is_empty())
}
