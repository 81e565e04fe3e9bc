//! Evaluations along a run: images that are not trained on, and flatness, on the average of the weights where the run keeps
//! one.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use super::Trainer;
use crate::parts::evaluate::{constant_loss, evaluate};
use crate::parts::{Agents, statistics};
use crate::run::along;
use crate::store::checkpoint::Evaluation;
use crate::store::line::{Flatness, Line, Part, Progress};
use crate::value::number::short;
use anyhow::Result;
use candle_core::Tensor;
use flat_core::Restore;
use flat_nn::{Mode, Precision};

impl Trainer<'_> {
    /// Evaluates on the test set, or on the images held out; false where a signal interrupted it.
    pub(super) fn evaluate_held_out(&mut self) -> Result<bool> {
        self.read_steps()?;
        let (part, name) =
            if self.data.validation.is_some() { (Part::Validation, "validation") } else { (Part::Test, "test") };
        let Some(score) = self.with_final_weights(|t| {
            let images = t.data.validation.as_ref().unwrap_or(&t.data.test);
            evaluate(&t.model, t.loss, images, Mode::Eval, name, t.ui)
        })?
        else {
            return Ok(false);
        };
        let step = self.progress.step;
        let epoch = step.div_ceil(self.steps_per_epoch());
        let best = self.progress.evaluated.is_none() || score.accuracy > self.progress.best_accuracy;
        self.progress.evaluated =
            Some(Evaluation { step, loss: score.loss, accuracy: score.accuracy, groups: score.groups });
        let (wall_s, evals, consensus_distance) = (self.wall(), self.progress.evals, self.consensus_distance()?);
        self.log(&Line::Epoch(Progress {
            consensus_distance,
            epoch,
            step,
            split: Some(part),
            loss: Some(score.loss),
            accuracy: Some(score.accuracy),
            groups: score.groups,
            evals: Some(evals),
            wall_s: Some(wall_s),
            ..Progress::default()
        }))?;
        let groups = score.groups.map(|groups| {
            let [average, worst] = [groups.average_group.accuracy, groups.worst_group.accuracy];
            format!("  average group {average:.4}  worst group {worst:.4}")
        });
        self.say(format!(
            "epoch {epoch}  step {step}  {name}  loss {}  accuracy {:.4}{}",
            short(score.loss),
            score.accuracy,
            groups.unwrap_or_default()
        ));
        if best {
            self.progress.best_accuracy = score.accuracy;
            let file = self.dir.checkpoints().join("best.safetensors");
            if score.loss.is_finite() {
                self.save_model(&file)?;
            }
        }
        // the run ends here, within an epoch perhaps
        if self.has_reached_target() && self.progress.epoch.seen > 0 {
            self.end_epoch((step - 1) / self.steps_per_epoch())?;
        }
        Ok(true)
    }

    /// Whether the evaluation of the present step finds the accuracy that the run is to reach.
    pub(crate) fn has_reached_target(&self) -> bool {
        let found = self.progress.evaluated.filter(|e| e.step == self.progress.step);
        self.config.target_accuracy.is_some_and(|target| found.is_some_and(|e| e.accuracy >= target))
    }

    /// Whether a run that ends with this training loss has diverged. It has where the loss is not finite. It also has
    /// where the loss is ten times that of a constant prediction, with the last step's loss in training mode at least
    /// twice that. The second condition leaves out short runs whose running statistics of batch normalisation lag
    /// behind.
    ///
    /// # Errors
    /// candle's.
    pub fn diverged(&self, train_loss: f64) -> Result<bool> {
        if !train_loss.is_finite() || self.progress.evaluated.is_some_and(|e| !e.loss.is_finite()) {
            return Ok(true);
        }
        let constant = constant_loss(self.loss, self.model.classes())?;
        let last = self.progress.last_loss;
        let last = !last.is_finite() || last > 2.0 * constant;
        Ok(self.progress.step > 0 && last && train_loss > 10.0 * constant)
    }

    /// Takes the measures of `--flatness`; false where a signal interrupted them. A measure that fails costs a warning.
    pub(super) fn measure_flatness(&mut self) -> Result<bool> {
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
        let (measured, skipped) = match measured {
            Ok(None) => return Ok(false),
            Ok(Some(measured)) => {
                self.say(format!("epoch {epoch}  step {step}  flatness  {}", along::describe(&measured)));
                (measured, None)
            }
            Err(e) => {
                let why = format!("{e:#}");
                self.ui.warn(format!("flatness could not be measured after step {step}: {why}"));
                (along::Measured::new(), Some(why))
            }
        };
        self.progress.measured = Some(step);
        let line = Flatness::new(epoch, step, self.wall(), measured, skipped);
        self.log(&Line::Flatness(line))?;
        Ok(true)
    }

    /// How far the agents of a network are apart.
    pub(super) fn consensus_distance(&self) -> Result<Option<f64>> {
        self.agents.as_ref().map(Agents::distance).transpose()
    }

    /// Runs something on the weights that the run would hand out now. They are an average where `--ema`,
    /// `--swa-start` or the base keeps one, and the mean of a network's agents, with BatchNorm statistics of their own. `None` where a signal asked to
    /// stop.
    ///
    /// # Errors
    /// Those of `f`; the weights are put back all the same.
    pub fn with_final_weights<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<Option<T>>) -> Result<Option<T>> {
        if let Some(agents) = &self.agents {
            // nothing is to be put back: the variables are the agents' by turns
            let ready = agents.put_mean(&self.model)? || self.set_averaged_statistics()?;
            return if ready { f(self) } else { Ok(None) };
        }
        self.follow_statistics()?;
        let params = self.model.params().clone();
        let point = match self.optimizer.evaluation_point()? {
            Some(point) => point,
            // a rule that evaluates beside theta alone leaves the statistics of other weights
            None if self.model.has_batch_norm() && self.optimizer.lags_statistics() => params.read()?,
            None => return f(self),
        };
        let raw = params.read()?;
        let guard = Restore::replace(&params, &raw, &point)?;
        // the raw weights' statistics are not those of the point
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
    pub(super) fn set_statistics(&self, statistics: &[Tensor]) -> candle_core::Result<()> {
        self.model.buffers().values().zip(statistics).try_for_each(|(var, before)| var.set(before))
    }
}
