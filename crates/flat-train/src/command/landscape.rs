//! `flat-train landscape`.

use super::keep::{keep, place};
use super::print_measured;
use crate::args::{DirectionName, LandscapeArgs};
use crate::exit::Outcome;
use anyhow::{Context, Result};
use flat_core::{ParamVec, Purpose, Streams};
use flat_metrics::{Axis, Effort, Lanczos, LanczosConfig, Measured, Progress, Stop, filter_normalized, slice};
use flat_plot::{self as plot, Grid};
use flat_run::measure::{Document, HessianMethod, Line, Provenance, tolerance};
use flat_run::parts::{LoadedCheckpoint, Score, score};
use flat_run::settings::{BnModeName, HessianArgs};
use flat_run::store::write_whole;
use flat_run::value::short;
use flat_run::{Ui, flags_of, signal, usage};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

/// Its name among measures.
const NAME: &str = "landscape";
/// Streams of the random directions, apart from those of traces and spectra.
const DIRECTIONS: u64 = u64::MAX - 5;

/// A slice of loss and accuracy.
#[derive(Debug, Default, Serialize)]
struct Landscape {
    /// `random`, `eigen` or `between`.
    directions: &'static str,
    /// The checkpoint at 1, where the slice is a line between two.
    between: Option<String>,
    /// Eigenvalues of the directions, where they are eigenvectors.
    eigenvalues: Vec<f64>,
    /// Length of the coordinate 1 along each axis.
    lengths: Vec<f64>,
    /// Coordinates along the first axis.
    x: Vec<f64>,
    /// Along the second; empty with one axis.
    y: Vec<f64>,
    /// Loss, x fastest; `null` where it is not finite.
    loss: Vec<f64>,
    /// Accuracy in 0..1, likewise.
    accuracy: Vec<f64>,
    /// Whose running statistics BatchNorm has at each point: `checkpoint`, `other` or `recomputed` on training images; empty
    /// where it has none or uses each batch's.
    running_statistics: Vec<&'static str>,
    /// Loss at the checkpoint.
    loss_here: f64,
    /// Files written.
    files: Vec<String>,
}

/// A slice, where it was taken and at what cost.
struct Slice {
    report: Landscape,
    provenance: Provenance,
    /// Hessian-vector products.
    matvecs: u64,
    /// A signal ended it: the points that were not reached are `null`.
    interrupted: bool,
}

/// Evaluates, writes and draws the slice.
pub(super) fn run(args: &LandscapeArgs, ui: Ui, json: bool) -> Result<Outcome> {
    let two = args.axes == 2 && args.between.is_none();
    let span = args.span.unwrap_or(if args.between.is_some() { 0.25 } else { 1.0 });
    let points = args.points.unwrap_or(if two { 21 } else { 51 });
    if span == 0.0 && args.between.is_none() {
        return Err(usage("--span 0: give a number above 0"));
    }
    let range = match args.loss_range[..] {
        [] => None,
        [low, high] if low < high && high.is_finite() && low.is_finite() => Some([low, high]),
        _ => return Err(usage("--loss-range: give two numbers, the smaller first, as in 0.001,10")),
    };
    let checkpoint = &args.hessian.on.checkpoint;
    let kept = place(checkpoint, &args.keeping, NAME);
    let Some(out) = args.out.clone().or_else(|| Some(kept.as_ref()?.with_extension(""))) else {
        let why = "name a folder for the table and the plots; only those of a run directory have one";
        return Err(usage(format!("--out: {why}, and {} is none or --no-save was given", checkpoint.display())));
    };
    let subject = LoadedCheckpoint::to_measure(&args.hessian.on)?.announced(ui);
    let started = Instant::now();
    let found = match &args.between {
        Some(other) => between(&subject, args, other, Line::coordinates(span, points), ui)?,
        None => around(&subject, args, if two { 2 } else { 1 }, span, points, ui)?,
    };
    let Some(Slice { mut report, provenance, matvecs, interrupted }) = found else { return Ok(Outcome::Interrupted) };
    let mode = HessianMethod::of(&args.hessian).mode();
    let here = score(&subject.model, subject.loss, &subject.data, mode, |_, _| ())?;
    report.loss_here = here.map_or(f64::NAN, |s| s.loss);
    if flat_run::ranks::here().is_first() {
        save(&mut report, &provenance, range, &out)?;
    }
    let effort = Effort {
        matvecs,
        losses: report.loss.len() as u64 + 1,
        seed: Some(subject.seed(&args.hessian)),
        wall_s: started.elapsed().as_secs_f64(),
        ..Effort::default()
    };
    let stop = Stop::interrupted_if(interrupted);
    let found = Document { measure: NAME, taken: Measured { result: report, provenance, effort, stop } };
    if let Some(file) = kept {
        keep(&file, &serde_json::to_value(&found)?, ui);
    }
    print_measured(json, interrupted, &found, || {
        let r = &found.taken;
        let finite = || r.loss.iter().copied().filter(|x| x.is_finite());
        let (lo, hi) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        format!(
            "{}loss {} at the checkpoint, {} to {} over {} points\n{}\n{}",
            if interrupted { "interrupted: " } else { "" },
            short(r.loss_here),
            short(lo),
            short(hi),
            finite().count(),
            r.files.join("\n"),
            r.provenance.lines(&r.effort)
        )
    })
}

/// The line to another checkpoint; `None` where a signal asked to stop.
fn between(
    subject: &LoadedCheckpoint,
    args: &LandscapeArgs,
    other: &Path,
    x: Vec<f64>,
    ui: Ui,
) -> Result<Option<Slice>> {
    let bn_mode = args.hessian.bn_mode;
    let line = Line::new(subject, other, bn_mode)?;
    let mut provenance = provenance(subject, args)?;
    if line.recomputes() {
        let note = format!(
            "at 0 and 1 BatchNorm has each checkpoint's own running statistics, elsewhere those of the weights there on {} \
             training images; --bn-mode batch uses each batch's everywhere",
            line.images()
        );
        ui.say(format!("note: {note}"));
        provenance.source.notes.push(note);
    }
    let mut bar = ui.bar("landscape", 0, x.len() as u64, "points");
    let scores =
        line.scores(subject, bn_mode, &x, |done, loss| bar.update(done, || format!("loss {}", short(loss))))?;
    drop(bar);
    let Some((scores, interrupted)) = whole(scores, x.len()) else { return Ok(None) };
    let (loss, accuracy) = scores.into_iter().unzip();
    let statistics = x.iter().map(|x| match *x {
        0.0 => "checkpoint",
        1.0 => "other",
        _ => "recomputed",
    });
    let report = Landscape {
        directions: "between",
        between: Some(other.display().to_string()),
        lengths: vec![line.length()?],
        running_statistics: if line.recomputes() { statistics.collect() } else { Vec::new() },
        x,
        loss,
        accuracy,
        ..Landscape::default()
    };
    Ok(Some(Slice { report, provenance, matvecs: 0, interrupted }))
}

/// A slice around the checkpoint; `None` where a signal asked to stop.
fn around(
    subject: &LoadedCheckpoint,
    args: &LandscapeArgs,
    n: usize,
    span: f64,
    points: usize,
    ui: Ui,
) -> Result<Option<Slice>> {
    let Some(directions) = directions(subject, args, n, ui)? else { return Ok(None) };
    let axes = directions.vectors.into_iter().map(|v| Axis::new(v, [-span, span], points));
    let axes = axes.collect::<flat_metrics::Result<Vec<_>>>().map_err(|e| flags_of(e, &[]))?;
    let Some((scores, interrupted)) = evaluate(subject, &args.hessian, &axes, ui)? else { return Ok(None) };
    let mut provenance = provenance(subject, args)?;
    let (eigen, matvecs) = (args.directions == DirectionName::Eigen, directions.matvecs);
    provenance.hvp = eigen.then(|| args.hessian.hvp.name());
    let frozen = subject.model.has_batch_norm() && args.hessian.bn_mode == BnModeName::Eval;
    if frozen {
        provenance.source.notes.push("BatchNorm has the checkpoint's running statistics at every point".into());
    }
    let statistics = vec!["checkpoint"; if frozen { scores.len() } else { 0 }];
    let (loss, accuracy) = scores.into_iter().unzip();
    let report = Landscape {
        directions: args.directions.name(),
        eigenvalues: directions.eigenvalues,
        lengths: axes.iter().map(|a| a.direction.norm()).collect::<flat_core::Result<_>>()?,
        x: axes[0].coordinates.clone(),
        y: axes.get(1).map(|a| a.coordinates.clone()).unwrap_or_default(),
        running_statistics: statistics,
        loss,
        accuracy,
        ..Landscape::default()
    };
    Ok(Some(Slice { report, provenance, matvecs, interrupted }))
}

/// Where a slice is taken.
fn provenance(subject: &LoadedCheckpoint, args: &LandscapeArgs) -> Result<Provenance> {
    let computed = flat_metrics::Provenance { examples: Some(subject.data.split().len()), ..Default::default() };
    Provenance::of_subject(subject, &args.hessian.on, args.hessian.bn_mode, computed)
}

/// Loss and accuracy at every point, and whether a signal left some of them out.
type Scores = (Vec<(f64, f64)>, bool);

/// What to walk along.
struct Directions {
    vectors: Vec<ParamVec>,
    eigenvalues: Vec<f64>,
    matvecs: u64,
}

/// `None` where a signal asked to stop.
fn directions(subject: &LoadedCheckpoint, args: &LandscapeArgs, n: usize, ui: Ui) -> Result<Option<Directions>> {
    let theta = subject.model.params().read()?;
    let streams = Streams::new(subject.seed(&args.hessian));
    let plain = |vectors| Ok(Some(Directions { vectors, eigenvalues: Vec::new(), matvecs: 0 }));
    if args.directions == DirectionName::Random {
        let draw = |k| filter_normalized(&theta, &streams.at2(Purpose::Probe, DIRECTIONS, k));
        return plain((0..n as u64).map(draw).collect::<flat_metrics::Result<_>>()?);
    }
    let rel_tol = tolerance(subject.model.params().space().dtype);
    let config = LanczosConfig { top: n, bottom: 0, max_matvecs: 200, rel_tol };
    let lanczos = Lanczos::new(config)?;
    let which = HessianMethod::of(&args.hessian);
    let mut bar = ui.bar("eigenvectors", 0, 200, "products at most");
    let report = which.hessian(&subject.model, subject.loss, &subject.data, |operator| {
        lanczos.run(operator, &streams, &mut |p: &Progress| {
            bar.update(p.done, String::new);
            signal::go_on()
        })
    });
    if signal::stop_requested() {
        return Ok(None);
    }
    let report = report?;
    let matvecs = report.effort.matvecs;
    let eigenvalues = report.top.iter().map(|p| p.value).collect();
    let vectors = report.result.top.into_iter().map(|p| p.vector).collect();
    Ok(Some(Directions { vectors, eigenvalues, matvecs }))
}

/// The slice, as [`whole`] has it.
fn evaluate(subject: &LoadedCheckpoint, args: &HessianArgs, axes: &[Axis], ui: Ui) -> Result<Option<Scores>> {
    let (mode, cells) = (HessianMethod::of(args).mode(), axes.iter().map(|a| a.coordinates.len() as u64).product());
    let mut bar = ui.bar("landscape", 0, cells, "points");
    let mut scores = Vec::new();
    let sliced = slice(subject.model.params(), &axes[0], axes.get(1), &mut || {
        let found = score(&subject.model, subject.loss, &subject.data, mode, |_, _| ())?;
        let Some(Score { loss, accuracy, .. }) = found else { return Err(flat_metrics::Error::Interrupted.into()) };
        scores.push((loss, accuracy));
        bar.update(scores.len() as u64, || format!("loss {}", short(loss)));
        Ok::<_, anyhow::Error>(())
    });
    drop(bar);
    if !signal::stop_requested() {
        sliced?;
    }
    Ok(whole(scores, cells as usize))
}

/// The scores of all points, not finite where a signal came before them, and whether one did; `None` where it came before the
/// first.
fn whole(mut scores: Vec<(f64, f64)>, points: usize) -> Option<Scores> {
    let interrupted = scores.len() < points;
    let any = !scores.is_empty();
    scores.resize(points, (f64::NAN, f64::NAN));
    any.then_some((scores, interrupted))
}

/// CSV and plots.
fn save(report: &mut Landscape, provenance: &Provenance, range: Option<[f64; 2]>, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create --out {}", dir.display()))?;
    let mut csv = String::from(if report.y.is_empty() { "x,loss,accuracy" } else { "x,y,loss,accuracy" });
    csv.push_str(if report.running_statistics.is_empty() { "\n" } else { ",running_statistics\n" });
    for (i, (loss, accuracy)) in report.loss.iter().zip(&report.accuracy).enumerate() {
        let x = report.x[i % report.x.len()];
        match report.y.get(i / report.x.len()) {
            Some(y) => write!(csv, "{x},{y},{loss},{accuracy}")?,
            None => write!(csv, "{x},{loss},{accuracy}")?,
        }
        if let Some(whose) = report.running_statistics.get(i) {
            write!(csv, ",{whose}")?;
        }
        csv.push('\n');
    }
    let file = dir.join("landscape.csv");
    write_whole(&file, csv.as_bytes())?;
    let mut files = vec![file];
    let label = |i: usize| match (report.directions, report.eigenvalues.get(i)) {
        ("between", _) => "position on the line: 0 is the checkpoint, 1 the other".to_string(),
        (_, Some(value)) => format!("along the eigenvector of {}, in units of the weights", short(*value)),
        _ => format!("random direction {}, in filter norms", i + 1),
    };
    if report.y.is_empty() {
        let file = dir.join("landscape.svg");
        let named = |path: &str| {
            let path = Path::new(path);
            let known =
                path.file_stem().filter(|name| *name != "model" && *name != "best").or(path.parent()?.file_name());
            Some(known?.to_string_lossy().into_owned())
        };
        let here = provenance.source.checkpoint.as_deref().and_then(named).unwrap_or("the checkpoint".into());
        let mut marks = vec![(0.0, here)];
        marks.extend(report.between.as_deref().and_then(named).map(|other| (1.0, other)));
        let (loss, accuracy, label) = (&report.loss, &report.accuracy, &label(0));
        let drawn = plot::Line { x: &report.x, loss, accuracy, label, marks: &marks, range };
        let svg = plot::line(&drawn, &provenance.heading())?;
        write_whole(&file, svg.as_bytes())?;
        files.push(file);
    } else {
        let labels = [label(0), label(1)];
        let drawn = [("loss", &report.loss, true, range), ("accuracy", &report.accuracy, false, None)];
        for (name, values, logarithmic, range) in drawn {
            let file = dir.join(format!("{name}.svg"));
            let grid = Grid { x: &report.x, y: &report.y, values, name, labels: &labels, logarithmic, range };
            write_whole(&file, plot::surface(&grid, &provenance.heading())?.as_bytes())?;
            files.push(file);
        }
    }
    report.files = files.iter().map(|f| f.display().to_string()).collect();
    Ok(())
}
