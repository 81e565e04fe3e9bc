//! The training loop: steps, evaluations, checkpoints and the journal, from any point of the run on.

use crate::checkpoint::{self, Checkpoint, Progress};
use crate::config::TrainConfig;
use crate::evaluate::{Score, evaluate};
use crate::journal::{Journal, Record};
use crate::objective::{BatchLoss, FullLoss, Tally};
use crate::run_dir::RunDir;
use crate::setup::{self, Data, Parts};
use crate::signal;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use flat_nn::{Loss, Model};
use flat_optim::{Optimizer, StepReport};
use std::time::{Duration, Instant};

/// Time between two updates of the progress display.
const DISPLAY_INTERVAL: Duration = Duration::from_millis(100);

/// A run in progress.
pub struct Trainer<'a> {
    config: &'a TrainConfig,
    dir: &'a RunDir,
    ui: Ui,
    device: Device,
    data: Data,
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    journal: Journal,
    tally: Tally,
    progress: Progress,
    saved: Option<u64>,
    resumed_at: Instant,
    epoch_seconds: f64,
    last: Option<StepReport>,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Complete,
    /// A signal asked to stop; a checkpoint is written.
    Interrupted,
}

impl<'a> Trainer<'a> {
    /// Sets the run up, from its newest checkpoint where there is one.
    ///
    /// # Errors
    /// A checkpoint of another model, a directory that cannot be written.
    pub fn new(config: &'a TrainConfig, parts: Parts, dir: &'a RunDir, ui: Ui) -> Result<Self> {
        let Parts { device, data, model, loss, mut optimizer } = parts;
        let (found, damaged) = checkpoint::newest(&dir.checkpoints(), &device)?;
        for e in damaged {
            ui.say(format!("warning: {e:#}; trying the one before"));
        }
        let progress = match found {
            Some(found) => {
                model.set_state(&found.model).context("the checkpoint does not fit the model of config.toml")?;
                optimizer
                    .load_state(&found.optimizer)
                    .context("the checkpoint does not fit the optimizer of config.toml")?;
                ui.say(format!("resuming {} after step {}", dir.root().display(), found.progress.step));
                found.progress
            }
            None => {
                if config.save_init {
                    model.save(&dir.init(), &Default::default())?;
                }
                Progress::default()
            }
        };
        let journal = Journal::open(&dir.metrics(), progress.journal_bytes)?;
        Ok(Self {
            config,
            dir,
            ui,
            device,
            data,
            loss,
            model,
            optimizer,
            journal,
            tally: Tally::default(),
            saved: (progress.step > 0).then_some(progress.step),
            progress,
            resumed_at: Instant::now(),
            epoch_seconds: 0.0,
            last: None,
        })
    }

    /// Trains to the end of the run or to a signal.
    ///
    /// # Errors
    /// Too many non-finite steps in a row, a full disk, candle's errors. The last checkpoint stays good.
    pub fn run(&mut self) -> Result<Ended> {
        let per_epoch = self.steps_per_epoch();
        let total = self.total_steps();
        let mut bar = self.ui.bar("training", total, "steps");
        let mut shown = Instant::now();
        loop {
            let step = self.progress.step;
            let last = step == total;
            if (last || self.config.eval_every.due(step, per_epoch))
                && self.progress.evaluated.is_none_or(|(s, _)| s != step)
            {
                drop(bar);
                if !self.evaluate_test()? {
                    self.save()?;
                    return Ok(Ended::Interrupted);
                }
                bar = self.ui.bar("training", total, "steps");
            }
            if (last || self.config.checkpoint_every.due(step, per_epoch)) && self.saved != Some(step) {
                self.save()?;
            }
            if last {
                return Ok(Ended::Complete);
            }
            if signal::stop_requested() {
                self.save()?;
                return Ok(Ended::Interrupted);
            }
            self.step()?;
            if shown.elapsed() >= DISPLAY_INTERVAL || self.progress.step == total {
                shown = Instant::now();
                bar.update(self.progress.step, || self.status_line());
            }
        }
    }

    fn step(&mut self) -> Result<()> {
        let begun = Instant::now();
        let per_epoch = self.steps_per_epoch();
        let epoch = self.progress.step / per_epoch;
        let index = (self.progress.step % per_epoch) as usize;
        let statistics = self.statistics()?;
        let (report, examples) = if self.config.full_batch {
            let mut full = FullLoss {
                model: &self.model,
                loss: self.loss,
                loader: &self.data.train,
                epoch,
                tally: &mut self.tally,
            };
            (self.optimizer.step(&mut full)?, self.data.train.split().len())
        } else {
            let batch = self.data.train.batch(epoch, index)?;
            let mut objective =
                BatchLoss { model: &self.model, loss: self.loss, batch: &batch, tally: &mut self.tally };
            (self.optimizer.step(&mut objective)?, batch.len())
        };
        let seconds = begun.elapsed().as_secs_f64();
        self.epoch_seconds += seconds;
        self.progress.step += 1;
        self.progress.evals += report.evals;
        if let Some(why) = &report.skipped {
            self.progress.skipped += 1;
            for (var, before) in self.model.buffers().values().zip(&statistics) {
                var.set(before)?;
            }
            self.ui.say(format!("warning: step {} skipped: {why}", self.progress.step));
        } else {
            self.progress.loss_sum += report.loss * examples as f64;
            self.progress.seen += examples as u64;
        }
        self.progress.correct += self.tally.take()?;
        if self.config.log_steps {
            self.journal.write(&Record {
                kind: "step",
                epoch: epoch + 1,
                step: self.progress.step,
                split: Some("train"),
                loss: Some(report.loss).filter(|l| l.is_finite()),
                lr: Some(report.lr),
                rho: Some(report.rho).filter(|r| *r > 0.0),
                grad_norm: Some(report.grad_norm).filter(|g| g.is_finite()),
                evals: Some(self.progress.evals),
                samples_per_s: Some(examples as f64 / seconds),
                wall_s: Some(seconds),
                skipped: report.skipped.clone(),
                ..Record::default()
            })?;
        }
        self.last = Some(report);
        if self.progress.step.is_multiple_of(per_epoch) || self.progress.step == self.total_steps() {
            self.end_epoch(epoch)?;
        }
        Ok(())
    }

    /// Copies of BatchNorm's running statistics, to put back where a step is skipped.
    fn statistics(&self) -> candle_core::Result<Vec<Tensor>> {
        self.model.buffers().values().map(|var| var.as_detached_tensor().copy()).collect()
    }

    fn end_epoch(&mut self, epoch: u64) -> Result<()> {
        let p = &self.progress;
        let seen = p.seen.max(1) as f64;
        let (loss, accuracy) = (p.loss_sum / seen, p.correct / seen);
        let report = self.last.as_ref();
        let wall_s = self.wall();
        self.journal.write(&Record {
            kind: "epoch",
            epoch: epoch + 1,
            step: p.step,
            split: Some("train"),
            loss: Some(loss),
            accuracy: Some(accuracy),
            lr: report.map(|r| r.lr),
            rho: report.map(|r| r.rho).filter(|r| *r > 0.0),
            grad_norm: report.map(|r| r.grad_norm).filter(|g| g.is_finite()),
            evals: Some(p.evals),
            samples_per_s: Some(seen / self.epoch_seconds.max(1e-9)),
            wall_s: Some(wall_s),
            ..Record::default()
        })?;
        self.ui.say(format!(
            "epoch {}  step {}  train loss {loss:.4}  train accuracy {accuracy:.4}  {:.0} images/s",
            epoch + 1,
            p.step,
            seen / self.epoch_seconds.max(1e-9)
        ));
        (self.progress.loss_sum, self.progress.correct, self.progress.seen) = (0.0, 0.0, 0);
        self.epoch_seconds = 0.0;
        Ok(())
    }

    /// Evaluates on the test set; false where a signal interrupted it.
    fn evaluate_test(&mut self) -> Result<bool> {
        let Some(score) = self.with_final_weights(|t| evaluate(&t.model, t.loss, &t.data.test, "testing", t.ui))?
        else {
            return Ok(false);
        };
        let step = self.progress.step;
        let epoch = step.div_ceil(self.steps_per_epoch());
        self.progress.evaluated = Some((step, score));
        let wall_s = self.wall();
        self.journal.write(&Record {
            kind: "epoch",
            epoch,
            step,
            split: Some("test"),
            loss: Some(score.loss),
            accuracy: Some(score.accuracy),
            evals: Some(self.progress.evals),
            wall_s: Some(wall_s),
            ..Record::default()
        })?;
        self.ui.say(format!(
            "epoch {epoch}  step {step}  test loss {:.4}  test accuracy {:.4}",
            score.loss, score.accuracy
        ));
        if self.progress.best_accuracy.is_none_or(|best| score.accuracy > best) {
            self.progress.best_accuracy = Some(score.accuracy);
            let best = self.dir.checkpoints().join("best.safetensors");
            self.with_final_weights(|t| Ok(t.model.save(&best, &Default::default())?))?;
        }
        Ok(true)
    }

    /// Runs something on the weights that the run would hand out now: their average where `--ema` is given.
    ///
    /// # Errors
    /// Those of `f`; the weights are put back all the same.
    pub fn with_final_weights<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let Some(average) = self.optimizer.ema().and_then(|ema| ema.average()) else { return f(self) };
        let (params, average) = (self.model.params().clone(), average.duplicate()?);
        let raw = params.read()?;
        params.write(&average)?;
        let result = f(self);
        params.write(&raw)?;
        result
    }

    fn save(&mut self) -> Result<()> {
        self.progress.journal_bytes = self.journal.length()?;
        self.progress.wall_s = self.wall();
        self.resumed_at = Instant::now();
        let checkpoint = Checkpoint {
            model: self.model.state()?,
            optimizer: self.optimizer.state()?,
            progress: self.progress.clone(),
        };
        let folder = self.dir.checkpoints();
        checkpoint.write(&checkpoint::file(&folder, self.progress.step))?;
        checkpoint::prune(&folder, self.config.keep_checkpoints)?;
        self.saved = Some(self.progress.step);
        Ok(())
    }

    /// Seconds spent on the run so far, over all its sittings.
    pub fn wall(&self) -> f64 {
        self.progress.wall_s + self.resumed_at.elapsed().as_secs_f64()
    }

    fn status_line(&self) -> String {
        let per_epoch = self.steps_per_epoch();
        let seen = self.progress.seen.max(1) as f64;
        format!(
            "epoch {} loss {:.4} accuracy {:.4} {:.0} images/s",
            self.progress.step / per_epoch + 1,
            self.progress.loss_sum / seen,
            self.progress.correct / seen,
            seen / self.epoch_seconds.max(1e-9)
        )
    }

    /// Steps an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        setup::steps_per_epoch(self.config, &self.data)
    }

    fn total_steps(&self) -> u64 {
        setup::total_steps(self.config, self.steps_per_epoch())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The data.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Where the run stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The journal.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The last evaluation on the test set.
    ///
    /// # Errors
    /// The run is not complete.
    pub fn test_score(&self) -> Result<Score> {
        match self.progress.evaluated {
            Some((_, score)) => Ok(score),
            None => bail!("the run was not evaluated"),
        }
    }
}
