//! The end of a run: final weights, scores, the trace of the Hessian, and the summary.

use super::perturbed::Perturbed;
use super::summary::{RunState, SubspaceSpent, Summary, Target};
use super::trainer::Trainer;
use crate::device::DeviceChoice;
use crate::measure::document::{Document, SCHEMA};
use crate::measure::trace::{TraceSettings, trace};
use crate::parts::evaluate::{Score, evaluate};
use crate::settings::choice::LogName;
use crate::settings::config::RunConfig;
use crate::settings::recipe::Recipe;
use crate::store::checkpoint::{Evaluation, Progress};
use crate::store::file::write_whole;
use crate::store::line::{Flatness, Line, Point};
use crate::store::log;
use crate::store::run_dir::RunDir;
use crate::ui::Ui;
use anyhow::{Context, Result};
use flat_nn::{Bf16, Mode, Precision};

/// Saves the final weights, scores them, writes the summary, measures their flatness, and closes the log; `None` where a
/// signal interrupted it.
pub(super) fn finish(trainer: &mut Trainer<'_>, config: &RunConfig, dir: &RunDir, ui: Ui) -> Result<Option<Summary>> {
    let Some(summary) = summed_up(trainer, config, dir, ui)? else { return Ok(None) };
    if config.log.contains(&LogName::Csv) && dir.is_own() {
        write_whole(&dir.summary_csv(), &log::of_summary(&summary)?)?;
    }
    trainer.end_log(summary.state == RunState::Finished)?;
    Ok(Some(summary))
}

fn summed_up(trainer: &mut Trainer<'_>, config: &RunConfig, dir: &RunDir, ui: Ui) -> Result<Option<Summary>> {
    if trainer.save_model(&dir.model())? == Some(false) {
        ui.warn("the last weights are not finite: no model.safetensors is written");
    }
    let scored = trainer.with_final_weights(|t| {
        evaluate(t.model(), t.loss(), &t.data().train_plain, Mode::Eval, "scoring the training set", ui)
    })?;
    let Some(train) = scored else { return Ok(None) };
    let Some(held_out) = held_out(trainer, config, ui)? else { return Ok(None) };
    let mut summary = summarise(trainer, config, dir, train, held_out)?;
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
    trainer.log(&Line::Flatness(line))?;
    summary.trace = Some(trace);
    write_summary(&summary, dir)?;
    Ok(Some(summary))
}

/// Scores on the images that were not trained on.
struct HeldOut {
    validation: Option<Evaluation>,
    test: Option<Evaluation>,
}

/// The last evaluation of the run and, where that was on images of the training set, the one look at the test set; `None`
/// where a signal interrupted it.
fn held_out(trainer: &mut Trainer<'_>, config: &RunConfig, ui: Ui) -> Result<Option<HeldOut>> {
    let last = trainer.progress().evaluated.context("the run was not evaluated")?;
    if trainer.data().validation.is_none() {
        return Ok(Some(HeldOut { validation: None, test: Some(last) }));
    }
    if config.no_test {
        return Ok(Some(HeldOut { validation: Some(last), test: None }));
    }
    let score =
        trainer.with_final_weights(|t| evaluate(t.model(), t.loss(), &t.data().test, Mode::Eval, "testing", ui))?;
    Ok(score.map(|Score { loss, accuracy, groups, .. }| HeldOut {
        validation: Some(last),
        test: Some(Evaluation { step: last.step, loss, accuracy, groups }),
    }))
}

fn summarise(
    trainer: &Trainer<'_>,
    config: &RunConfig,
    dir: &RunDir,
    train: Score,
    HeldOut { validation, test }: HeldOut,
) -> Result<Summary> {
    let progress = trainer.progress();
    Ok(Summary {
        schema: SCHEMA,
        state: if trainer.diverged(train.loss)? { RunState::Diverged } else { RunState::Finished },
        dataset: config.dataset.to_string(),
        model: config.model.to_string(),
        dim: trainer.model().params().layout().len(),
        recipe: config.recipe.map(Recipe::name),
        target: config.target_accuracy.map(|accuracy| Target {
            accuracy,
            on: if validation.is_some() { "validation" } else { "test" },
            reached: trainer.has_reached_target(),
        }),
        optimizer: config.optimizer_name().to_string(),
        base: config.base.to_string(),
        test_accuracy: test.map(|e| e.accuracy),
        groups: test.and_then(|e| e.groups),
        test_loss: test.map(|e| e.loss),
        val_accuracy: validation.map(|e| e.accuracy),
        val_loss: validation.map(|e| e.loss),
        train_accuracy: train.accuracy,
        train_loss: train.loss,
        best_test_accuracy: validation.is_none().then_some(progress.best_accuracy),
        best_val_accuracy: validation.is_some().then_some(progress.best_accuracy),
        steps: progress.step,
        evals: progress.evals,
        skipped_steps: progress.skipped,
        perturbed_steps: progress.perturbed,
        subspace: trainer.subspace().map(SubspaceSpent::of),
        extended: progress.extended.clone(),
        warnings: warnings(config, progress),
        train_s: progress.train_s,
        wall_s: trainer.wall(),
        grains: config.grains.unwrap_or(1),
        ranks: trainer.team().ranks().size(),
        exchange_s: (!trainer.team().ranks().is_alone()).then(|| trainer.team().ranks().spent().as_secs_f64()),
        trace: None,
        seed: config.seed,
        dtype: config.dtype.to_string(),
        precision: config.precision.to_string(),
        bf16: config.precision.bf16().filter(|_| trainer.device().is_cpu()).map(Bf16::name),
        device: DeviceChoice::of(trainer.device()).to_string(),
        device_note: trainer.device_note().to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        out: dir.root().display().to_string(),
    })
}

/// What to know when reading the numbers of a run.
fn warnings(config: &RunConfig, progress: &Progress) -> Vec<String> {
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
    if !dir.is_own() {
        return Ok(());
    }
    write_whole(&dir.summary(), serde_json::to_string_pretty(summary)?.as_bytes())
}
