//! The training loop: steps, evaluations, checkpoints and the journal, from any point of the run on.

use crate::along;
use crate::checkpoint::{self, Checkpoint, Epoch, Evaluation, Extension, Progress};
use crate::config::TrainConfig;
use crate::evaluate::{constant_loss, evaluate};
use crate::exit::usage;
use crate::fingerprint::Fingerprint;
use crate::journal::{Journal, Record};
use crate::number::short;
use crate::objective::{BatchLoss, FullLoss, Tally};
use crate::parts::Parts;
use crate::perturbed::Perturbed;
use crate::pixels;
use crate::run_dir::RunDir;
use crate::setup::{self, Data};
use crate::signal;
use crate::statistics;
use crate::ui::{Bar, Ui};
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use flat_core::Restore;
use flat_nn::{Loss, Mode, Model, Precision};
use flat_optim::{Optimizer, PendingStep, StepReport};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time between two updates of the progress display.
const DISPLAY_INTERVAL: Duration = Duration::from_millis(100);

/// A run in progress.
pub struct Trainer<'a> {
    config: &'a TrainConfig,
    dir: &'a RunDir,
    ui: Ui,
    bar: Option<Bar>,
    shown: Instant,
    device: Device,
    device_note: String,
    data: Data,
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    journal: Journal,
    tally: Tally,
    progress: Progress,
    fingerprint: Fingerprint,
    saved: Option<u64>,
    /// BatchNorm's statistics of the averaged weights, and the step they are of.
    averaged: Option<(u64, Vec<Tensor>)>,
    sat_down: Instant,
    last: Option<StepReport>,
    /// Steps whose numbers are still on the device.
    launched: Vec<Launched>,
    /// Steps between two reads.
    log_every: usize,
    /// Whether losses are left on the device even where that is the CPU.
    leave: bool,
}

/// A step whose numbers are to be read.
struct Launched {
    pending: PendingStep,
    /// Right answers, on the device.
    correct: Option<Tensor>,
    examples: usize,
    epoch: u64,
    /// Steps and gradient evaluations done by then.
    step: u64,
    evals: f64,
    seconds: f64,
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
    /// A new run.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn new(config: &'a TrainConfig, parts: Parts, dir: &'a RunDir, ui: Ui) -> Result<Self> {
        let fingerprint = Fingerprint::of(config, parts.data.splits(), parts.total_steps(config))?;
        Self::begin(fingerprint, config, parts, dir, ui)
    }

    fn begin(fingerprint: Fingerprint, config: &'a TrainConfig, parts: Parts, dir: &'a RunDir, ui: Ui) -> Result<Self> {
        let trainer = Self::at(Progress::begin(), fingerprint, config, parts, dir, ui)?;
        if config.save_init {
            trainer.model.save(&dir.init(), &trainer.metadata()?)?;
        }
        Ok(trainer)
    }

    /// The run in `dir` from its newest good checkpoint on; from its beginning where it has written none. `extend` says that
    /// its length may be another one than the checkpoint's.
    ///
    /// # Errors
    /// Checkpoints none of which can be used; settings or data that are not the checkpoint's; a directory that cannot be
    /// written.
    pub fn resume(config: &'a TrainConfig, mut parts: Parts, dir: &'a RunDir, extend: bool, ui: Ui) -> Result<Self> {
        let total = parts.total_steps(config);
        let now = Fingerprint::of(config, parts.data.splits(), total)?;
        let run = dir.root().display().to_string();
        let (model, optimizer) = (&parts.model, &mut parts.optimizer);
        let accept = |found: &Checkpoint| {
            if let Some(then) = &found.fingerprint {
                then.check(&now, &run)?;
                if then.steps != total && !extend {
                    return Err(usage(format!(
                        "--resume {run}: its checkpoint is of a run of {} steps, config.toml says {total}: put that back; \
                         `--resume {run} --epochs N` (or --steps N) makes a run longer",
                        then.steps
                    )));
                }
            }
            if found.progress.step > total {
                return Err(usage(format!(
                    "--resume {run}: it is at step {} already, beyond the end of a run of {total} steps",
                    found.progress.step
                )));
            }
            model.set_state(&found.model).context("other weights than config.toml says")?;
            optimizer.load_state(&found.optimizer).context("another optimizer than config.toml says")?;
            if optimizer.steps() != found.progress.step {
                bail!("its optimizer is at step {}, its run at {}", optimizer.steps(), found.progress.step);
            }
            Ok(())
        };
        let found = checkpoint::newest(&dir.checkpoints(), &parts.device, accept, |w| {
            ui.warn(format!("{w}; going on from the one before"));
        })?;
        let Some(found) = found else {
            ui.say("no checkpoint was written yet: starting from the beginning");
            return Self::begin(now, config, parts, dir, ui);
        };
        ui.say(format!("resuming after step {} of {total}", found.progress.step));
        let mut progress = found.progress;
        let from = found.fingerprint.map_or(total, |then| then.steps);
        if from != total {
            progress.extended.push(Extension { step: progress.step, from, to: total });
        }
        let mut trainer = Self::at(progress, now, config, parts, dir, ui)?;
        if from != total {
            trainer.save()?;
        }
        Ok(trainer)
    }

    fn at(
        progress: Progress,
        fingerprint: Fingerprint,
        config: &'a TrainConfig,
        parts: Parts,
        dir: &'a RunDir,
        ui: Ui,
    ) -> Result<Self> {
        let Parts { device, device_note, data, model, loss, optimizer, .. } = parts;
        Ok(Self {
            log_every: config.steps_between_reads(&device),
            fingerprint,
            journal: Journal::open(&dir.metrics(), progress.journal_bytes)?,
            saved: (progress.step > 0).then_some(progress.step),
            averaged: None,
            config,
            dir,
            ui,
            bar: None,
            shown: Instant::now(),
            device,
            device_note,
            data,
            model,
            loss,
            optimizer,
            tally: Tally::default(),
            progress,
            sat_down: Instant::now(),
            last: None,
            launched: Vec::new(),
            leave: false,
        })
    }

    /// Trains to the end of the run or to a signal.
    ///
    /// # Errors
    /// Too many non-finite steps in a row, a full disk, candle's errors. The last good checkpoint stays.
    pub fn run(&mut self) -> Result<Ended> {
        let result = self.run_steps();
        self.bar = None;
        result
    }

    fn run_steps(&mut self) -> Result<Ended> {
        let (per_epoch, total) = (self.steps_per_epoch(), self.total_steps());
        loop {
            let step = self.progress.step;
            let last = step >= total;
            let evaluated = self.progress.evaluated.is_some_and(|e| e.step == step);
            if (last || self.config.eval_every.due(step, per_epoch)) && !evaluated {
                self.bar = None;
                if !self.evaluate_test()? {
                    self.save()?;
                    return Ok(Ended::Interrupted);
                }
            }
            if self.config.flatness_every.due(step, per_epoch) && self.progress.measured != Some(step) {
                self.bar = None;
                if !self.measure_flatness()? {
                    self.save()?;
                    return Ok(Ended::Interrupted);
                }
            }
            let due = self.config.checkpoint_every.due(step, per_epoch);
            if last || due {
                self.read_steps()?;
            }
            // a diverging run must not push its last good checkpoint out
            let diverging = self.last.as_ref().is_some_and(|r| r.skipped.is_some());
            if (last || due && !diverging) && self.saved != Some(step) {
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
        }
    }

    fn step(&mut self) -> Result<()> {
        let per_epoch = self.steps_per_epoch();
        let launched = self.launch(self.progress.step / per_epoch, (self.progress.step % per_epoch) as usize)?;
        self.launched.push(launched);
        let epoch_ends = self.progress.step.is_multiple_of(per_epoch) || self.progress.step == self.total_steps();
        if self.launched.len() >= self.log_every || epoch_ends {
            self.read_steps()?;
        }
        self.show();
        if epoch_ends {
            self.end_epoch((self.progress.step - 1) / per_epoch)?;
        }
        Ok(())
    }

    /// Queues a step. On another device than the CPU nothing in here waits for it, but for what a finite `--eps0` and
    /// `--optimizer sap` have to know.
    fn launch(&mut self, epoch: u64, index: usize) -> Result<Launched> {
        let begun = Instant::now();
        let statistics = self.statistics()?;
        let (pending, examples) = if self.config.full_batch {
            let mut full = FullLoss {
                model: &self.model,
                loss: self.loss,
                loader: &self.data.train,
                epoch,
                tally: &mut self.tally,
                leave: self.leave,
            };
            (self.optimizer.launch(&mut full)?, self.data.train.split().len())
        } else {
            let batch = self.data.train.batch(epoch, index)?;
            let mut objective = BatchLoss::new(&self.model, self.loss, &batch, &mut self.tally).leave(self.leave);
            (self.optimizer.launch(&mut objective)?, batch.len())
        };
        match (pending.report(), pending.taken()) {
            (Some(report), _) if report.skipped.is_some() => {
                self.set_statistics(&statistics)?;
            }
            (None, Some(taken)) => {
                for (var, before) in self.model.buffers().values().zip(&statistics) {
                    let flag = taken.broadcast_as(before.shape())?;
                    var.set(&flag.where_cond(&var.as_detached_tensor(), before)?)?;
                }
            }
            _ => {}
        }
        self.progress.step += 1;
        self.progress.evals += pending.evals();
        let (step, evals) = (self.progress.step, self.progress.evals);
        let correct = self.tally.unread();
        Ok(Launched { pending, correct, examples, epoch, step, evals, seconds: begun.elapsed().as_secs_f64() })
    }

    /// Reads the numbers of the launched steps, adds them up and writes them down. Waits for the device.
    fn read_steps(&mut self) -> Result<()> {
        let launched = std::mem::take(&mut self.launched);
        if launched.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let counts: Vec<&Tensor> = launched.iter().filter_map(|l| l.correct.as_ref()).collect();
        let counts = if counts.is_empty() { Vec::new() } else { Tensor::stack(&counts, 0)?.to_vec1::<f64>()? }; // host read: log interval
        let mut counts = counts.into_iter();
        let of_queueing: f64 = launched.iter().map(|l| l.seconds).sum();
        let n = launched.len() as f64;
        let (pending, rest): (Vec<_>, Vec<_>) = launched
            .into_iter()
            .map(|l| (l.pending, (l.correct.and_then(|_| counts.next()), l.examples, l.epoch, l.step, l.evals)))
            .unzip();
        let reports = self.optimizer.read(pending)?;
        let seconds = (of_queueing + begun.elapsed().as_secs_f64()) / n;
        for (report, (correct, examples, epoch, step, evals)) in reports.into_iter().zip(rest) {
            self.progress.epoch.seconds += seconds;
            match &report.skipped {
                None => {
                    let sums = &mut self.progress.epoch;
                    sums.loss_sum += report.loss * examples as f64;
                    sums.correct += correct.unwrap_or(0.0);
                    sums.seen += examples as u64;
                }
                Some(why) => {
                    self.progress.skipped += 1;
                    self.say(format!("warning: step {step} skipped: {why}"));
                }
            }
            if let Some(perturbed) = self.progress.perturbed.as_mut().filter(|_| report.perturbed) {
                *perturbed += 1;
            }
            if self.config.log_steps {
                self.journal.write(&Record {
                    kind: "step",
                    epoch: epoch + 1,
                    step,
                    split: Some("train"),
                    loss: Some(report.loss),
                    evals: Some(evals),
                    perturbed: self.progress.perturbed,
                    samples_per_s: Some(examples as f64 / seconds),
                    wall_s: Some(seconds),
                    skipped: report.skipped.clone(),
                    ..Record::of_step(&report)
                })?;
            }
            self.progress.last_loss = report.loss;
            self.last = Some(report);
        }
        Ok(())
    }

    /// Copies of BatchNorm's running statistics, to put back where a step is skipped.
    fn statistics(&self) -> candle_core::Result<Vec<Tensor>> {
        self.model.buffers().values().map(|var| var.as_detached_tensor().copy()).collect()
    }

    fn end_epoch(&mut self, epoch: u64) -> Result<()> {
        let sums = std::mem::take(&mut self.progress.epoch);
        let (step, evals, wall_s) = (self.progress.step, self.progress.evals, self.wall());
        self.journal.write(&Record {
            kind: "epoch",
            epoch: epoch + 1,
            step,
            split: Some("train"),
            loss: sums.loss(),
            accuracy: sums.accuracy(),
            evals: Some(evals),
            perturbed: self.progress.perturbed,
            samples_per_s: sums.samples_per_s(),
            wall_s: Some(wall_s),
            ..self.last.as_ref().map(Record::of_step).unwrap_or_default()
        })?;
        let perturbed = Perturbed::suffix(self.config, &self.progress);
        self.say(format!("epoch {}  step {step}  train {}{perturbed}", epoch + 1, describe(&sums)));
        Ok(())
    }

    /// Evaluates on the test set; false where a signal interrupted it.
    fn evaluate_test(&mut self) -> Result<bool> {
        self.read_steps()?;
        let Some(score) =
            self.with_final_weights(|t| evaluate(&t.model, t.loss, &t.data.test, Mode::Eval, "testing", t.ui))?
        else {
            return Ok(false);
        };
        let step = self.progress.step;
        let epoch = step.div_ceil(self.steps_per_epoch());
        let best = self.progress.evaluated.is_none() || score.accuracy > self.progress.best_accuracy;
        self.progress.evaluated = Some(Evaluation { step, loss: score.loss, accuracy: score.accuracy });
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
        self.say(format!(
            "epoch {epoch}  step {step}  test  loss {}  accuracy {:.4}",
            short(score.loss),
            score.accuracy
        ));
        if best {
            self.progress.best_accuracy = score.accuracy;
            let file = self.dir.checkpoints().join("best.safetensors");
            // weights that are not finite cannot be loaded again: not worth a file
            if score.loss.is_finite() {
                self.with_final_weights(|t| Ok(Some(t.model.save(&file, &t.metadata()?)?)))?;
            }
        }
        Ok(true)
    }

    /// Takes the measures of `--flatness`; false where a signal interrupted them. A measure that fails costs a warning.
    fn measure_flatness(&mut self) -> Result<bool> {
        if self.config.flatness.is_empty() {
            return Ok(true);
        }
        self.read_steps()?;
        let step = self.progress.step;
        let epoch = step.div_ceil(self.steps_per_epoch());
        // curvature drowns in rounded products
        Precision::F32.set(&self.device)?;
        let measured = self.with_final_weights(|t| along::measure(t.config, &t.model, t.loss, &t.data.along, t.ui));
        self.config.precision.set(&self.device)?;
        let record = match measured {
            Ok(None) => return Ok(false),
            Ok(Some(record)) => {
                self.say(format!("epoch {epoch}  step {step}  flatness  {}", along::describe(&record)));
                record
            }
            Err(e) => {
                let why = format!("{e:#}");
                self.ui.warn(format!("flatness could not be measured after step {step}: {why}"));
                Record { skipped: Some(why), ..Record::default() }
            }
        };
        self.progress.measured = Some(step);
        let wall_s = Some(self.wall());
        self.journal.write(&Record { kind: "flatness", epoch, step, split: Some("train"), wall_s, ..record })?;
        Ok(true)
    }

    /// Runs something on the weights that the run would hand out now: their average where `--ema` is given. `None` where a
    /// signal asked to stop.
    ///
    /// # Errors
    /// Those of `f`; the weights are put back all the same.
    pub fn with_final_weights<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<Option<T>>) -> Result<Option<T>> {
        let Some(average) = self.optimizer.ema().and_then(|ema| ema.average()) else { return f(self) };
        let (params, average) = (self.model.params().clone(), average.duplicate()?);
        let raw = params.read()?;
        let guard = Restore::replace(&params, &raw, &average)?;
        // the raw weights' statistics are not those of their average
        let statistics = self.statistics()?;
        let result = match self.set_averaged_statistics() {
            Ok(true) => f(self),
            Ok(false) => Ok(None),
            Err(e) => Err(e),
        };
        self.set_statistics(&statistics)?;
        guard.finish()?;
        result
    }

    /// Puts in BatchNorm's statistics of the averaged weights, which are in the variables: computed once a step. False where a
    /// signal asked to stop.
    fn set_averaged_statistics(&mut self) -> Result<bool> {
        let step = self.progress.step;
        if let Some((_, statistics)) = self.averaged.as_ref().filter(|(of, _)| *of == step) {
            self.set_statistics(statistics)?;
            return Ok(true);
        }
        if !statistics::refresh(&self.model, &self.data.train_plain)? {
            return Ok(false);
        }
        self.averaged = Some((step, self.statistics()?));
        Ok(true)
    }

    /// Puts copies of [`Self::statistics`] back.
    fn set_statistics(&self, statistics: &[Tensor]) -> candle_core::Result<()> {
        self.model.buffers().values().zip(statistics).try_for_each(|(var, before)| var.set(before))
    }

    fn save(&mut self) -> Result<()> {
        self.read_steps()?;
        self.progress.journal_bytes = self.journal.synced_length()?;
        self.progress.wall_s = self.wall();
        self.sat_down = Instant::now();
        let checkpoint = Checkpoint {
            model: self.model.state()?,
            optimizer: self.optimizer.state()?,
            progress: self.progress.clone(),
            fingerprint: Some(self.fingerprint.clone()),
        };
        let folder = self.dir.checkpoints();
        checkpoint.write(&checkpoint::file(&folder, self.progress.step))?;
        checkpoint::prune(&folder, self.config.keep_checkpoints)?;
        self.saved = Some(self.progress.step);
        Ok(())
    }

    fn show(&mut self) {
        let (step, total) = (self.progress.step, self.total_steps());
        let bar = self.bar.get_or_insert_with(|| self.ui.bar("training", step, total, "steps"));
        if self.shown.elapsed() >= DISPLAY_INTERVAL {
            self.shown = Instant::now();
            let (config, progress) = (self.config, &self.progress);
            bar.update(step, || describe(&progress.epoch) + &Perturbed::suffix(config, progress));
        }
    }

    fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.say(line),
            None => self.ui.say(line),
        }
    }

    /// Seconds spent on the run so far, over all its sittings.
    pub fn wall(&self) -> f64 {
        self.progress.wall_s + self.sat_down.elapsed().as_secs_f64()
    }

    /// Steps an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        setup::steps_per_epoch(self.config, &self.data)
    }

    fn total_steps(&self) -> u64 {
        setup::total_steps(self.config, self.steps_per_epoch())
    }

    /// Whether a run that ends with this training loss has diverged: the loss is not finite, or it is ten times that of a
    /// constant prediction, with the last step's loss in training mode at least twice that. The second condition leaves
    /// out short runs whose running statistics of batch normalisation lag behind.
    ///
    /// # Errors
    /// candle's.
    pub fn diverged(&self, train_loss: f64) -> Result<bool> {
        if !train_loss.is_finite() || self.progress.evaluated.is_some_and(|e| !e.loss.is_finite()) {
            return Ok(true);
        }
        let constant = constant_loss(self.loss, self.model.config().classes)?;
        let last = self.progress.last_loss;
        let last = !last.is_finite() || last > 2.0 * constant;
        Ok(self.progress.step > 0 && last && train_loss > 10.0 * constant)
    }

    /// What a weights file of the run says beside its model: the normalisation of its pixels.
    ///
    /// # Errors
    /// None in practice.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        Ok(pixels::to_metadata(&pixels::of_run(self.config)?))
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

    /// The device, and why it is that one.
    pub fn device_note(&self) -> &str {
        &self.device_note
    }

    /// The journal.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

fn describe(sums: &Epoch) -> String {
    match (sums.loss(), sums.accuracy(), sums.samples_per_s()) {
        (Some(loss), Some(accuracy), Some(speed)) => {
            format!("loss {}  accuracy {accuracy:.4}  {speed:.0} images/s", short(loss))
        }
        _ => "every step skipped".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;
    use serde_json::Value;

    const RUN: &str = "train --model resnet20 --norm batch --train-limit 40 --test-limit 8 --batch-size 8 \
                       --eval-every 0 --log-steps --trace-probes 0 --schedule constant --device cpu";

    /// What a run writes down of its steps and epochs without its times, and the model at its end.
    struct Ran {
        lines: Vec<Value>,
        state: Vec<(String, Vec<f64>)>,
        skipped: u64,
    }

    fn run(flags: &str, leave: bool) -> Result<Ran> {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
        let words = format!("flat-train {RUN} --data-dir {data} {flags}");
        let Command::Train(args) = Cli::try_parse_from(words.split_whitespace())?.command else {
            bail!("train was parsed");
        };
        let config = TrainConfig::resolve(&args)?;
        let (room, parts) = (tempfile::tempdir()?, Parts::new(&config, true)?);
        let dir = RunDir::create(&room.path().join("run"))?;
        let mut trainer = Trainer::new(&config, parts, &dir, Ui::Quiet)?;
        trainer.leave = leave;
        assert_eq!(trainer.run()?, Ended::Complete);
        let lines = std::fs::read_to_string(dir.metrics())?;
        let lines = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line)?;
            if let Some(fields) = line.as_object_mut() {
                fields.remove("samples_per_s");
                fields.remove("wall_s");
            }
            Ok(line)
        });
        let lines = lines.collect::<Result<_>>()?;
        let state = trainer
            .model
            .state()?
            .into_iter()
            .map(|(name, t)| Ok((name, t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?)));
        Ok(Ran { lines, state: state.collect::<Result<_>>()?, skipped: trainer.progress().skipped })
    }

    #[test]
    fn reading_later_changes_nothing_that_a_run_writes() -> Result<()> {
        for optimizer in ["sgd --steps 7", "sam --rho 0.1 --steps 7 --checkpoint-every 4", "sgd --full-batch --steps 2"]
        {
            let now = run(&format!("--optimizer {optimizer}"), false)?;
            for every in [3, 50] {
                let later = run(&format!("--optimizer {optimizer} --log-every {every}"), false)?;
                assert_eq!(now.lines, later.lines, "{optimizer}, every {every}");
                assert!(now.state == later.state, "{optimizer}, every {every}: the weights differ");
            }
        }
        Ok(())
    }

    #[test]
    fn a_run_whose_numbers_stay_on_the_device_is_the_same_run() -> Result<()> {
        for optimizer in
            ["sgd", "sam --rho 0.1", "rsp --rho 0.5", "sap --micro-batch 8", "nso", "adamw", "sgd --full-batch"]
        {
            let now = run(&format!("--optimizer {optimizer} --lr 0.01 --steps 7"), false)?;
            let there = run(&format!("--optimizer {optimizer} --lr 0.01 --steps 7 --log-every 5"), true)?;
            assert_eq!(now.lines.len(), there.lines.len(), "{optimizer}");
            for (a, b) in now.lines.iter().zip(&there.lines) {
                for key in ["kind", "epoch", "step", "evals", "lr", "rho"] {
                    assert_eq!(a[key], b[key], "{optimizer}: {a} {b}");
                }
                for key in ["loss", "grad_norm"] {
                    let (Some(x), Some(y)) = (a[key].as_f64(), b[key].as_f64()) else { continue };
                    // a norm's last bit in f64 moves f32 weights by an ulp at most; seven steps amplify it
                    assert!((x - y).abs() <= 1e-3 * x.abs(), "{optimizer}: {a} {b}");
                }
                assert_eq!(a.get("loss").is_some(), b.get("loss").is_some(), "{optimizer}: {a} {b}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_skipped_step_leaves_running_statistics_alone_wherever_it_is_found_out() -> Result<()> {
        // the first step makes the weights so large that every later loss is not finite
        let flags = "--optimizer sgd --momentum 0 --lr 1e30 --steps 5";
        let (now, there) = (run(flags, false)?, run(&format!("{flags} --log-every 5"), true)?);
        assert!(now.skipped > 0, "the test is about skipped steps");
        assert_eq!(now.skipped, there.skipped);
        for ((name, a), (_, b)) in now.state.iter().zip(&there.state) {
            assert!(a.iter().all(|x| x.is_finite()) || !name.contains("running"), "{name}");
            assert!(a == b, "{name}");
        }
        Ok(())
    }
}
