//! The folder of a sweep: `runs/CELL/seed-K` for each run, `sweep.toml` and `sweep.json`.

use crate::cell::Cell;
use crate::held;
use crate::record::{Record, State};
use anyhow::{Context, Result, bail};
use flat_run::store::{checkpoint_step, checkpoints, lock, write_whole};
use flat_run::{RunConfig, usage};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Settings that say where a run computes and what it keeps on the way, but not what it comes to.
const FREE: [&str; 7] =
    ["checkpoint-every", "data-dir", "device", "keep-checkpoints", "log-every", "log-interval", "log-steps"];

/// A sweep's folder, locked for this process as long as the value lives.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    _lock: File,
}

/// Where a run is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The run directory.
    pub dir: PathBuf,
    /// Its settings, as the sweep wants them.
    pub config: PathBuf,
    /// What its process writes to stderr.
    pub log: PathBuf,
    /// What it writes to stdout, which it holds as long as it lives.
    pub out: PathBuf,
    /// Its result.
    pub record: PathBuf,
    /// Its score on the test set.
    pub test: PathBuf,
}

/// What is there of a run.
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A run that can go on.
    Begun,
    /// What could not go on, and why; it is gone.
    Cleared(String),
    /// Its result.
    Ended(Record),
}

impl Store {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// Another process has it, it holds something else, or it cannot be written.
    pub fn open(root: &Path) -> Result<Self> {
        if let Some(other) = ["config.toml", "study.json"].into_iter().find(|file| root.join(file).exists()) {
            return Err(usage(format!(
                "--out {}: it is no sweep's folder ({other} is there); choose another one",
                root.display()
            )));
        }
        std::fs::create_dir_all(root.join("runs")).with_context(|| format!("cannot create {}", root.display()))?;
        Ok(Self { root: root.to_path_buf(), _lock: lock(root, "runs")? })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes one of its own files whole.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write_whole(&self.root.join(name), text.as_bytes())
    }

    /// Where a run of a cell is.
    pub fn place(&self, cell: &Cell, seed: u64) -> Place {
        let of_cell = self.root.join("runs").join(folder_name(&cell.name));
        let file = |ending: &str| of_cell.join(format!("seed-{seed}{ending}"));
        Place {
            dir: file(""),
            config: file(".toml"),
            log: file(".log"),
            out: file(".out"),
            record: file("").join("record.json"),
            test: file(".test.json"),
        }
    }

    /// What is there of a run with these settings.
    ///
    /// # Errors
    /// A run with other settings, each of which is named; one that another process does not let go.
    pub fn find(&self, place: &Place, config: &RunConfig) -> Result<Found> {
        // a run of the sweep is in the sweep's folder, not where a link leads
        for dir in place.dir.ancestors().take(2) {
            flat_core::file::no_link(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        // of a sweep that was killed it may be about to begin
        if place.out.exists() {
            held::take(&place.out)?;
        }
        if !place.dir.exists() {
            return Ok(Found::Nothing);
        }
        wait_for(&place.dir)?;
        let file = place.dir.join("config.toml");
        if !file.exists() {
            // ended before it had begun
            clear(&place.dir)?;
            return Ok(Found::Nothing);
        }
        same(&RunConfig::read(&file)?, config, &place.dir)?;
        // of a record or a summary that is damaged the run is still there, which ends anew
        if let Ok(Some(record)) = Record::read(&place.record)
            && record.state != State::Failed
        {
            return Ok(Found::Ended(record));
        }
        if place.dir.join("summary.json").exists()
            && let Ok(record) = Record::of_summary(&place.dir)
        {
            record.write(&place.record)?;
            return Ok(Found::Ended(record));
        }
        match goes_on(&place.dir.join("checkpoints")) {
            Ok(true) => Ok(Found::Begun),
            Ok(false) => {
                clear(&place.dir)?;
                Ok(Found::Nothing)
            }
            Err(e) => damaged(&place.dir, &e),
        }
    }
}

/// Whether a run can go on from one of its checkpoints; false where it has written none.
///
/// # Errors
/// It has some, and none can be read: why the newest cannot.
fn goes_on(folder: &Path) -> Result<bool> {
    let mut fault = None;
    for file in checkpoints(folder)?.iter().rev() {
        match checkpoint_step(file) {
            Ok(_) => return Ok(true),
            Err(e) => drop(fault.get_or_insert(e)),
        }
    }
    fault.map_or(Ok(false), Err)
}

/// Clears a run that is damaged, unless the system refused to read it: another time it may not.
fn damaged(dir: &Path, e: &anyhow::Error) -> Result<Found> {
    let refused = |e: &std::io::Error| e.raw_os_error().is_some() && e.kind() != std::io::ErrorKind::NotFound;
    let why = format!("{} cannot be resumed, so it is cleared and made anew: {e:#}", dir.display());
    if e.chain().filter_map(|cause| cause.downcast_ref()).any(refused) {
        bail!("{e:#}");
    }
    clear(dir)?;
    Ok(Found::Cleared(why))
}

/// Deletes a run's folder; of what a kill leaves of it, the configuration goes last, and so the rest is cleared another time.
fn clear(dir: &Path) -> Result<()> {
    let clear = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != "config.toml" {
                std::fs::remove_file(entry.path())?;
            }
        }
        std::fs::remove_dir_all(dir)
    };
    clear().with_context(|| format!("cannot clear {}", dir.display()))
}

/// Waits until no process writes there.
fn wait_for(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir.join("checkpoints")).with_context(|| format!("cannot write to {}", dir.display()))?;
    held::patiently(|| lock(dir, "checkpoints")).map(drop)
}

/// Refuses a run with other settings than the sweep's.
fn same(found: &RunConfig, wanted: &RunConfig, dir: &Path) -> Result<()> {
    let (found, wanted) = (found.with_effect()?, wanted.with_effect()?);
    let keys: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let text = |table: &toml::Table, key: &str| table.get(key).map_or("nothing".into(), toml::Value::to_string);
    let differ: Vec<String> = keys
        .into_iter()
        .filter(|key| !FREE.contains(&key.as_str()) && found.get(*key) != wanted.get(*key))
        .map(|key| format!("{key} was {}, is {}", text(&found, key), text(&wanted, key)))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    Err(usage(format!(
        "--out: {} holds a run with other settings: {}; put them back, or choose another --out",
        dir.display(),
        differ.join("; ")
    )))
}

/// The cell's name as a folder's: letters that a file system or a shell may not like are replaced, and then, as in a long name,
/// a sum of the name keeps two cells apart.
fn folder_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._=,+-".contains(c);
    if name.len() <= 120 && name.chars().all(plain) {
        return name.to_string();
    }
    let short: String = name.chars().map(|c| if plain(c) { c } else { '_' }).take(100).collect();
    // FNV-1a, 64 bits
    let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{short}-{sum:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_stay_apart_and_are_plain() {
        assert_eq!(folder_name("optimizer=sam,rho=0.05"), "optimizer=sam,rho=0.05");
        let (a, b) = (folder_name("init=/a/b"), folder_name("init=_a_b"));
        assert!(a != b && !a.contains('/'), "{a} {b}");
        assert!(folder_name(&"x".repeat(1000)).len() < 130);
    }

    #[test]
    fn a_run_that_does_not_resume_is_cleared_whatever_is_left_of_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let store = Store::open(dir.path())?;
        let place = Place {
            dir: dir.path().join("runs/a/seed-0"),
            config: dir.path().join("runs/a/seed-0.toml"),
            log: dir.path().join("runs/a/seed-0.log"),
            out: dir.path().join("runs/a/seed-0.out"),
            record: dir.path().join("runs/a/seed-0/record.json"),
            test: dir.path().join("runs/a/seed-0.test.json"),
        };
        let config = RunConfig::default().filled()?;
        // what a kill may leave of a folder that was being deleted, and files that are damaged
        for (files, said) in [
            (&["checkpoints/step-0000000001.safetensors"][..], false),
            (&["config.toml"], false),
            (&["config.toml", "metrics.jsonl"], false),
            (&["config.toml", "metrics.jsonl", "checkpoints/step-0000000001.safetensors"], true),
            (&["config.toml", "summary.json", "record.json"], false),
        ] {
            std::fs::create_dir_all(place.dir.join("checkpoints"))?;
            for file in files {
                let text = if *file == "config.toml" { config.to_toml()? } else { "junk".into() };
                std::fs::write(place.dir.join(file), text)?;
            }
            match store.find(&place, &config)? {
                Found::Nothing => assert!(!said, "{files:?}"),
                Found::Cleared(why) => assert!(said && why.contains("made anew"), "{files:?}: {why}"),
                Found::Begun | Found::Ended(_) => panic!("{files:?} goes on"),
            }
            assert!(!place.dir.exists(), "{files:?}");
        }
        Ok(())
    }

    #[test]
    fn a_difference_of_settings_is_named_with_both_values() -> Result<()> {
        let config = RunConfig::default().filled()?;
        let other = config.clone().batch_size(64).keep_checkpoints(9);
        let error = same(&other, &config, Path::new("there")).expect_err("refused").to_string();
        assert!(error.contains("batch-size was 64, is 128") && !error.contains("keep"), "{error}");
        same(&config.clone().keep_checkpoints(9), &config, Path::new("there"))
    }
}
