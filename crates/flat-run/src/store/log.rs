//! The log of a run in other formats than its journal's: files whose bytes follow from the journal's lines alone.
//!
//! A file is begun anew with the lines so far whenever a run goes on, so each step is in it once, whatever a crash or another
//! `--log` left behind.

mod csv;
mod events;
mod protobuf;
mod record;
mod scalars;

pub(crate) use csv::of_summary;

use crate::settings::choice::LogName;
use crate::settings::config::RunConfig;
use crate::store::line::Line;
use crate::store::run_dir::{EVENTS, RunDir};
use anyhow::{Context, Result};
use flat_core::file;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A format of the log.
trait Format: std::fmt::Debug {
    /// What a file begins with.
    fn head(&self) -> Vec<u8>;

    /// What a line of the journal adds.
    fn line(&mut self, line: &Line) -> Result<Vec<u8>>;

    /// What the end of the run adds, after so many seconds; `good` where the run did not diverge.
    fn end(&self, good: bool, seconds: f64) -> Vec<u8>;
}

/// An open file of the log.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
    format: Box<dyn Format>,
}

impl LogFile {
    /// Empties the file and writes its head. Its place on the disk stays, so that a program that reads along goes on.
    fn begin(path: &Path, format: Box<dyn Format>) -> Result<Self> {
        let open = || -> std::io::Result<File> {
            let mut file = file::open_own(path)?;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot write {}", path.display()))?;
        let mut begun = Self { file, path: path.to_path_buf(), format };
        begun.append(&begun.format.head())?;
        Ok(begun)
    }

    /// Appends a line of the journal.
    ///
    /// # Errors
    /// The disk is full.
    pub(crate) fn write(&mut self, line: &Line) -> Result<()> {
        let bytes = self.format.line(line)?;
        self.append(&bytes)
    }

    /// Appends the end of the run.
    ///
    /// # Errors
    /// The disk is full.
    pub(crate) fn end(&mut self, good: bool, seconds: f64) -> Result<()> {
        self.append(&self.format.end(good, seconds))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// How the name of a run's event file ends; before is the second in which it began.
const OURS: &str = ".flat-train";

/// The files of `--log` in a run's folder, begun anew; `seconds` of the run are over.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn begin(config: &RunConfig, dir: &RunDir, seconds: f64) -> Result<Vec<LogFile>> {
    let with = |name: &LogName| config.log.contains(name);
    let one = |name: &LogName| match name {
        LogName::Tensorboard => {
            let begun = begun(dir.root())?.unwrap_or_else(|| now().saturating_sub(seconds as u64));
            let path = dir.root().join(format!("{EVENTS}{begun:010}{OURS}"));
            LogFile::begin(&path, Box::new(events::Events { begun, settings: config.with_effect()?, clock: 0.0 }))
        }
        LogName::Csv => LogFile::begin(&dir.metrics_csv(), Box::new(csv::Table::new())),
    };
    LogName::ALL.iter().filter(|name| with(name)).map(one).collect()
}

/// When the run in a folder began, in seconds since 1970, by the name of its event file.
fn begun(root: &Path) -> Result<Option<u64>> {
    let entries = std::fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_prefix(EVENTS)?.strip_suffix(OURS)?.parse().ok()).min())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::Journal;
    use crate::store::line::{Part, Progress};

    fn step(step: u64) -> Line {
        let progress =
            Progress { step, split: Some(Part::Train), loss: Some(0.1 * step as f64), ..Progress::default() };
        Line::Step(Progress { wall_s: Some(0.25), ..progress })
    }

    fn files(dir: &Path) -> Result<Vec<LogFile>> {
        let events = events::Events { begun: 100, settings: toml::Table::new(), clock: 0.0 };
        let events = LogFile::begin(&dir.join("events"), Box::new(events))?;
        Ok(vec![events, LogFile::begin(&dir.join("csv"), Box::new(csv::Table::new()))?])
    }

    fn written(dir: &Path) -> Result<[Vec<u8>; 2]> {
        Ok([std::fs::read(dir.join("events"))?, std::fs::read(dir.join("csv"))?])
    }

    #[test]
    fn files_begun_anew_from_a_journal_are_those_that_were_written_along_to_the_byte() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("metrics.jsonl");
        let mut journal = Journal::open(&path, 0)?.with_copies(files(dir.path())?)?;
        (1..=3).try_for_each(|n| journal.write(&step(n)))?;
        let (length, three) = (journal.synced_length()?, written(dir.path())?);
        journal.write(&step(4))?;
        assert_ne!(written(dir.path())?, three);
        // the run was killed, and goes on after its third step
        let mut journal = Journal::open(&path, length)?.with_copies(files(dir.path())?)?;
        assert_eq!(written(dir.path())?, three);
        journal.write(&step(4))?;
        let four = written(dir.path())?;
        journal.end(true, 1.0)?;
        let [events, table] = written(dir.path())?;
        assert!(events.len() > four[0].len() && table == four[1], "a table has no end");
        assert!(events.starts_with(&four[0]) && four[0].starts_with(&three[0]));
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file_and_the_journal_has_its_line() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("metrics.jsonl");
        let full = File::options().write(true).open("/dev/full")?;
        let format = Box::new(csv::Table::new());
        let mut journal = Journal::open(&path, 0)?.with_copies(vec![LogFile {
            file: full,
            path: PathBuf::from("RUN/metrics.csv"),
            format,
        }])?;
        let said = format!("{:#}", journal.write(&step(1)).expect_err("no room"));
        assert!(said.contains("cannot write RUN/metrics.csv") && said.contains("space"), "{said}");
        assert_eq!(crate::store::journal::read(&path, false)?.len(), 1);
        Ok(())
    }
}
