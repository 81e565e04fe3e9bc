//! `flat-train train`.

use super::print;
use crate::args::TrainArgs;
use crate::checkpoint;
use crate::config::TrainConfig;
use crate::device::device_name;
use crate::evaluate::evaluate;
use crate::exit::{Outcome, usage};
use crate::flatness::{self, Settings};
use crate::journal::Record;
use crate::run_dir::{RunDir, write_whole};
use crate::setup::Parts;
use crate::summary::Summary;
use crate::trainer::{Ended, Trainer};
use crate::ui::Ui;
use anyhow::Result;
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
            let config = TrainConfig::resolve(args)?;
            let parts = Parts::new(&config, true)?;
            let dir = start(args, &config)?;
            (config, parts, dir)
        }
    };
    ui.say(format!(
        "{} on {} with {}, seed {}: {}",
        *config.model,
        *config.dataset,
        if config.optimizer_name() == config.base().name() {
            config.optimizer_name()
        } else {
            format!("{} over {}", config.optimizer_name(), config.base())
        },
        config.seed,
        dir.root().display()
    ));
    let mut trainer = Trainer::new(&config, parts, &dir, ui)?;
    if trainer.run()? == Ended::Interrupted {
        return interrupted(&dir, ui);
    }
    match finish(&mut trainer, &config, &dir, ui)? {
        None => interrupted(&dir, ui),
        Some(summary) => print(json, &summary, || summary.text()),
    }
}

fn start(args: &TrainArgs, config: &TrainConfig) -> Result<RunDir> {
    let dir = match &args.out {
        Some(out) => RunDir::create(out)?,
        None => {
            let name = format!("{}-{}-{}-s{}", *config.dataset, *config.model, config.optimizer_name(), config.seed);
            RunDir::create_numbered(&Path::new("runs").join(name))?
        }
    };
    write_whole(&dir.config(), config.to_toml()?.as_bytes())?;
    Ok(dir)
}

fn resume(args: &TrainArgs, root: &Path) -> Result<(TrainConfig, RunDir)> {
    let given = toml::Table::try_from(args)?;
    if let Some(flag) = given.keys().next() {
        return Err(usage(format!(
            "--resume continues the run as it was configured and takes no --{flag}; for another run start from \
             `--config {}/config.toml` with the flag",
            root.display()
        )));
    }
    if args.config.is_some() || args.out.is_some() {
        return Err(usage("--resume takes its configuration and folder from the run: leave out --config and --out"));
    }
    let dir = RunDir::open(root)?;
    Ok((TrainConfig::read(&dir.config())?, dir))
}

fn interrupted(dir: &RunDir, ui: Ui) -> Result<Outcome> {
    ui.say(format!("stopped; continue with `flat-train train --resume {}`", dir.root().display()));
    Ok(Outcome::Interrupted)
}

/// Saves the final weights, evaluates them, measures their flatness and writes the summary; `None` where a signal
/// interrupted it.
fn finish(trainer: &mut Trainer<'_>, config: &TrainConfig, dir: &RunDir, ui: Ui) -> Result<Option<Summary>> {
    let test = trainer.test_score()?;
    let settings = Settings::of_run(config);
    let measured = trainer.with_final_weights(|t| {
        t.model().save(&dir.model(), &Default::default())?;
        let Some(train) = evaluate(t.model(), t.loss(), &t.data().train_plain, "scoring the training set", ui)? else {
            return Ok(None);
        };
        let Some(settings) = settings else { return Ok(Some((train, None))) };
        let trace = flatness::trace(t.model(), t.loss(), &t.data().flatness, &settings, ui)?;
        Ok(trace.map(|trace| (train, Some(trace))))
    })?;
    let Some((train, trace)) = measured else { return Ok(None) };
    let progress = trainer.progress().clone();
    let summary = Summary {
        dataset: config.dataset.to_string(),
        model: config.model.to_string(),
        dim: trainer.model().params().layout().len(),
        optimizer: config.optimizer_name(),
        base: config.base().to_string(),
        test_accuracy: test.accuracy,
        test_loss: test.loss,
        train_accuracy: train.accuracy,
        train_loss: train.loss,
        best_test_accuracy: progress.best_accuracy.unwrap_or(test.accuracy),
        steps: progress.step,
        evals: progress.evals,
        skipped_steps: progress.skipped,
        wall_s: trainer.wall(),
        trace,
        seed: config.seed,
        dtype: config.dtype.to_string(),
        device: device_name(trainer.device()).to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        out: dir.root().display().to_string(),
    };
    if let Some(trace) = &summary.trace {
        let record = Record {
            kind: "flatness",
            epoch: progress.step.div_ceil(trainer.steps_per_epoch()),
            step: progress.step,
            split: Some("train"),
            loss: Some(trace.loss),
            accuracy: Some(trace.accuracy),
            wall_s: Some(summary.wall_s),
            trace: Some(serde_json::to_value(trace)?),
            ..Record::default()
        };
        trainer.journal().write(&record)?;
    }
    write_whole(&dir.summary(), serde_json::to_string_pretty(&summary)?.as_bytes())?;
    Ok(Some(summary))
}
