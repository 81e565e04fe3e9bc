//! Runs, sweeps and reproductions as one HTML page: curves, tables, what differs between the runs.
//!
//! The page is a single file that asks the network for nothing and runs no script: plots are inline SVG whose colours are CSS
//! variables, the plots of a reproduction are embedded as images. All text from the folders is escaped.

mod base64;
mod chart;
mod curve;
mod html;
mod journal;
mod names;
mod page;
mod panel;
mod run;
mod scale;
mod study;
mod summary;
mod sweep;
mod tables;

use anyhow::{Context, Result};
use flat_run::store::write_whole;
use flat_run::{Ui, signal, usage};
use run::Run;
use serde::Serialize;
use std::path::{Path, PathBuf};
use study::StudyPage;
use sweep::SweepPage;

/// The contents of the folders of a report.
#[derive(Debug)]
pub struct Report {
    runs: Vec<Run>,
    sweeps: Vec<SweepPage>,
    studies: Vec<StudyPage>,
}

/// The contents of a page, for `--json`.
#[derive(Debug, Serialize)]
pub struct Contents {
    out: PathBuf,
    bytes: usize,
    runs: Vec<RunEntry>,
    sweeps: Vec<SweepEntry>,
    studies: Vec<StudyEntry>,
}

#[derive(Debug, Serialize)]
struct RunEntry {
    name: String,
    path: String,
    finished: bool,
    step: u64,
    curves: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct SweepEntry {
    name: String,
    path: String,
    finished: bool,
    cells: usize,
    best: Option<String>,
    figures: usize,
}

#[derive(Debug, Serialize)]
struct StudyEntry {
    name: String,
    path: String,
    title: String,
    finished: bool,
    tables: usize,
    figures: usize,
}

/// Refuses what is no name of an HTML file, so that nothing else is written over.
///
/// # Errors
/// A usage error that names the flag.
pub fn check_name(file: &Path) -> Result<()> {
    match file.extension().and_then(|e| e.to_str()) {
        Some(e) if e.eq_ignore_ascii_case("html") || e.eq_ignore_ascii_case("htm") => Ok(()),
        _ => Err(usage(format!("--out {}: the page is HTML, name a file that ends in .html", file.display()))),
    }
}

impl Report {
    /// Reads the folders; `None` where a signal asked to stop.
    ///
    /// # Errors
    /// A folder that holds no run, no sweep and no reproduction, or is named twice; a missing or damaged file.
    pub fn read(folders: &[PathBuf], ui: Ui) -> Result<Option<Self>> {
        let mut seen: Vec<PathBuf> = Vec::new();
        for folder in folders {
            let kind = ["config.toml", "study.json", "sweep.json"].into_iter().find(|file| folder.join(file).exists());
            if kind.is_none() {
                return Err(usage(format!(
                    "{}: no run, no sweep and no reproduction is there (no config.toml, no sweep.json, no study.json)",
                    folder.display()
                )));
            }
            let real = folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
            if seen.contains(&real) {
                return Err(usage(format!("{}: this folder is named twice", folder.display())));
            }
            seen.push(real);
        }
        let mut report = Self { runs: Vec::new(), sweeps: Vec::new(), studies: Vec::new() };
        let mut bar = ui.bar("reading", 0, folders.len() as u64, "folders");
        for ((folder, name), done) in folders.iter().zip(names::apart(&seen)).zip(1..) {
            if folder.join("config.toml").exists() {
                report.runs.push(Run::read(folder, name)?);
            } else if folder.join("sweep.json").exists() {
                report.sweeps.push(SweepPage::read(folder, name)?);
            } else {
                report.studies.push(StudyPage::read(folder, name)?);
            }
            bar.update(done, String::new);
            if signal::stop_requested() {
                return Ok(None);
            }
        }
        Ok(Some(report))
    }

    /// Writes the page whole and says what it holds.
    ///
    /// # Errors
    /// The folder cannot be written; the old file is untouched then.
    pub fn write(&self, out: &Path) -> Result<Contents> {
        let file = std::path::absolute(out)?;
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let page = page::html(&self.runs, &self.sweeps, &self.studies);
        write_whole(&file, page.as_bytes())?;
        let run = |run: &Run| RunEntry {
            name: run.name.clone(),
            path: run.path.clone(),
            finished: run.summary.is_some(),
            step: run.journal.last_step(),
            curves: panel::titles(&run.journal),
        };
        let sweep = |sweep: &SweepPage| SweepEntry {
            name: sweep.name.clone(),
            path: sweep.path.clone(),
            finished: sweep.board.complete,
            cells: sweep.board.rows.len(),
            best: sweep.board.best().map(|row| row.cell.clone()),
            figures: sweep.figures.len(),
        };
        let study = |study: &StudyPage| StudyEntry {
            name: study.name.clone(),
            path: study.path.clone(),
            title: study.title.clone(),
            finished: study.finished,
            tables: study.tables.len(),
            figures: study.figures.len(),
        };
        Ok(Contents {
            out: out.to_path_buf(),
            bytes: page.len(),
            runs: self.runs.iter().map(run).collect(),
            sweeps: self.sweeps.iter().map(sweep).collect(),
            studies: self.studies.iter().map(study).collect(),
        })
    }
}

impl Contents {
    /// A list for a person.
    pub fn text(&self) -> String {
        let state = |finished: bool| if finished { "" } else { " (in progress)" };
        let mut lines = vec![self.out.display().to_string()];
        lines.extend(
            self.runs.iter().map(|r| {
                format!("  run    {}{}: {} steps, {} curves", r.name, state(r.finished), r.step, r.curves.len())
            }),
        );
        lines.extend(self.sweeps.iter().map(|s| {
            let best = s.best.as_ref().map(|best| format!(", best {best}")).unwrap_or_default();
            format!("  sweep  {}{}: {} cells{best}, {} figures", s.name, state(s.finished), s.cells, s.figures)
        }));
        lines.extend(
            self.studies.iter().map(|s| {
                format!("  study  {}{}: {} tables, {} figures", s.name, state(s.finished), s.tables, s.figures)
            }),
        );
        lines.join("\n")
    }
}
