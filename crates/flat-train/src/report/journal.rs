//! `metrics.jsonl`, read back.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Step,
    Epoch,
    Flatness,
    #[serde(other)]
    Other,
}

/// Images a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Split {
    Train,
    Test,
    #[serde(other)]
    Other,
}

/// One line; numbers that were not finite are absent.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line {
    pub kind: Kind,
    pub step: u64,
    pub split: Option<Split>,
    pub loss: Option<f64>,
    pub accuracy: Option<f64>,
    pub lr: Option<f64>,
    pub grad_norm: Option<f64>,
    pub evals: Option<f64>,
    pub perturbed: Option<u64>,
    pub trace: Option<Trace>,
    pub lambda_max: Option<LambdaMax>,
    #[serde(default)]
    pub score: Option<Estimate>,
    #[serde(default)]
    pub dimension: Option<Estimate>,
}

/// A trace and what it was measured on; also what `summary.json` holds of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Trace {
    pub trace: Estimate,
    #[serde(default)]
    pub grad_norm: Option<f64>,
    pub examples: Option<u64>,
}

/// A value with its 95 % interval.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Estimate {
    pub value: Option<f64>,
    pub ci95: Option<[f64; 2]>,
    pub probes: Option<u64>,
}

/// A largest eigenvalue; some eigenvalue is within `residual` of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LambdaMax {
    pub value: Option<f64>,
    pub residual: Option<f64>,
}

impl LambdaMax {
    /// Where an eigenvalue lies for certain.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let (value, residual) = (self.value?, self.residual?);
        Some([value - residual, value + residual])
    }
}

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
        let name = path.display();
        let mut file = BufReader::new(File::open(path).with_context(|| format!("cannot read {name}"))?);
        let (mut lines, mut text) = (Vec::new(), Vec::new());
        for number in 1.. {
            text.clear();
            if file.read_until(b'\n', &mut text).with_context(|| format!("cannot read {name}"))? == 0 {
                break;
            }
            match serde_json::from_slice(&text) {
                Ok(line) => lines.push(line),
                Err(_) if in_progress && text.last() != Some(&b'\n') => break,
                Err(e) => return Err(anyhow!("{name} is damaged in line {number}: {e}")),
            }
        }
        Ok(Self { lines })
    }

    /// The lines of a kind, of one split where it is given.
    pub fn of(&self, kind: Kind, split: Option<Split>) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |l| l.kind == kind && (split.is_none() || l.split == split))
    }

    /// Optimizer steps that the journal knows of.
    pub fn last_step(&self) -> u64 {
        self.lines.iter().map(|l| l.step).max().unwrap_or(0)
    }

    /// Perturbed steps that the journal knows of.
    pub fn perturbed(&self) -> Option<u64> {
        self.lines.iter().rev().find_map(|l| l.perturbed)
    }

    /// Gradient evaluations that the journal knows of.
    pub fn evals(&self) -> Option<f64> {
        self.lines.iter().rev().find_map(|l| l.evals)
    }
}
