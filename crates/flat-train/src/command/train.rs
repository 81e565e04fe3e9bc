//! `flat-train train`.

use super::print;
use crate::args::TrainArgs;
use crate::exit::Outcome;
use anyhow::{Context, Result};
use flat_core::setting::{Settings as _, Text};
use flat_nn::{Mode, Precision};
use flat_run::device::DeviceChoice;
use flat_run::measure::document::Document;
use flat_run::measure::trace::{TraceSettings, trace};
use flat_run::parts::Parts;
use flat_run::parts::evaluate::{Score, evaluate};
use flat_run::parts::setup;
use flat_run::run::perturbed::Perturbed;
use flat_run::run::summary::{RunState, Summary};
use flat_run::run::trainer::{Ended, Trainer};
use flat_run::settings::config::TrainConfig;
use flat_run::settings::resolve::flag as flag_error;
use flat_run::store::checkpoint::{self, Progress};
use flat_run::store::file::write_whole;
use flat_run::store::line::{Flatness, Line, Point};
use flat_run::store::run_dir::RunDir;
use flat_run::ui::Ui;
use flat_run::usage::usage;
use flat_run::value::number::short;
use std::path::Path;

/// Trains, or continues a run, to its summary.
pub(super) fn run(args: &TrainArgs, ui: Ui, json: bool) -> Result<Outcome> {
    // everything is loaded and built before the run directory is made: a run that cannot start leaves nothing behind
    let (config, parts, dir) = match &args.resume {
        Some(root) => {
            let (config, dir) = resume(args, root)?;
            let parts = Parts::new(&config, checkpoint::list(&dir.checkpoints())?.is_empty())?;
            (config, parts, dir)
        }
        None => {
            let mut config = TrainConfig::resolve(&args.given.0, args.config.as_deref())?;
            let parts = Parts::new(&config, true)?;
            // where the run computes and reads is part of it: it must not change when it is resumed elsewhere
            config.device = Text(DeviceChoice::of(&parts.device));
            config.data_dir = Some(std::path::absolute(&parts.data.dir)?);
            let dir = start(args, &config)?;
            (config, parts, dir)
        }
    };
    ui.say(format!("device: {}", parts.device_note));
    parts.init_note.iter().for_each(|note| ui.say(format!("--init: {note}")));
    ui.say(format!(
        "{} on {} with {}, seed {}: {}",
        config.model,
        *config.dataset,
        if config.optimizer_name() == config.base.name {
            config.optimizer_name().to_string()
        } else {
            format!("{} over {}", config.optimizer, config.base)
        },
        config.seed,
        dir.root().display()
    ));
    let mut trainer = match args.resume {
        Some(_) => resumed(args, &config, parts, &dir, ui)?,
        None => Trainer::new(&config, parts, &dir, ui)?,
    };
    if let (None, Some(sigma), "rsp") = (config.option("rho"), config.number("sigma"), config.optimizer.name) {
        let dim = trainer.model().params().layout().len();
        ui.say(format!("rho {} = sigma {sigma} sqrt({dim})", short(sigma * (dim as f64).sqrt())));
    }
    if trainer.run()? == Ended::Interrupted {
        return interrupted(&dir, ui);
    }
    match finish(&mut trainer, &config, &dir, ui)? {
        None => interrupted(&dir, ui),
        Some(summary) => {
            let printed = print(json, &summary, || summary.text())?;
            Ok(if summary.state == RunState::Diverged { Outcome::Diverged } else { printed })
        }
    }
}

fn start(args: &TrainArgs, config: &TrainConfig) -> Result<RunDir> {
    let dir = match &args.out {
        Some(out) => RunDir::create(out)?,
        None => {
            let name = format!("{}-{}-{}-s{}", *config.dataset, config.model, config.optimizer_name(), config.seed);
            RunDir::create_numbered(&Path::new("runs").join(name))?
        }
    };
    write_whole(&dir.config(), config.to_toml()?.as_bytes())?;
    Ok(dir)
}

fn resume(args: &TrainArgs, root: &Path) -> Result<(TrainConfig, RunDir)> {
    if let Some((flag, _)) = args.given.0.iter().find(|(flag, _)| !["epochs", "steps"].contains(flag)) {
        return Err(usage(format!(
            "--resume continues the run as it was configured and takes no --{flag}, only --epochs or --steps to make it \
             longer; for another run start from \
             `--config {}/config.toml` with the flag",
            root.display()
        )));
    }
    if args.config.is_some() || args.out.is_some() {
        return Err(usage("--resume takes its configuration and folder from the run: leave out --config and --out"));
    }
    let dir = RunDir::open(root)?;
    let mut config = TrainConfig::read(&dir.config())?;
    if longer(args) {
        (config.epochs, config.steps) = (None, None);
        for (name, value) in args.given.0.iter() {
            config.set(name, value).map_err(flag_error)?;
        }
        config.check()?;
    }
    Ok((config, dir))
}

/// Whether flags make the run that goes on longer.
fn longer(args: &TrainArgs) -> bool {
    args.given.0.iter().next().is_some()
}

/// The trainer of a run that goes on; where flags make it longer, says what becomes of the schedule and writes it down.
fn resumed<'a>(
    args: &TrainArgs,
    config: &'a TrainConfig,
    parts: Parts,
    dir: &'a RunDir,
    ui: Ui<'a>,
) -> Result<Trainer<'a>> {
    let extend = longer(args);
    let per_epoch = setup::steps_per_epoch(config, &parts.data);
    let trainer = Trainer::resume(config, parts, dir, extend, ui)?;
    if !extend {
        return Ok(trainer);
    }
    let before = TrainConfig::read(&dir.config())?;
    let (step, from, to) =
        (trainer.progress().step, setup::total_steps(&before, per_epoch), setup::total_steps(config, per_epoch));
    if from != to {
        let rate = |config: &TrainConfig| -> Result<f64> {
            Ok(setup::schedules(config, per_epoch)?.0.build(config.number("lr").unwrap_or_default())?.at(step))
        };
        ui.say(format!(
            "{from} steps become {to}: from step {step} on the {} schedule is that of a run of {to} steps, and the learning \
             rate goes on at {} where it would have been {}",
            config.schedule,
            short(rate(config)?),
            short(rate(&before)?)
        ));
        if dir.summary().exists() {
            std::fs::rename(dir.summary(), dir.shorter_summary(from))?;
        }
        write_whole(&dir.config(), config.to_toml()?.as_bytes())?;
    }
    Ok(trainer)
}

fn interrupted(dir: &RunDir, ui: Ui) -> Result<Outcome> {
    ui.say(format!("stopped; continue with `flat-train train --resume {}`", dir.root().display()));
    Ok(Outcome::Interrupted)
}

/// Saves the final weights, scores them, writes the summary, and measures their flatness; `None` where a signal
/// interrupted it.
fn finish(trainer: &mut Trainer<'_>, config: &TrainConfig, dir: &RunDir, ui: Ui) -> Result<Option<Summary>> {
    let scored = trainer.with_final_weights(|t| {
        t.model().save(&dir.model(), &t.metadata()?)?;
        evaluate(t.model(), t.loss(), &t.data().train_plain, Mode::Eval, "scoring the training set", ui)
    })?;
    let Some(train) = scored else { return Ok(None) };
    let mut summary = summarise(trainer, config, dir, train)?;
    summary.warnings.iter().for_each(|warning| ui.warn(warning));
    write_summary(&summary, dir)?;
    if summary.state == RunState::Diverged {
        ui.warn(format!("the run diverged: lower --lr or --rho, or use --clip (see {})", dir.summary().display()));
        return Ok(Some(summary));
    }
    let Some(settings) = TraceSettings::of_run(config) else { return Ok(Some(summary)) };
    Precision::F32.set(trainer.device())?;
    let trace =
        trainer.with_final_weights(|t| trace(t.model(), t.loss(), &t.data().flatness, &settings, ui)).with_context(
            || format!("the Hessian trace could not be measured; the rest is in {}", dir.summary().display()),
        )?;
    let Some(trace) = trace else { return Ok(None) };
    summary.wall_s = trainer.wall();
    let epoch = summary.steps.div_ceil(trainer.steps_per_epoch());
    let trace = Document { measure: "trace", taken: trace };
    let measured = [("trace".to_string(), Point::new(&trace)?)].into();
    let line = Flatness::new(epoch, summary.steps, summary.wall_s, measured, None);
    trainer.journal().write(&Line::Flatness(line))?;
    summary.trace = Some(trace);
    write_summary(&summary, dir)?;
    Ok(Some(summary))
}

fn summarise(trainer: &Trainer<'_>, config: &TrainConfig, dir: &RunDir, train: Score) -> Result<Summary> {
    let progress = trainer.progress();
    let test = progress.evaluated.context("the run was not evaluated")?;
    Ok(Summary {
        state: if trainer.diverged(train.loss)? { RunState::Diverged } else { RunState::Finished },
        dataset: config.dataset.to_string(),
        model: config.model.to_string(),
        dim: trainer.model().params().layout().len(),
        optimizer: config.optimizer_name().to_string(),
        base: config.base.to_string(),
        test_accuracy: test.accuracy,
        test_loss: test.loss,
        train_accuracy: train.accuracy,
        train_loss: train.loss,
        best_test_accuracy: progress.best_accuracy,
        steps: progress.step,
        evals: progress.evals,
        skipped_steps: progress.skipped,
        perturbed_steps: progress.perturbed,
        extended: progress.extended.clone(),
        warnings: warnings(config, progress),
        wall_s: trainer.wall(),
        trace: None,
        seed: config.seed,
        dtype: config.dtype.to_string(),
        precision: config.precision.to_string(),
        device: DeviceChoice::of(trainer.device()).to_string(),
        device_note: trainer.device_note().to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        out: dir.root().display().to_string(),
    })
}

/// What to know when reading the numbers of a run.
fn warnings(config: &TrainConfig, progress: &Progress) -> Vec<String> {
    let longer = progress.extended.iter().map(|e| {
        format!(
            "made longer after step {}, from {} to {} steps: up to there the schedules are those of the shorter run, so that \
             config.toml alone does not repeat it",
            e.step, e.from, e.to
        )
    });
    longer.chain(Perturbed::of(config, progress).and_then(Perturbed::warning)).collect()
}

fn write_summary(summary: &Summary, dir: &RunDir) -> Result<()> {
    write_whole(&dir.summary(), serde_json::to_string_pretty(summary)?.as_bytes())
}
