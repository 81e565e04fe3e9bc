//! The quantities that are drawn along the runs.

use super::curve::Point;
use super::journal::{Estimate, Journal, Kind, Line, Split};

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
    points: fn(&Journal) -> Vec<Point>,
}

impl Panel {
    /// The quantity of a run; empty where its journal has none.
    pub fn points(&self, journal: &Journal) -> Vec<Point> {
        let points = (self.points)(journal);
        if points.iter().any(|p| p.y.is_some()) { points } else { Vec::new() }
    }
}

const USUAL: Panel = Panel { title: "", along: "steps", band: None, by_cost: false, points: |_| Vec::new() };

/// In the order of the page.
pub(super) const PANELS: [Panel; 12] = [
    Panel { title: "Test loss", points: |j| epochs(j, Split::Test, |l| l.loss), ..USUAL },
    Panel { title: "Test accuracy, percent", points: |j| epochs(j, Split::Test, percent), ..USUAL },
    Panel {
        title: "Test accuracy, percent, by cost",
        along: "gradient evaluations",
        by_cost: true,
        points: |j| {
            let lines = j.of(Kind::Epoch, Some(Split::Test));
            lines.filter_map(|l| Some(Point { x: l.evals?, y: percent(l), interval: None })).collect()
        },
        ..USUAL
    },
    Panel { title: "Training loss, mean of the epoch", points: |j| epochs(j, Split::Train, |l| l.loss), ..USUAL },
    Panel { title: "Training accuracy of the epoch, percent", points: |j| epochs(j, Split::Train, percent), ..USUAL },
    Panel {
        title: "Hessian trace",
        band: Some("the 95 % interval of its probes"),
        points: |j| measured(j, |l| l.trace.as_ref().map(|t| &t.trace)),
        ..USUAL
    },
    Panel {
        title: "Largest Hessian eigenvalue",
        band: Some("where, by the residual, an eigenvalue lies for certain"),
        points: |j| {
            let point = |l: &Line| {
                let largest = l.lambda_max.as_ref()?;
                Some(Point { x: l.step as f64, y: largest.value, interval: largest.interval() })
            };
            j.of(Kind::Flatness, None).filter_map(point).collect()
        },
        ..USUAL
    },
    Panel {
        title: "Curvature score, tr H / sqrt(rank)",
        band: Some("the 95 % interval of its probes"),
        points: |j| measured(j, |l| l.score.as_ref()),
        ..USUAL
    },
    Panel {
        title: "Intrinsic dimension of the hidden states",
        band: Some("the 95 % interval"),
        points: |j| measured(j, |l| l.dimension.as_ref()),
        ..USUAL
    },
    Panel { title: "Gradient norm", points: |j| finest(j, |l| l.grad_norm), ..USUAL },
    Panel { title: "Learning rate", points: |j| finest(j, |l| l.lr), ..USUAL },
    Panel { title: "Training loss of the step", points: |j| steps(j, |l| l.loss), ..USUAL },
];

/// The quantities that a journal holds.
pub(super) fn titles(journal: &Journal) -> Vec<&'static str> {
    PANELS.iter().filter(|p| !p.points(journal).is_empty()).map(|p| p.title).collect()
}

fn point(line: &Line, y: Option<f64>) -> Point {
    Point { x: line.step as f64, y, interval: None }
}

fn percent(line: &Line) -> Option<f64> {
    line.accuracy.map(|a| 100.0 * a)
}

fn measured(journal: &Journal, of: fn(&Line) -> Option<&Estimate>) -> Vec<Point> {
    let point = |l: &Line| of(l).map(|e| Point { x: l.step as f64, y: e.value, interval: e.ci95 });
    journal.of(Kind::Flatness, None).filter_map(point).collect()
}

fn epochs(journal: &Journal, split: Split, value: fn(&Line) -> Option<f64>) -> Vec<Point> {
    journal.of(Kind::Epoch, Some(split)).map(|l| point(l, value(l))).collect()
}

fn steps(journal: &Journal, value: fn(&Line) -> Option<f64>) -> Vec<Point> {
    journal.of(Kind::Step, None).map(|l| point(l, value(l))).collect()
}

/// Step by step where the steps were logged.
fn finest(journal: &Journal, value: fn(&Line) -> Option<f64>) -> Vec<Point> {
    let points = steps(journal, value);
    if points.is_empty() { epochs(journal, Split::Train, value) } else { points }
}
