//! A training run within a study: the trainer of `train`, on the study's images.

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::margin::{PROBES, UnitMargin};
use crate::scratch::clear;
use crate::study::Study;
use anyhow::{Context, Result};
use flat_data::Split;
use flat_nn::Mode;
use flat_run::RunConfig;
use flat_run::measure::TraceRecord;
use flat_run::parts::{self, GroupScore, RunParts, evaluate};
use flat_run::store::{Line, Part, RunDir, checkpoints, read_journal, write_whole};
use flat_run::{Ended, Measured, Trainer, Ui, measure_along};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// A run at one of its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    /// Optimizer steps.
    pub step: u64,
    /// Gradient evaluations, in mini-batch gradients.
    pub evals: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Training accuracy in 0..1.
    pub train_accuracy: f64,
    /// Loss on the images held out.
    pub held_out_loss: f64,
    /// Accuracy on the images held out: validation while settings are chosen, test otherwise.
    pub held_out_accuracy: f64,
    /// Trace of the training loss's Hessian over the number of parameters.
    pub trbar: Option<f64>,
    /// Its 95 % interval over the probes.
    pub trbar_ci95: Option<[f64; 2]>,
    /// Largest eigenvalue of the training loss's Hessian.
    pub lambda_max: Option<f64>,
    /// Accuracies over groups of the images held out, where the data has a spurious attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupScore>,
    /// Seconds of training up to here, over all sittings; absent but from [`timed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<f64>,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fit {
    /// Along the run; the last one is its end.
    pub points: Vec<Point>,
    /// Why it ended early, where it diverged.
    pub diverged: Option<String>,
    /// The trace at its end where margins do not count, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_margin: Option<UnitMargin>,
}

impl Fit {
    /// Its end; `None` where it diverged.
    pub fn end(&self) -> Option<&Point> {
        if self.diverged.is_some() { None } else { self.points.last() }
    }

    /// Logarithm of the trace where the run first has this training loss, on its way from `start` where it has a common one.
    /// Between two measurements it is on the straight line in the logarithms of both.
    pub fn trace_at(&self, start: Option<&Point>, loss: f64) -> Option<f64> {
        let points = start.into_iter().chain(&self.points);
        let path: Vec<(f64, f64)> = points.filter_map(|p| Some((p.train_loss.ln(), p.trbar?.ln()))).collect();
        if self.end()?.train_loss == loss {
            return path.last().map(|p| p.1);
        }
        let at = loss.ln();
        path.windows(2).find(|pair| pair[0].0 > at && pair[1].0 <= at).map(|pair| {
            let part = (pair[0].0 - at) / (pair[0].0 - pair[1].0);
            pair[0].1 + part * (pair[1].1 - pair[0].1)
        })
    }
}

/// A run of these flags with a seed, on the device and the data of the command line.
pub(super) fn of_seed(flags: &Flags, seed: u64, args: &ReproduceArgs) -> Flags {
    let flags = flags.count("seed", seed).with("device", args.device.to_string());
    match &args.data_dir {
        Some(dir) => flags.with("data-dir", dir.display().to_string()),
        None => flags,
    }
}

/// Measures trace and largest eigenvalue at the end and after every so many steps, if not 0.
pub(super) fn measured(flags: &Flags, images: &Images, every: u64) -> Flags {
    flags
        .with("eval-every", every.to_string())
        .with("flatness", vec!["trace", "lambda_max"])
        .with("flatness-every", every.to_string())
        .count("flatness-examples", images.curvature as u64)
        .count("flatness-probes", PROBES)
}

/// [`timed`] without the seconds, so that the same run gives the same result.
///
/// # Errors
/// As there.
pub(super) fn train(
    flags: &Flags,
    images: &Images,
    train: &Arc<Split>,
    held_out: &Arc<Split>,
    folder: &Path,
    ui: Ui,
) -> Result<Option<Fit>> {
    let mut fit = timed(flags, images, train, held_out, folder, ui)?;
    fit.iter_mut().flat_map(|fit| &mut fit.points).for_each(|point| point.wall_s = None);
    Ok(fit)
}

/// Trains in `folder`, going on where an earlier sitting left it, on `train`, and scores on `held_out`; leaves
/// `model.safetensors` there. A folder that does not resume is cleared and made anew. `None` where a signal asked to stop.
///
/// # Errors
/// A full disk, a damaged checkpoint; candle's. A run that diverges is a result, not an error.
pub(super) fn timed(
    flags: &Flags,
    images: &Images,
    train: &Arc<Split>,
    held_out: &Arc<Split>,
    folder: &Path,
    ui: Ui,
) -> Result<Option<Fit>> {
    let config = &flags.config()?;
    let parts = |start_from_init| {
        let opened = parts::open(config)?;
        let data = parts::data_of(config, train.clone(), held_out.clone(), images.dir.clone(), &opened.device)?;
        RunParts::on(config, data, opened, start_from_init)
    };
    flat_core::file::no_link(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    // a run may be made longer and be measured later: neither is among what must be the same
    let settings = flags.without(&["steps", "epochs"]).unmeasured().config()?.to_toml()?;
    let same = std::fs::read_to_string(folder.join("config.toml")).is_ok_and(|found| found == settings);
    let begin = || -> Result<RunDir> {
        clear(folder)?;
        let dir = RunDir::create(folder)?;
        write_whole(&dir.config(), settings.as_bytes())?;
        Ok(dir)
    };
    let mut dir = if same { RunDir::open(folder)? } else { begin()? };
    let quiet = ui.of_part();
    if !checkpoints(&dir.checkpoints())?.is_empty() {
        let resumed = Trainer::resume(config, parts(false)?, &dir, true, quiet)
            .map(|trainer| finish(trainer, flags, config, &dir, quiet));
        match resumed {
            Ok(fit) => return fit,
            Err(e) if is_of_the_system(&e) => return Err(e),
            Err(e) => {
                ui.warn(format!("{} cannot be resumed, so it is cleared and made anew: {e:#}", folder.display()));
                drop(dir);
                dir = begin()?;
            }
        }
    }
    finish(Trainer::new(config, parts(true)?, &dir, quiet)?, flags, config, &dir, quiet)
}

/// Whether the system refused a call: a folder whose files cannot be read now is not one that is damaged.
fn is_of_the_system(e: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let of_system =
        |e: &std::io::Error| e.raw_os_error().is_some() && !matches!(e.kind(), NotFound | NotADirectory | IsADirectory);
    e.chain().filter_map(|cause| cause.downcast_ref()).any(of_system)
}

/// Trains to the end and looks at what came out.
fn finish(mut trainer: Trainer<'_>, flags: &Flags, config: &RunConfig, dir: &RunDir, quiet: Ui) -> Result<Option<Fit>> {
    match trainer.run() {
        Ok(Ended::Complete) => {}
        Ok(Ended::Interrupted) => return Ok(None),
        Err(e) => match e.downcast_ref::<flat_optim::Error>() {
            Some(flat_optim::Error::TooManySkips { .. }) => {
                return Ok(Some(Fit { points: points(dir)?, diverged: Some(format!("{e:#}")), unit_margin: None }));
            }
            _ => return Err(e),
        },
    }
    if trainer.save_model(&dir.model())?.is_none() {
        return Ok(None);
    }
    let Some(score) =
        evaluate(trainer.model(), trainer.loss(), &trainer.data().train_plain, Mode::Eval, "scoring", quiet)?
    else {
        return Ok(None);
    };
    let mut points = points(dir)?;
    if !score.loss.is_finite() {
        return Ok(Some(Fit { points, diverged: Some("the loss is not finite".into()), unit_margin: None }));
    }
    if let Some(end) = points.last_mut() {
        (end.train_loss, end.train_accuracy) = (score.loss, score.accuracy);
        if flags.has("flatness") && end.trbar.is_none() {
            let (model, loss) = (trainer.model(), trainer.loss());
            let Some(found) = measure_along(config, model, loss, &trainer.data().along, quiet)? else {
                return Ok(None);
            };
            end.set_flatness(&found)?;
        }
    }
    Ok(Some(Fit { points, diverged: None, unit_margin: None }))
}

/// A run from scratch as a cell of a study.
///
/// # Errors
/// As [`train`].
pub(super) fn cell(
    study: &mut Study<'_>,
    key: &str,
    flags: &Flags,
    images: &Images,
    held_out: HeldOut,
) -> Result<Option<Fit>> {
    let folder = study.folder("runs")?.join(key);
    let sizes = (images.train.len(), images.validation.len(), images.test.len());
    let held_out = images.held_out(held_out);
    study.cell_in(std::slice::from_ref(&folder), key, &(flags.kept()?, sizes), |ui| {
        train(flags, images, &images.train, held_out, &folder, ui)
    })
}

impl Point {
    /// Takes the measures over from a line of the journal.
    fn set_flatness(&mut self, measured: &Measured) -> Result<()> {
        let trace = measured.get("trace").map(|point| point.read::<TraceRecord>()).transpose()?;
        self.trbar = trace.as_ref().and_then(|trace| trace.trace_normalized);
        self.trbar_ci95 = trace.and_then(|trace| trace.trace_normalized_ci95);
        self.lambda_max = measured.get("lambda_max").and_then(|point| point.value);
        Ok(())
    }

    fn is_finite(&self) -> bool {
        [self.train_loss, self.train_accuracy, self.held_out_loss, self.held_out_accuracy].iter().all(|x| x.is_finite())
    }
}

/// What the journal says, one point a step at which the run was evaluated.
fn points(dir: &RunDir) -> Result<Vec<Point>> {
    let number = |x: Option<f64>| x.unwrap_or(f64::NAN);
    let mut points: Vec<Point> = Vec::new();
    for line in read_journal(&dir.metrics(), false)? {
        match line {
            Line::Epoch(at) if at.split == Some(Part::Test) => points.push(Point {
                step: at.step,
                evals: number(at.evals),
                train_loss: 0.0,
                train_accuracy: 0.0,
                held_out_loss: number(at.loss),
                held_out_accuracy: number(at.accuracy),
                trbar: None,
                trbar_ci95: None,
                lambda_max: None,
                groups: at.groups,
                wall_s: at.wall_s,
            }),
            Line::Flatness(at) => {
                if let Some(point) = points.last_mut().filter(|p| p.step == at.step) {
                    (point.train_loss, point.train_accuracy) = (number(at.loss), number(at.accuracy));
                    point.set_flatness(&at.measured)?;
                }
            }
            _ => {}
        }
    }
    // a run that diverges ends in numbers that JSON does not have
    points.retain(Point::is_finite);
    Ok(points)
}
