//! The hub that means harm: the tests of `flat-data` and of the tool against it, started by their names.

use crate::args::Given;
use crate::report::Report;
use anyhow::{Context, Result};
use std::process::Command;

/// What the tests' names hold: the module of the hub, and that of the tool's `data fetch`.
const NAMED: [&str; 2] = ["hostile_hub", "fetch::"];

/// Runs the tests once; cargo must be there, and the sources.
///
/// # Errors
/// There is no cargo.
pub(crate) fn run(given: &Given, report: &mut Report) -> Result<()> {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.args([
        "test",
        "--release",
        "-p",
        "flat-data",
        "-p",
        "flat-train",
        "--test",
        "data",
        "--test",
        "integration",
        "--",
    ]);
    cargo.args(NAMED).current_dir(top);
    let out = cargo.output().context("cargo does not start; hostile-hub runs tests of the sources")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    for line in text.lines() {
        let Some((name, came)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else { continue };
        if given.wants(name) {
            report.tried += 1;
            if came == "ok" {
                report.count(name, "held");
            } else {
                report.fail(name, "fails", came.into());
            }
        }
    }
    if report.tried == 0 {
        report.fail(
            NAMED[0],
            "no test",
            String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or_default().into(),
        );
    }
    Ok(())
}
