//! The leaderboard: cells ranked on validation images, with intervals over the seeds.

use crate::select::Select;
use crate::spread::Spread;
use crate::study::Study;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The leaderboard's file in a sweep's folder.
pub(crate) const BOARD: &str = "sweep.json";

/// The result of a sweep: `sweep.json`, and what `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Version of the shape.
    pub schema: u32,
    /// Folder of the sweep.
    pub out: String,
    /// Whether every run has ended; of an interrupted sweep the rest is what there is by then.
    pub complete: bool,
    /// What cells are ranked by, on validation images.
    pub select: Select,
    /// What every run may spend, as `--budget` takes it.
    pub budget: String,
    /// Successive halving, as `--halving` takes it.
    pub halving: Option<String>,
    /// Seeds of every cell.
    pub seeds: Vec<u64>,
    /// Validation images of a run.
    pub validation: usize,
    /// Processes at a time.
    pub jobs: usize,
    /// Threads of each.
    pub threads: usize,
    /// Why so many.
    pub jobs_why: String,
    /// Settings that vary.
    pub varied: Vec<String>,
    /// The cells, the best first.
    pub rows: Vec<Row>,
    /// Runs that failed.
    pub failures: Vec<Failure>,
    /// What to know when reading the numbers.
    pub notes: Vec<String>,
}

/// A cell of the leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub rank: usize,
    /// The cell.
    pub cell: String,
    /// Its settings among those that vary.
    pub settings: BTreeMap<String, String>,
    /// Runs that took all their steps.
    pub finished: usize,
    /// Runs that diverged.
    pub diverged: usize,
    /// Runs that failed.
    pub failed: usize,
    /// Steps after which halving dropped it.
    pub dropped_after: Option<u64>,
    /// Accuracy on the validation images, in 0..1.
    pub val_accuracy: Option<Spread>,
    /// Loss on them.
    pub val_loss: Option<Spread>,
    /// Accuracy of the worst group of them, in 0..1, where the data has a spurious attribute.
    #[serde(default)]
    pub val_worst_group: Option<Spread>,
    /// What cells are ranked by, less that of the best cell, over the seeds that both have.
    pub difference: Option<Spread>,
    /// What the difference shows.
    pub verdict: String,
    /// Accuracy on the test set, in 0..1, where it was looked at.
    pub test_accuracy: Option<Spread>,
    /// Loss on it, likewise.
    pub test_loss: Option<Spread>,
    /// Accuracy on the training images, in 0..1.
    pub train_accuracy: Option<Spread>,
    /// Trace of the Hessian of the training loss, where measured.
    pub trace: Option<Spread>,
    /// Largest eigenvalue of that Hessian, as `--flatness lambda_max` last measured it along the run.
    #[serde(default)]
    pub lambda_max: Option<Spread>,
    /// Optimizer steps of a run, in the mean.
    pub steps: Option<f64>,
    /// Gradient evaluations of a run, in mini-batch gradients, in the mean.
    pub evals: Option<f64>,
    /// Seconds of a run, in the mean.
    pub wall_s: Option<f64>,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The cell.
    pub cell: String,
    /// The seed.
    pub seed: u64,
    /// The last line that its process wrote to stderr.
    pub why: String,
}

impl Row {
    /// The number that cells are ranked by, over the seeds.
    pub fn by(&self, select: Select) -> Option<Spread> {
        match select {
            Select::Accuracy => self.val_accuracy,
            Select::WorstGroup => self.val_worst_group,
            Select::Loss => self.val_loss,
        }
    }
}

impl Board {
    /// The leaderboard that a sweep left in its folder.
    ///
    /// # Errors
    /// A missing or damaged file.
    pub fn read(root: &Path) -> Result<Self> {
        let file = root.join(BOARD);
        let bytes = flat_core::file::read(&file, flat_core::file::TEXT)
            .with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", file.display()))
    }

    /// The best cell, where one came to a number.
    pub fn best(&self) -> Option<&Row> {
        self.rows.first().filter(|row| row.val_accuracy.is_some())
    }
}

/// What to know of the leaderboard of a study.
pub(crate) fn notes(study: &Study, failed: bool) -> Vec<String> {
    let looked = match (study.test_all, failed) {
        (true, _) => "every cell, after ranking",
        (false, true) => "no cell, for a run failed: start the sweep again, or leave its cell out",
        (false, false) => "the best cell alone",
    };
    let mut notes = vec![
        format!("ranked on validation images; the test set was looked at for {looked}"),
        "intervals are Student's 95 % over the seeds, not widened for the number of cells".into(),
        "the best of many is too good on the images that chose it; its test accuracy is not".into(),
    ];
    if let Some(name) = ["dataset", "data-dir", "train-limit"].into_iter().find(|name| study.names().contains(name)) {
        notes.push(format!("cells that differ in {name} have other validation images"));
    }
    if study.select == Select::WorstGroup {
        notes.push("the worst of groups with few images is too low on average".into());
    }
    if study.halving.is_some() {
        notes.push(
            "rungs compare runs in the middle of the schedule of the whole budget; a dropped cell was not trained to its end"
                .into(),
        );
    }
    notes
}
