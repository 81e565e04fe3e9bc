//! `metrics.jsonl`: one JSON object a line, flushed, in step with the checkpoints; what else `--log` asks for follows from it.

use crate::store::line::Line;
use crate::store::log::LogFile;
use anyhow::{Context, Result, anyhow, bail};
use flat_core::file;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    /// `None` where another rank writes it.
    file: Option<File>,
    path: PathBuf,
    missing: Option<u64>,
    /// Files that say the same in other formats.
    copies: Vec<LogFile>,
}

impl Journal {
    /// Opens the journal and cuts it to `length` bytes, its length when the checkpoint was written. The lines cut off
    /// are of steps that will be done again. A shorter one keeps its whole lines and says what is
    /// [`missing`](Self::missing).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(path: &Path, length: u64) -> Result<Self> {
        let mut missing = None;
        let mut open = || -> std::io::Result<File> {
            let mut file = file::open_own(path)?;
            match file.metadata()?.len().cmp(&length) {
                Ordering::Greater => file.set_len(length)?,
                Ordering::Equal => {}
                // lines that it once had are gone, and of the last one that is left a part may be
                Ordering::Less => {
                    let text = std::fs::read(path)?;
                    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) as u64;
                    file.set_len(whole)?;
                    missing = Some(length - whole);
                }
            }
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Some(file), path: path.to_path_buf(), missing, copies: Vec::new() })
    }

    /// One that keeps nothing: another rank's has the same lines.
    pub fn nowhere() -> Self {
        Self { file: None, path: PathBuf::new(), missing: None, copies: Vec::new() }
    }

    /// The journal with these files, which were just begun: they get its lines so far, and those to come.
    ///
    /// # Errors
    /// A damaged line, by its number; a full disk.
    pub fn with_copies(mut self, mut copies: Vec<LogFile>) -> Result<Self> {
        if !copies.is_empty() {
            each(&self.path, false, |line| copies.iter_mut().try_for_each(|copy| copy.write(&line)))?;
        }
        self.copies = copies;
        Ok(self)
    }

    /// Bytes that it lacked when it was opened; `None` where it was as long as it should.
    pub fn missing(&self) -> Option<u64> {
        self.missing
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&mut self, line: &Line) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.copies.iter_mut().try_for_each(|copy| copy.write(line))
    }

    /// Closes the other files of the log: the run has ended after so many seconds, and has diverged where not `good`.
    ///
    /// # Errors
    /// The disk is full.
    pub fn end(&mut self, good: bool, seconds: f64) -> Result<()> {
        std::mem::take(&mut self.copies).iter_mut().try_for_each(|copy| copy.end(good, seconds))
    }

    /// Bytes written so far, all of which are on the disk by then.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn synced_length(&self) -> Result<u64> {
        let Some(file) = &self.file else { return Ok(0) };
        let length = || -> std::io::Result<u64> {
            file.sync_data()?;
            Ok(file.metadata()?.len())
        };
        length().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Longest line that is read. A step's line has a few hundred bytes, one with a spectrum some thousands.
const LONGEST: u64 = 16 << 20;

/// Reads a journal. Of a run in progress the last line may be half written; it is left out then.
///
/// # Errors
/// A missing file or one that is not regular, or a line that is no journal's, by its number.
pub fn read(path: &Path, in_progress: bool) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    each(path, in_progress, |line| {
        lines.push(line);
        Ok(())
    })?;
    Ok(lines)
}

/// As [`read`], a line after the other.
fn each(path: &Path, in_progress: bool, mut take: impl FnMut(Line) -> Result<()>) -> Result<()> {
    let name = path.display();
    let mut file = BufReader::new(file::open(path).with_context(|| format!("cannot read {name}"))?);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let mut line = file.by_ref().take(LONGEST);
        if line.read_until(b'\n', &mut text).with_context(|| format!("cannot read {name}"))? == 0 {
            break;
        }
        let whole = text.last() == Some(&b'\n');
        if !whole && text.len() as u64 == LONGEST {
            bail!("{name} is damaged in line {number}: it has more than the {LONGEST} bytes that are read of a line");
        }
        match serde_json::from_slice(&text) {
            Ok(line) => take(line)?,
            Err(_) if in_progress && !whole => break,
            Err(e) => return Err(anyhow!("{name} is damaged in line {number}: {e}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::line::Progress;

    #[test]
    fn a_journal_that_lost_lines_keeps_its_whole_ones_and_says_how_much_is_missing() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("metrics.jsonl");
        assert_eq!(Journal::open(&path, 0)?.missing(), None);
        std::fs::write(&path, "{}\n{}\n{\"ki")?;
        let mut journal = Journal::open(&path, 20)?;
        assert_eq!(journal.missing(), Some(14));
        journal.write(&step(3))?;
        assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 3);
        std::fs::remove_file(&path)?;
        assert_eq!(Journal::open(&path, 20)?.missing(), Some(20));
        Ok(())
    }

    fn step(step: u64) -> Line {
        Line::Step(Progress { step, ..Progress::default() })
    }

    #[test]
    fn reopening_cuts_what_came_after_the_checkpoint() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("metrics.jsonl");
        let mut journal = Journal::open(&path, 0)?;
        journal.write(&step(1))?;
        let length = journal.synced_length()?;
        journal.write(&step(2))?;
        drop(journal);
        let mut journal = Journal::open(&path, length)?;
        journal.write(&step(3))?;
        let text = std::fs::read_to_string(&path)?;
        let steps: Vec<i64> = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).map(|v| v["step"].as_i64().unwrap_or(-1)))
            .collect::<Result<_, _>>()?;
        assert_eq!(steps, [1, 3]);
        Ok(())
    }
}
