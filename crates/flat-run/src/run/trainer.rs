//! The training loop: steps, evaluations, checkpoints and the journal, from any point of the run on.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

mod looks;
mod save;
mod steps;
mod team;
mod tell;

use self::save::Fault;
use crate::parts::objective::GivesUp;
use crate::parts::setup::{self, Data};
use crate::parts::tally::Tally;
use crate::parts::{Agents, RunParts};
use crate::ranks;
use crate::run::observer::Observer;
use crate::settings::config::RunConfig;
use crate::signal;
use crate::store::checkpoint::{self, Checkpoint, Extension, Progress};
use crate::store::fingerprint::Fingerprint;
use crate::store::journal::Journal;
use crate::store::log;
use crate::store::run_dir::RunDir;
use crate::ui::{Bar, Ui};
use crate::usage::usage;
use crate::value::number::short;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use flat_nn::{Loss, Model};
use flat_optim::{Optimizer, StepReport, Team};
use std::time::Instant;

/// A run in progress.
pub struct Trainer<'a> {
    config: &'a RunConfig,
    dir: &'a RunDir,
    ui: Ui<'a>,
    bar: Option<Bar>,
    last_redraw: Instant,
    device: Device,
    device_note: String,
    data: Data,
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    agents: Option<Agents>,
    journal: Journal,
    observer: Option<&'a mut dyn Observer>,
    /// Whether the observer asked to stop.
    stop: bool,
    /// Steps after which to stop, evaluated and saved, for a later sitting to go on.
    pause: Option<u64>,
    tally: Tally,
    progress: Progress,
    fingerprint: Fingerprint,
    /// Step of the newest checkpoint.
    last_checkpoint_step: Option<u64>,
    /// BatchNorm's statistics of the averaged weights, and the step they are of.
    averaged: Option<(u64, Vec<Tensor>)>,
    session_start: Instant,
    last: Option<StepReport>,
    /// Steps whose numbers are still on the device.
    launched: Vec<steps::Launched>,
    /// Steps between two reads.
    log_every: usize,
    /// Seconds of the run after which a step gets a line, where not every one does.
    next_line: f64,
    /// Whether losses stay on the device even where that is the CPU, so that tests see an asynchronous run.
    keep_on_device: bool,
    /// Whether the run is to stop, within a step too.
    given_up: GivesUp,
    /// The ranks of the run, and the grains of its batches.
    team: Team,
}

/// The end of the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Complete,
    /// A signal, the observer or [`Trainer::pause_after`] asked to stop; a checkpoint is written.
    Interrupted,
}

impl<'a> Trainer<'a> {
    /// A new run.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn new(config: &'a RunConfig, parts: RunParts, dir: &'a RunDir, ui: Ui<'a>) -> Result<Self> {
        let fingerprint = Fingerprint::of(config, parts.data.splits(), parts.total_steps(config))?;
        Self::begin(fingerprint, config, parts, dir, ui)
    }

    fn begin(
        fingerprint: Fingerprint,
        config: &'a RunConfig,
        parts: RunParts,
        dir: &'a RunDir,
        ui: Ui<'a>,
    ) -> Result<Self> {
        let mut trainer = Self::at(Progress::begin(), fingerprint, config, parts, dir, ui)?;
        if config.save_init && dir.is_own() {
            trainer.model.save(&dir.init(), &trainer.metadata()?)?;
        }
        // from the first line of its journal on a run has a checkpoint: one without has lost them
        trainer.save()?;
        Ok(trainer)
    }

    /// The run in `dir` from its newest good checkpoint on; from its beginning where it has written none. `extend` says that
    /// its length may be another one than the checkpoint's.
    ///
    /// # Errors
    /// Checkpoints none of which can be used; settings or data that are not the checkpoint's; a directory that cannot be
    /// written.
    pub fn resume(
        config: &'a RunConfig,
        mut parts: RunParts,
        dir: &'a RunDir,
        extend: bool,
        ui: Ui<'a>,
    ) -> Result<Self> {
        let total = parts.total_steps(config);
        let now = Fingerprint::of(config, parts.data.splits(), total)?;
        let run = dir.root().display().to_string();
        let per_epoch = setup::steps_per_epoch(config, &parts.data);
        let (model, optimizer, agents) = (&parts.model, &mut parts.optimizer, &mut parts.agents);
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
                    "--resume {run}: {} steps ({} epochs) are done already, beyond the end of a run of {total} steps",
                    found.progress.step,
                    short(found.progress.step as f64 / per_epoch.max(1) as f64)
                )));
            }
            model.set_state(&found.model).map_err(|e| match e {
                e @ flat_nn::Error::NotFinite { .. } => anyhow::Error::from(e),
                e => anyhow::Error::from(e).context("other weights than config.toml says"),
            })?;
            match agents {
                Some(agents) => agents.load(model, &found.optimizer, &found.agents)?,
                None => optimizer.load_state(&found.optimizer).context("another optimizer than config.toml says")?,
            }
            let steps = agents.as_ref().map_or(optimizer.steps(), Agents::steps);
            if steps != found.progress.step {
                bail!("its optimizer is at step {steps}, its run at {}", found.progress.step);
            }
            Ok(())
        };
        let found = checkpoint::newest(&dir.checkpoints(), &parts.device, accept, |w| {
            ui.warn(format!("{w}; going on from the one before"));
        })?;
        ranks::here().agree("whether there is a checkpoint", u64::from(found.is_some()))?;
        let Some(found) = found else {
            ui.say("no checkpoint was written yet: starting from the beginning");
            return Self::begin(now, config, parts, dir, ui);
        };
        ui.say(format!("resuming after step {} of {total}", found.progress.step));
        if !found.checked {
            ui.say("the checkpoint is of an earlier version and has no checksum: damage to it would go unnoticed");
        }
        let mut progress = found.progress;
        // all have read it before any writes
        ranks::here().agree("the step of the checkpoint", progress.step)?;
        let from = found.fingerprint.map_or(total, |then| then.steps);
        if from != total {
            progress.extended.push(Extension { step: progress.step, from, to: total });
        }
        let step = progress.step;
        let mut trainer = Self::at(progress, now, config, parts, dir, ui)?;
        trainer.saved(step);
        if let Some(missing) = trainer.journal.missing() {
            ui.warn(format!(
                "{} is {missing} bytes shorter than the checkpoint says: lines of the steps before are gone; going on without them",
                dir.metrics().display()
            ));
        }
        // what a later sitting has to know
        if from != total || trainer.journal.missing().is_some() {
            trainer.save()?;
        }
        Ok(trainer)
    }

    fn at(
        progress: Progress,
        fingerprint: Fingerprint,
        config: &'a RunConfig,
        parts: RunParts,
        dir: &'a RunDir,
        ui: Ui<'a>,
    ) -> Result<Self> {
        let RunParts { device, device_note, data, model, loss, optimizer, agents, .. } = parts;
        Ok(Self {
            team: team::of(config)?,
            next_line: progress.wall_s + config.log_interval,
            log_every: config.steps_between_reads(&device),
            fingerprint,
            journal: match dir.is_own() {
                true => {
                    let copies = log::begin(config, dir, progress.wall_s)?;
                    Journal::open(&dir.metrics(), progress.journal_bytes)?.with_copies(copies)?
                }
                false => Journal::nowhere(),
            },
            observer: None,
            stop: false,
            pause: None,
            last_checkpoint_step: None,
            averaged: None,
            config,
            dir,
            ui,
            bar: None,
            last_redraw: Instant::now(),
            device,
            device_note,
            data,
            model,
            loss,
            optimizer,
            agents,
            tally: Tally::default(),
            progress,
            session_start: Instant::now(),
            last: None,
            launched: Vec::new(),
            keep_on_device: false,
            given_up: signal::stop_requested,
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
        let per_epoch = self.steps_per_epoch();
        loop {
            let step = self.progress.step;
            let pause = !self.is_over() && self.pause.is_some_and(|after| step >= after);
            let evaluated = self.progress.evaluated.is_some_and(|e| e.step == step);
            if (self.is_over() || pause || self.config.eval_every.due(step, per_epoch)) && !evaluated {
                self.bar = None;
                if !self.evaluate_held_out()? {
                    return self.stop();
                }
            }
            let last = self.is_over();
            if self.config.flatness_every.due(step, per_epoch) && self.progress.measured != Some(step) {
                self.bar = None;
                if !self.measure_flatness()? {
                    return self.stop();
                }
            }
            let due = self.config.checkpoint_every.due(step, per_epoch);
            if (last || due) && self.last_checkpoint_step != Some(step) {
                // steps that are skipped are told one by one
                if let Some(why @ Fault::Flaw(_)) = self.save()? {
                    self.say(format!("warning: step {step} gives no checkpoint: {why}"));
                }
            }
            if last {
                return Ok(Ended::Complete);
            }
            // a pause is no request to stop, and comes to all ranks at the same step
            if pause || signal::agree(self.stop || (self.given_up)())? {
                return self.stop();
            }
            // seconds in which nothing was done are none of the run's
            self.session_start += signal::wait_while_paused();
            if !self.step()? {
                return self.stop();
            }
        }
    }

    /// Takes a step; false where it was given up because the run is to stop.
    fn step(&mut self) -> Result<bool> {
        let per_epoch = self.steps_per_epoch();
        let launched = match self.launch(self.progress.step / per_epoch) {
            Err(e) if signal::is_given_up(&e) => return Ok(false),
            launched => launched?,
        };
        self.launched.push(launched);
        let epoch_ends = self.progress.step.is_multiple_of(per_epoch) || self.is_over();
        if self.launched.len() >= self.log_every || epoch_ends {
            self.read_steps()?;
        }
        self.show();
        self.compare_ranks(team::EVERY)?;
        if epoch_ends {
            self.end_epoch((self.progress.step - 1) / per_epoch)?;
        }
        Ok(true)
    }

    /// Seconds spent on the run so far, over all its sittings.
    pub fn wall(&self) -> f64 {
        self.progress.wall_s + self.session_start.elapsed().as_secs_f64()
    }

    /// Steps an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        setup::steps_per_epoch(self.config, &self.data)
    }

    /// Whether all steps are taken, the evaluations left pay for no further one, or the target is reached.
    fn is_over(&self) -> bool {
        let spent = self.config.evals.filter(|_| self.optimizer.is_paced_by_evals()).is_some_and(|evals| {
            let rows = if self.config.full_batch { usize::MAX } else { self.config.batch_size };
            // room for the rounding of sums of costs such as 4/3
            self.progress.evals + self.optimizer.next_evals(rows) > evals as f64 + 1e-6
        });
        spent || self.has_reached_target() || self.progress.step >= self.total_steps()
    }

    fn total_steps(&self) -> u64 {
        setup::total_steps(self.config, self.steps_per_epoch())
    }

    /// Closes the log of a run that has a summary, which says whether it is a good one.
    ///
    /// # Errors
    /// The disk is full.
    pub(super) fn end_log(&mut self, good: bool) -> Result<()> {
        let seconds = self.wall();
        self.journal.end(good, seconds)
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

    /// The cost of the subspace of a rule that projects, over all sittings.
    pub fn subspace(&self) -> Option<flat_optim::Account> {
        Some(self.optimizer.subspace()?.account())
    }

    /// Where the run stands.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The ranks of the run, and the grains of its batches.
    pub fn team(&self) -> &Team {
        &self.team
    }

    /// The device, and why it is that one.
    pub fn device_note(&self) -> &str {
        &self.device_note
    }

    /// Stops after so many steps of the run, with an evaluation and a checkpoint.
    pub fn pause_after(&mut self, steps: Option<u64>) {
        self.pause = steps;
    }
}

#[cfg(test)]
mod tests;
