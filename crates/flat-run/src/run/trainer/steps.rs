//! Steps of a run: queued on the device without waiting, their numbers read for many steps at once.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use super::Trainer;
use crate::parts::Kept;
use crate::parts::objective::{BatchLoss, FullLoss};
use crate::parts::others::{OtherBatches, place};
use crate::parts::tally::Tally;
use crate::run::perturbed::Perturbed;
use crate::store::checkpoint::Epoch;
use crate::store::line::{Line, Part, Progress};
use crate::value::number::short;
use anyhow::Result;
use candle_core::Tensor;
use flat_optim::{Account, PendingStep, Ranked};
use std::time::Instant;

/// A step whose numbers are to be read.
pub(super) struct Launched {
    pending: PendingStep,
    /// Right answers, on the device.
    correct: Option<Tensor>,
    examples: usize,
    epoch: u64,
    /// Steps and gradient evaluations done by then.
    step: u64,
    evals: f64,
    account: Option<Account>,
    seconds: f64,
}

impl Trainer<'_> {
    /// Queues a step. On another device than the CPU nothing in here waits for it, but for what a finite `--eps0` and
    /// `--optimizer sap` have to know.
    ///
    /// # Errors
    /// [`GivenUp`](crate::signal::GivenUp) where the run was asked to stop within the step. The run is where it was before it, as after any error.
    pub(super) fn launch(&mut self, epoch: u64) -> Result<Launched> {
        let begun = Instant::now();
        let kept = Kept::of(&self.model)?;
        let launched = if let Some(agents) = &mut self.agents {
            let (pass, index) = place(&self.data.train, self.progress.step);
            let batch = self.data.train.batch(pass, index)?;
            agents.step((&self.model, self.loss), &batch, &mut self.tally, self.keep_on_device)
        } else if self.config.full_batch {
            let mut full = FullLoss {
                model: &self.model,
                loss: self.loss,
                loader: &self.data.train,
                epoch,
                tally: &mut self.tally,
                keep_on_device: self.keep_on_device,
                given_up: self.given_up,
                team: &self.team,
            };
            self.optimizer.launch(&mut full).map(|pending| (pending, self.data.train.split().len()))
        } else {
            let (train, less_biased) = (&self.data.train, self.data.less_biased.as_ref());
            let position = self.progress.step * self.data.batches_per_step;
            let (pass, index) = place(train, position);
            let batch = train.batch(pass, index)?;
            let mut objective = BatchLoss::new(&self.model, self.loss, &batch, &mut self.tally)
                .keep_on_device(self.keep_on_device)
                .with_others(OtherBatches { train, less_biased, position })
                .given_up_where(self.given_up);
            let launched = self.optimizer.launch(&mut Ranked::new(&mut objective, &self.team));
            launched.map(|pending| (pending, objective.seen()))
        };
        let (pending, examples) = match launched {
            Ok(launched) => launched,
            Err(e) => {
                kept.put_back()?;
                self.tally = Tally::default();
                return Err(e.into());
            }
        };
        match (pending.report(), pending.taken()) {
            (Some(report), _) if report.skipped.is_some() => {
                kept.put_back()?;
            }
            (None, Some(taken)) => kept.put_back_unless(taken)?,
            _ => {}
        }
        self.progress.step += 1;
        flat_comm::watchdog::note_step(self.progress.step);
        self.progress.evals += pending.evals();
        let (step, evals) = (self.progress.step, self.progress.evals);
        let correct = self.tally.unread();
        let account = self.subspace();
        Ok(Launched { pending, correct, examples, epoch, step, evals, account, seconds: begun.elapsed().as_secs_f64() })
    }

    /// Reads the numbers of the launched steps, adds them up and writes them down. Waits for the device.
    pub(super) fn read_steps(&mut self) -> Result<()> {
        let launched = std::mem::take(&mut self.launched);
        if launched.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut counts = self.right_answers(&launched)?.into_iter();
        let of_queueing: f64 = launched.iter().map(|l| l.seconds).sum();
        let n = launched.len() as f64;
        let (pending, rest): (Vec<_>, Vec<_>) = launched
            .into_iter()
            .map(|l| (l.pending, (counts.next().unwrap_or(0.0), l.examples, l.epoch, l.step, l.evals, l.account)))
            .unzip();
        let reports = self.optimizer.read(pending)?;
        let seconds = (of_queueing + begun.elapsed().as_secs_f64()) / n;
        for (report, (correct, examples, epoch, step, evals, account)) in reports.into_iter().zip(rest) {
            self.progress.epoch.seconds += seconds;
            self.progress.train_s += seconds;
            match &report.skipped {
                None => {
                    let sums = &mut self.progress.epoch;
                    sums.loss_sum += report.loss * examples as f64;
                    sums.correct += correct;
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
            let line = Line::Step(Progress {
                epoch: epoch + 1,
                step,
                split: Some(Part::Train),
                loss: Some(report.loss),
                evals: Some(evals),
                perturbed: self.progress.perturbed,
                samples_per_s: Some(examples as f64 / seconds),
                wall_s: Some(seconds),
                skipped: report.skipped.clone(),
                ..Progress::of_step(&report).with_account(account)
            });
            if self.config.log_steps || self.line_is_due() {
                self.journal.write(&line)?;
            }
            self.tell(&line);
            self.progress.last_loss = report.loss;
            self.last = Some(report);
        }
        Ok(())
    }

    /// Right answers of each of these steps, on all ranks.
    #[expect(clippy::disallowed_methods, reason = "at the log interval")]
    fn right_answers(&self, launched: &[Launched]) -> Result<Vec<f64>> {
        let counts: Vec<&Tensor> = launched.iter().filter_map(|l| l.correct.as_ref()).collect();
        let counts = if counts.is_empty() { Vec::new() } else { Tensor::stack(&counts, 0)?.to_vec1::<f64>()? };
        let mut counts = counts.into_iter();
        let own: Vec<f64> =
            launched.iter().map(|l| l.correct.as_ref().and_then(|_| counts.next()).unwrap_or(0.0)).collect();
        let ranks = self.team.ranks();
        let all = ranks.gather(ranks.size(), own.len(), &own)?;
        Ok((0..own.len()).map(|step| all.iter().skip(step).step_by(own.len()).sum()).collect())
    }

    /// Copies of BatchNorm's running statistics.
    pub(super) fn statistics(&self) -> candle_core::Result<Vec<Tensor>> {
        self.model.buffers().values().map(|var| var.as_detached_tensor().copy()).collect()
    }

    pub(super) fn end_epoch(&mut self, epoch: u64) -> Result<()> {
        let sums = std::mem::take(&mut self.progress.epoch);
        let (step, evals, wall_s) = (self.progress.step, self.progress.evals, self.wall());
        let line = Line::Epoch(Progress {
            consensus_distance: self.consensus_distance()?,
            epoch: epoch + 1,
            step,
            split: Some(Part::Train),
            loss: sums.loss(),
            accuracy: sums.accuracy(),
            evals: Some(evals),
            perturbed: self.progress.perturbed,
            samples_per_s: sums.samples_per_s(),
            wall_s: Some(wall_s),
            ..self.last.as_ref().map(Progress::of_step).unwrap_or_default().with_account(self.subspace())
        });
        self.log(&line)?;
        let perturbed = Perturbed::suffix(self.config, &self.progress);
        self.say(format!("epoch {}  step {step}  train {}{perturbed}", epoch + 1, describe(&sums)));
        Ok(())
    }
}

/// Sums of an epoch for a person.
pub(super) fn describe(sums: &Epoch) -> String {
    match (sums.loss(), sums.accuracy(), sums.samples_per_s()) {
        (Some(loss), Some(accuracy), Some(speed)) => {
            format!("loss {}  accuracy {accuracy:.4}  {speed:.0} images/s", short(loss))
        }
        _ => "every step skipped".into(),
    }
}
