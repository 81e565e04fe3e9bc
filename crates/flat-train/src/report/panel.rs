//! The quantities that are drawn along the runs.

use super::journal::Journal;
use flat_plot::Point;
use flat_run::measure::{self, Along};
use flat_run::store::{Part, Progress};

/// A chart of one quantity of every run.
#[derive(Debug)]
pub(super) struct Panel {
    /// The quantity, with its unit.
    pub title: &'static str,
    /// What it is drawn along.
    pub along: &'static str,
    /// What its band means.
    pub band: Option<&'static str>,
    /// Whether it says something new only where the runs' steps cost differently.
    pub by_cost: bool,
    of: Of,
}

/// Where its points are in a journal.
#[derive(Debug)]
enum Of {
    /// In the lines of steps and epochs.
    Training(fn(&Journal) -> Vec<Point>),
    /// A measure of `--flatness`.
    Measured(String),
}

impl Panel {
    const fn of(title: &'static str, points: fn(&Journal) -> Vec<Point>) -> Self {
        Self { title, along: "steps", band: None, by_cost: false, of: Of::Training(points) }
    }

    fn of_measure(along: Along) -> Self {
        let of = Of::Measured(along.name.to_string());
        Self { title: along.title, along: "steps", band: Some(along.band), by_cost: false, of }
    }

    /// The quantity of a run; empty where its journal has none.
    pub fn points(&self, journal: &Journal) -> Vec<Point> {
        let points = match &self.of {
            Of::Training(points) => points(journal),
            Of::Measured(name) => {
                let measured = journal.flatness().filter_map(|at| Some((at.step, at.measured.get(name)?)));
                measured
                    .map(|(step, p)| Point { x: step as f64, y: p.value.unwrap_or(f64::NAN), band: p.interval })
                    .collect()
            }
        };
        if points.iter().any(|p| p.y.is_finite()) { points } else { Vec::new() }
    }
}

/// In the order of the page.
pub(super) fn panels() -> Vec<Panel> {
    let by_cost = |j: &Journal| {
        let point = |l: &Progress| Some(Point { x: l.evals?, ..point(l, percent(l)) });
        j.epochs(Part::Test).filter_map(point).collect()
    };
    let mut all = vec![
        Panel::of("Validation loss", |j| epochs(j, Part::Validation, |l| l.loss)),
        Panel::of("Validation accuracy, percent", |j| epochs(j, Part::Validation, percent)),
        Panel::of("Test loss", |j| epochs(j, Part::Test, |l| l.loss)),
        Panel::of("Test accuracy, percent", |j| epochs(j, Part::Test, percent)),
        Panel { along: "gradient evaluations", by_cost: true, ..Panel::of("Test accuracy, percent, by cost", by_cost) },
        Panel::of("Training loss, mean of the epoch", |j| epochs(j, Part::Train, |l| l.loss)),
        Panel::of("Training accuracy of the epoch, percent", |j| epochs(j, Part::Train, percent)),
    ];
    all.extend(measure::along().map(Panel::of_measure));
    all.extend([
        Panel::of("Squared distance of agents to their mean", |j| epochs(j, Part::Train, |l| l.consensus_distance)),
        Panel::of("Gradient norm", |j| finest(j, |l| l.grad_norm)),
        Panel::of("Learning rate", |j| finest(j, |l| l.lr)),
        Panel::of("Training loss of the step", |j| steps(j, |l| l.loss)),
    ]);
    all
}

/// The quantities that a journal holds.
pub(super) fn titles(journal: &Journal) -> Vec<&'static str> {
    panels().iter().filter(|p| !p.points(journal).is_empty()).map(|p| p.title).collect()
}

fn point(line: &Progress, y: Option<f64>) -> Point {
    Point { x: line.step as f64, y: y.unwrap_or(f64::NAN), band: None }
}

fn percent(line: &Progress) -> Option<f64> {
    line.accuracy.map(|a| 100.0 * a)
}

fn epochs(journal: &Journal, part: Part, value: fn(&Progress) -> Option<f64>) -> Vec<Point> {
    journal.epochs(part).map(|l| point(l, value(l))).collect()
}

fn steps(journal: &Journal, value: fn(&Progress) -> Option<f64>) -> Vec<Point> {
    journal.steps().map(|l| point(l, value(l))).collect()
}

/// Step by step where the steps were logged.
fn finest(journal: &Journal, value: fn(&Progress) -> Option<f64>) -> Vec<Point> {
    let points = steps(journal, value);
    if points.is_empty() { epochs(journal, Part::Train, value) } else { points }
}
