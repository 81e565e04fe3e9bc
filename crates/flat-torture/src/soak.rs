//! Resident memory over many steps of every rule.

use crate::args::Given;
use crate::report::Report;
use crate::room::Room;
use crate::sitting::{Ended, Sitting};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Steps of a run.
const STEPS: u64 = 20_000;

/// By how much the memory may grow from the second quarter of the steps to the last, in KiB: 0.2 KiB a step.
const GROWTH: u64 = 2048;

/// Flags of every run: nothing but steps, each with its line in the journal.
const RUN: &str = "train --model mlp --hidden 8 --batch-size 16 --train-limit 128 --test-limit 16 --eval-every 0 \
                   --checkpoint-every 0 --log-steps --trace-probes 0 --device cpu --schedule constant --lr 0.001 --quiet";

/// What `optimizers --json` prints, as far as this goes.
#[derive(Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
}

/// Runs every rule for its share of the time, and for 20,000 steps at most.
///
/// # Errors
/// A tool that does not run.
pub(crate) fn run(room: &Room, given: &Given, report: &mut Report) -> Result<()> {
    let listed = Sitting::of(&mut room.command(&["optimizers".into(), "--json".into()]))?;
    let rules: Rules = serde_json::from_str(&listed.printed).context("optimizers --json")?;
    let rules: Vec<String> = rules.rules.into_iter().map(|rule| rule.name).filter(|name| given.wants(name)).collect();
    report.of = Some(rules.len() as u64);
    let begun = Instant::now();
    for (i, rule) in rules.iter().enumerate() {
        if !report.goes_on() {
            break;
        }
        let left = Duration::from_secs(given.seconds).saturating_sub(begun.elapsed());
        soak(room, rule, left / (rules.len() - i) as u32, report)?;
    }
    Ok(())
}

/// Runs one rule for so long at most.
fn soak(room: &Room, rule: &str, time: Duration, report: &mut Report) -> Result<()> {
    let out = room.fresh("soaked")?;
    let (steps, data) = (STEPS.to_string(), room.path(if rule == "gerne" { "colors" } else { "data" }));
    let mut words: Vec<String> = RUN.split_whitespace().map(String::from).collect();
    if rule == "gerne" {
        words.extend(["--dataset".into(), "colored-mnist".into()]);
    }
    words.extend(["--steps", &steps, "--optimizer", rule, "--data-dir"].map(String::from));
    words.extend([data.display().to_string(), "--out".into(), out.display().to_string()]);
    let said = room.path("said");
    let mut command = room.command(&words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&said)?);
    let mut child = command.spawn().context("flat-train does not start")?;
    let (begun, mut seen) = (Instant::now(), Vec::new());
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Some(Ended::from(status));
        }
        if begun.elapsed() > time {
            child.kill()?;
            child.wait()?;
            break None;
        }
        seen.extend(resident(child.id()));
        std::thread::sleep(Duration::from_millis(20));
    };
    report.tried += 1;
    if ended.is_some_and(|ended| ended != Ended::Code(0)) {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        report.fail(rule, "ends", format!("{ended:?}: {}", said.trim()));
        return Ok(());
    }
    let journal = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    report.add(rule, "steps", journal.lines().filter(|line| line.contains("\"kind\":\"step\"")).count() as u64);
    if seen.len() < 8 {
        report.count(rule, "too short a look");
        return Ok(());
    }
    let quarter = seen.len() / 4;
    let (before, after) = (middle(&seen[quarter..2 * quarter]), middle(&seen[3 * quarter..]));
    report.add(rule, "KiB in the end", after);
    report.add(rule, "KiB grown", after.saturating_sub(before));
    if after > before + GROWTH {
        report.fail(rule, "grows", format!("from {before} KiB in the second quarter to {after} KiB in the last"));
    }
    Ok(())
}

/// Resident memory of a process, in KiB; `None` where the system does not say.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn middle(of: &[u64]) -> u64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
