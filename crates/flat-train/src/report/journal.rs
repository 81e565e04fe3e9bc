//! The journal of a run, sorted into the curves of the report.

use anyhow::Result;
use flat_run::store::{Flatness, Line, Part, Point, Progress, read_journal};
use std::path::Path;

/// The lines in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    lines: Vec<Line>,
}

impl Journal {
    /// Reads a journal. Of a run in progress the last line may be half written; it is left out then.
    ///
    /// # Errors
    /// A missing file, or a line that is no journal's, by its number.
    pub fn read(path: &Path, in_progress: bool) -> Result<Self> {
        Ok(Self { lines: read_journal(path, in_progress)? })
    }

    /// The steps that were logged.
    pub fn steps(&self) -> impl Iterator<Item = &Progress> {
        self.lines.iter().filter_map(|line| if let Line::Step(at) = line { Some(at) } else { None })
    }

    /// The epochs on one part of the images.
    pub fn epochs(&self, part: Part) -> impl Iterator<Item = &Progress> {
        let epochs = self.lines.iter().filter_map(|line| if let Line::Epoch(at) = line { Some(at) } else { None });
        epochs.filter(move |at| at.split == Some(part))
    }

    /// The measurements along the run.
    pub fn flatness(&self) -> impl Iterator<Item = &Flatness> {
        self.lines.iter().filter_map(|line| if let Line::Flatness(at) = line { Some(at) } else { None })
    }

    /// The last measurement under a name.
    pub fn last(&self, measure: &str) -> Option<&Point> {
        self.flatness().filter_map(|at| at.measured.get(measure)).last()
    }

    /// Optimizer steps that the journal knows of.
    pub fn last_step(&self) -> u64 {
        let step = |line: &Line| match line {
            Line::Step(at) | Line::Epoch(at) => at.step,
            Line::Flatness(at) => at.step,
            Line::Other => 0,
        };
        self.lines.iter().map(step).max().unwrap_or(0)
    }

    /// Perturbed steps that the journal knows of.
    pub fn perturbed(&self) -> Option<u64> {
        self.progress().rev().find_map(|at| at.perturbed)
    }

    /// Gradient evaluations that the journal knows of.
    pub fn evals(&self) -> Option<f64> {
        self.progress().rev().find_map(|at| at.evals)
    }

    fn progress(&self) -> impl DoubleEndedIterator<Item = &Progress> {
        self.lines.iter().filter_map(|line| match line {
            Line::Step(at) | Line::Epoch(at) => Some(at),
            _ => None,
        })
    }
}
