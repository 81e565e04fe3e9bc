//! Mutated inputs to every reader of files. The bodies are here once: `scripts/torture fuzz`, a test on every build and
//! cargo-fuzz (`fuzz/`) run the same.
//!
//! An input is a file's bytes. Whatever they are, a reader must come back: no panic, within [`PATIENCE`], and with no more
//! memory than [`MEMORY`] over that of the process.

mod data;
mod files;
mod mutate;
mod scratch;

use crate::args::Given;
use crate::random::Random;
use crate::report::Report;
use anyhow::{Context, Result, bail};
use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a reader may take, on a machine with other work as well.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a reader may take of memory, in KiB.
pub const MEMORY: u64 = 256 << 10;

/// A reader of untrusted bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus and of its cargo-fuzz target.
    pub name: &'static str,
    /// Words of its format, which a mutation may put anywhere.
    pub words: &'static [&'static [u8]],
    /// Hands the bytes to the reader.
    pub body: fn(&[u8]),
}

/// Every reader of files.
pub const TARGETS: &[Target] = &[
    Target { name: "idx", words: &[b"\x1f\x8b", b"\0\0\x08\x03", b"\0\0\x08\x01"], body: data::idx },
    Target { name: "cifar", words: &[b"\x1f\x8b"], body: data::cifar },
    Target { name: "archive", words: &[b"ustar\0", b"\x1f\x8b", b"data_batch_1.bin"], body: data::archive },
    Target { name: "pickle", words: &[b"\x80\x02", b"\x80\x04", b"U\x04data", b"(lp", b"q\x01"], body: data::pickle },
    Target {
        name: "torch",
        words: &[b"PK\x03\x04", b"PK\x01\x02", b"_rebuild_tensor_v2", b"tQK\0"],
        body: files::torch,
    },
    Target { name: "parquet", words: &[b"PAR1", b"img", b"bytes", b"\x89PNG"], body: data::parquet },
    Target { name: "safetensors", words: WEIGHTS, body: files::safetensors },
    Target { name: "checkpoint", words: WEIGHTS, body: files::checkpoint },
    Target { name: "config", words: &[b" = ", b"\"", b"[", b"steps", b"\n", b"nan", b"1e999"], body: files::config },
    Target {
        name: "journal",
        words: &[b"{\"kind\":\"step\"", b"}\n", b"null", b"1e999", b"[[", b"\xff"],
        body: files::journal,
    },
];

const WEIGHTS: &[&[u8]] =
    &[b"{\"__metadata__\":{", b"\"dtype\":\"F32\"", b"\"data_offsets\":[0,", b"\"shape\":[", b"}", b"F64"];

/// The target of this name.
///
/// # Panics
/// There is none; a cargo-fuzz target without a body fails at its first input.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no fuzz target `{name}`"))
}

/// The folder of cargo-fuzz, with the corpora.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The kept inputs of a target.
fn corpus(target: &Target) -> Result<Vec<Vec<u8>>> {
    let folder = top().join("corpus").join(target.name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("no corpus in {}", folder.display()))?;
    files.sort();
    files.iter().map(|file| std::fs::read(file).with_context(|| file.display().to_string())).collect()
}

/// Fuzzes every target for its share of the time.
pub(crate) fn run(given: &Given, report: &mut Report) -> Result<()> {
    let targets: Vec<&Target> = TARGETS.iter().filter(|target| given.wants(target.name)).collect();
    if targets.is_empty() {
        bail!("--only {}: no fuzz target has that in its name", given.only);
    }
    let share = Duration::from_secs(given.seconds).div_f64(targets.len() as f64);
    for target in targets {
        let found = fuzz(target, given.seed, share)?;
        report.tried += found.inputs;
        report.add(target.name, "inputs", found.inputs);
        report.add(target.name, "KiB of memory", found.memory);
        for (kind, what, bytes) in found.failures {
            let name = format!(
                "{kind}-{:016x}",
                Random::new(bytes.iter().fold(0, |sum, b| sum * 31 % (1 << 40) + u64::from(*b))).bits()
            );
            let kept = top().join("artifacts").join(target.name);
            std::fs::create_dir_all(&kept)?;
            std::fs::write(kept.join(&name), &bytes)?;
            report.fail(target.name, kind, format!("{what}; the input is fuzz/artifacts/{}/{name}", target.name));
        }
    }
    Ok(())
}

/// What came of a target.
struct Found {
    inputs: u64,
    /// Largest resident memory over that at the start, in KiB.
    memory: u64,
    /// Kind, what happened, and the input.
    failures: Vec<(&'static str, String, Vec<u8>)>,
}

/// Hands the corpus and mutations of it to a target for so long; at most 8 failures.
fn fuzz(target: &'static Target, seed: u64, time: Duration) -> Result<Found> {
    let corpus = corpus(target)?;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    // a thread of its own: what it keeps between inputs goes with it
    let found = std::thread::spawn(move || loop_over(target, corpus, seed, time)).join();
    std::panic::set_hook(hook);
    found.map_err(|_| anyhow::anyhow!("{}: the loop itself failed", target.name))
}

fn loop_over(target: &Target, corpus: Vec<Vec<u8>>, seed: u64, time: Duration) -> Found {
    let mut found = Found { inputs: 0, memory: 0, failures: Vec::new() };
    // the peak begins anew, where the system lets it
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (begun, before) = (Instant::now(), peak());
    let mut mutator = Mutator::new(corpus.clone(), target.words, seed);
    let mut kept = corpus.into_iter();
    while found.failures.len() < 8 && (begun.elapsed() < time || kept.len() > 0) {
        let input = kept.next().unwrap_or_else(|| mutator.next());
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.body)(&input)));
        found.inputs += 1;
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            found.failures.push(("panics", text.unwrap_or_default().into(), input));
        } else if start.elapsed() > PATIENCE {
            found.failures.push(("takes long", format!("{:?}", start.elapsed()), input));
        } else if found.inputs.is_multiple_of(16) {
            // the peak stays, so one look in a while finds it, within 16 inputs of the one that made it
            found.memory = peak().saturating_sub(before);
            if found.memory > MEMORY {
                found.failures.push(("takes memory", format!("{} KiB within 16 inputs", found.memory), input));
                return found;
            }
        }
    }
    found
}

/// Largest resident memory of this process so far, in KiB; 0 where the system does not say.
fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory is the whole process's: one test at a time.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn every_reader_bears_its_corpus_and_mutations_of_it() -> Result<()> {
        let _alone = ALONE.lock();
        for target in TARGETS {
            let found = fuzz(target, 0, Duration::from_millis(500))?;
            let what: Vec<(&str, &String)> = found.failures.iter().map(|(kind, what, _)| (*kind, what)).collect();
            assert!(what.is_empty() && found.inputs > 20, "{}: {} inputs, {what:?}", target.name, found.inputs);
        }
        Ok(())
    }

    #[test]
    fn cargo_fuzz_has_every_target_and_no_other() -> Result<()> {
        let manifest: toml::Table = std::fs::read_to_string(top().join("Cargo.toml"))?.parse()?;
        let bins = manifest["bin"].as_array().cloned().unwrap_or_default();
        let mut named: Vec<&str> = bins.iter().filter_map(|bin| bin["name"].as_str()).collect();
        let mut here: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        named.sort_unstable();
        here.sort_unstable();
        assert_eq!(named, here);
        for name in here {
            let text = std::fs::read_to_string(top().join(format!("fuzz_targets/{name}.rs")))?;
            assert!(text.contains(&format!("target(\"{name}\")")), "{text}");
            assert!(!corpus(target(name))?.is_empty());
        }
        Ok(())
    }

    #[test]
    fn a_reader_that_panics_or_takes_much_memory_is_found() -> Result<()> {
        let _alone = ALONE.lock();
        const PANICS: Target = Target { name: "idx", words: &[], body: |bytes| assert!(bytes.len() < 10, "long") };
        // touched, so that it counts
        const GREEDY: Target =
            Target { body: |_| drop(std::hint::black_box(vec![1u8; (2 * (MEMORY as usize)) << 10])), ..PANICS };
        let of = |target: &'static Target| -> Result<Vec<&'static str>> {
            Ok(fuzz(target, 0, Duration::from_secs(20))?.failures.into_iter().map(|(kind, ..)| kind).collect())
        };
        assert_eq!(of(&PANICS)?.first(), Some(&"panics"));
        assert_eq!(of(&GREEDY)?, ["takes memory"]);
        Ok(())
    }
}
