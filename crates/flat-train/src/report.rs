//! Runs, sweeps and reproductions as one HTML page: curves, tables, what differs between the runs.
//!
//! The page is a single file that asks the network for nothing and runs no script: plots are inline SVG whose colours are CSS
//! variables, the plots of a reproduction are embedded as images. All text from the folders is escaped.

mod cell;
mod export;
mod journal;
mod judge;
mod measured;
mod names;
mod page;
mod panel;
mod plot;
mod prose;
mod ranking;
mod run;
mod scatter;
mod sheet;
mod study;
mod summary;
mod sweep;
mod table;
mod tables;
mod verdict;

use crate::args::ReportArgs;
use anyhow::{Context, Result};
use cell::{Cell, cells};
use flat_run::store::write_with_folders;
use flat_run::{Ui, signal, usage};
use ranking::Ranking;
use run::Run;
use serde::Serialize;
use std::path::PathBuf;
use study::StudyPage;
use sweep::SweepPage;

/// The contents of the folders of a report.
#[derive(Debug)]
pub struct Report {
    runs: Vec<Run>,
    cells: Vec<Cell>,
    ranking: Option<Ranking>,
    sweeps: Vec<SweepPage>,
    studies: Vec<StudyPage>,
}

/// The contents of a page, for `--json`.
#[derive(Debug, Serialize)]
pub struct Contents {
    out: PathBuf,
    bytes: usize,
    ranking: Option<Ranking>,
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

/// Refuses flags that make no sense, before anything is read.
///
/// # Errors
/// A usage error that names the flag.
pub fn check(args: &ReportArgs) -> Result<()> {
    let files = [
        ("out", Some(&args.out), &["html", "htm"][..], "the page is HTML"),
        ("csv", args.csv.as_ref(), &["csv"], "the table is CSV"),
        ("markdown", args.markdown.as_ref(), &["md", "markdown"], "the table is Markdown"),
    ];
    for (flag, file, endings, what) in files {
        let Some(file) = file else { continue };
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !endings.iter().any(|e| e.eq_ignore_ascii_case(ending)) {
            // so that nothing else is written over
            return Err(usage(format!(
                "--{flag} {}: {what}, name a file that ends in .{}",
                file.display(),
                endings[0]
            )));
        }
    }
    Ok(())
}

impl Report {
    /// Reads the folders and ranks their runs; `None` where a signal asked to stop.
    ///
    /// # Errors
    /// A folder that holds no run, no sweep and no reproduction, or is named twice; a missing or damaged file; a baseline
    /// that is not among the runs; a flag that needs runs without any.
    pub fn read(args: &ReportArgs, ui: Ui) -> Result<Option<Self>> {
        let folders = &args.runs[..];
        let mut seen: Vec<PathBuf> = Vec::new();
        for folder in folders {
            const KINDS: [&str; 4] = ["config.toml", "sweep.json", "study.json", "results.json"];
            if !KINDS.iter().any(|file| folder.join(file).exists()) {
                return Err(usage(format!(
                    "{}: no run, no sweep and no reproduction is there (no {})",
                    folder.display(),
                    KINDS.join(", no ")
                )));
            }
            let real = folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
            if seen.contains(&real) {
                return Err(usage(format!("{}: this folder is named twice", folder.display())));
            }
            seen.push(real);
        }
        let mut report =
            Self { runs: Vec::new(), cells: Vec::new(), ranking: None, sweeps: Vec::new(), studies: Vec::new() };
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
        report.rank(args)?;
        Ok(Some(report))
    }

    fn rank(&mut self, args: &ReportArgs) -> Result<()> {
        if self.runs.is_empty() {
            let given = [("baseline", args.baseline.is_some()), ("csv", args.csv.is_some())];
            let given = given.into_iter().chain([("markdown", args.markdown.is_some())]).find(|(_, given)| *given);
            let Some((flag, _)) = given else { return Ok(()) };
            return Err(usage(format!("--{flag} has no effect here: it needs runs, for they are what is ranked")));
        }
        self.cells = cells(&self.runs);
        self.ranking = Some(judge::ranking(&self.runs, &self.cells, args.baseline.as_deref())?);
        Ok(())
    }

    /// Whether a run, a sweep or a reproduction has not ended.
    pub fn in_progress(&self) -> bool {
        self.runs.iter().any(|run| run.summary.is_none())
            || self.sweeps.iter().any(|sweep| !sweep.board.complete)
            || self.studies.iter().any(|study| !study.finished)
    }

    fn title(&self) -> String {
        match (&self.runs[..], &self.sweeps[..], &self.studies[..]) {
            ([run], [], []) => format!("Run {}", run.name),
            ([], [sweep], []) => format!("Sweep {}", sweep.name),
            ([], [], [study]) => study.title.clone(),
            _ => "Report of flat-train".into(),
        }
    }

    /// Writes the page and the tables that were asked for, each whole, and says what they hold. `refresh` is the seconds
    /// after which a browser reads the page again.
    ///
    /// # Errors
    /// The folder cannot be written; the old file is untouched then.
    pub fn write(&self, args: &ReportArgs, refresh: Option<u64>) -> Result<Contents> {
        let title = args.title.clone().unwrap_or_else(|| self.title());
        let page = page::html(&page::Content {
            title: &title,
            note: args.note.as_deref(),
            refresh,
            runs: &self.runs,
            cells: &self.cells,
            ranking: self.ranking.as_ref().filter(|_| self.runs.len() > 1),
            sweeps: &self.sweeps,
            studies: &self.studies,
        });
        write_with_folders(&args.out, page.as_bytes())?;
        if let (Some(file), Some(ranking)) = (&args.csv, &self.ranking) {
            write_with_folders(file, ranking.csv().as_bytes())?;
        }
        if let (Some(file), Some(ranking)) = (&args.markdown, &self.ranking) {
            write_with_folders(file, ranking.markdown(&title, args.note.as_deref()).as_bytes())?;
        }
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
            out: args.out.clone(),
            bytes: page.len(),
            runs: self.runs.iter().map(run).collect(),
            sweeps: self.sweeps.iter().map(sweep).collect(),
            studies: self.studies.iter().map(study).collect(),
            ranking: self.ranking.clone().filter(|_| self.runs.len() > 1),
        })
    }
}

impl Contents {
    /// A list for a person.
    pub fn text(&self) -> String {
        let state = |finished: bool| if finished { "" } else { " (in progress)" };
        let mut lines = self.ranking.as_ref().map(Ranking::lines).unwrap_or_default();
        lines.push(self.out.display().to_string());
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
