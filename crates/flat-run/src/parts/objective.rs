//! The training loss of a model on a batch, or on the whole training set, as the optimizers see it.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use super::others::{OtherBatches, unmet};
use super::tally::{Tally, correct};
use crate::signal::GivenUp;
use candle_core::Tensor;
use flat_data::{Batch, Loader};
use flat_nn::{Loss, Mode, Model, Pullback};
use flat_optim::{
    Batch as Which, Error, LESS_BIASED, Need, Objective, ParamVec, Params, Query, Result, Rows, Sample, Scalar, Team,
};
use std::ops::Range;

/// The mean loss over a mini-batch.
#[derive(Debug)]
pub struct BatchLoss<'a> {
    /// The model.
    pub model: &'a Model,
    /// The loss.
    pub loss: Loss,
    /// The step's mini-batch.
    pub batch: &'a Batch,
    others: Option<OtherBatches<'a>>,
    /// Whether the step's batch stands for every other one.
    repeats: bool,
    /// Another batch that takes the place of the step's now, and which.
    other: Option<(Which, Batch)>,
    tally: &'a mut Tally,
    /// Images of the batches whose right answers are counted.
    seen: usize,
    /// Rows that the first pass over the present batch has covered; `None` where they are not counted.
    covered: Option<usize>,
    keep_on_device: bool,
    given_up: GivesUp,
}

/// Whether the work on a step is to be given up.
pub type GivesUp = fn() -> bool;

/// An error where it is.
fn ask(given_up: GivesUp) -> Result<()> {
    if given_up() { Err(Error::objective(GivenUp)) } else { Ok(()) }
}

impl<'a> BatchLoss<'a> {
    /// The loss of one step's batch. Right answers are counted once a row, in the first pass over the batch: at theta,
    /// for every rule that evaluates there.
    pub fn new(model: &'a Model, loss: Loss, batch: &'a Batch, tally: &'a mut Tally) -> Self {
        let (seen, covered) = (batch.len(), Some(0));
        Self {
            model,
            loss,
            batch,
            others: None,
            repeats: false,
            other: None,
            tally,
            seen,
            covered,
            keep_on_device: false,
            given_up: || false,
        }
    }

    /// Asks before every pass, forward or backward, whether the step is to be given up, with [`GivenUp`] as its error.
    #[must_use]
    pub fn given_up_where(self, given_up: GivesUp) -> Self {
        Self { given_up, ..self }
    }

    /// Where rules find other batches than the step's.
    #[must_use]
    pub fn with_others(self, others: OtherBatches<'a>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// The step's batch stands for every other one that a rule asks for: a step then takes the time that it takes on data.
    #[must_use]
    pub fn repeating(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// Images of the step's batch and of the further ones that were taken.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Keeps losses on the device even where that is the CPU and reading costs nothing. The step is then
    /// asynchronous, as on other devices.
    #[must_use]
    pub fn keep_on_device(self, keep_on_device: bool) -> Self {
        Self { keep_on_device, ..self }
    }
}

impl Objective for BatchLoss<'_> {
    fn rows(&self) -> usize {
        self.now().len()
    }

    fn cost(&self, rows: Rows) -> Result<f64> {
        if self.with_its_batch(rows) { Ok(1.0) } else { rows.share(self.rows()) }
    }

    fn leaves_numbers(&self) -> bool {
        self.keep_on_device
    }

    fn loss(&mut self, query: Query) -> Result<Tensor> {
        let part = self.part(query)?;
        let logits = self.model.logits(&part.images, part.mode).map_err(Error::objective)?;
        self.loss_of(query, part, &logits)
    }

    fn loss_and_grad(&mut self, _: &Params, query: Query) -> Result<Sample> {
        let part = self.part(query)?;
        let pass = self.model.pullback(&part.images, part.mode).map_err(Error::objective)?;
        if pass.fuses() && !part.with_its_batch {
            let counted = self.counts(query, &part).then_some(part.rows.end);
            return self.fused(counted, pass, &part.labels);
        }
        let loss = self.loss_of(query, part, pass.logits())?;
        self.sample(&loss, pass)
    }

    fn offers(&self, need: Need) -> bool {
        match need {
            Need::Losses => true,
            Need::FreshBatches | Need::Source(_) if self.repeats => true,
            Need::FreshBatches => self.others.is_some(),
            Need::Source(name) => self.others.is_some_and(|others| name == LESS_BIASED && others.less_biased.is_some()),
            _ => false,
        }
    }

    fn losses_and_grad(&mut self, _: &Params, query: Query) -> Result<(Sample, Tensor)> {
        let part = self.part(query)?;
        let pass = self.model.pullback(&part.images, part.mode).map_err(Error::objective)?;
        let losses = self.losses_of(&part, pass.logits())?;
        let loss = self.loss_of(query, part, pass.logits())?;
        Ok((self.sample(&loss, pass)?, losses))
    }

    fn losses(&mut self, query: Query) -> Result<Tensor> {
        let part = self.part(query)?;
        let logits = self.model.logits_no_grad(&part.images, part.mode).map_err(Error::objective)?;
        self.losses_of(&part, &logits)
    }

    fn chosen_loss_and_grad(&mut self, _: &Params, rows: &[u32], update_stats: bool) -> Result<Sample> {
        ask(self.given_up)?;
        let batch = self.now();
        if let Some(row) = rows.iter().find(|&&row| row as usize >= batch.len()) {
            return Err(Error::NoSuchRows { asked: format!("row {row}"), available: batch.len() });
        }
        let rows = Tensor::new(rows, batch.images.device())?;
        let (images, labels) = (batch.images.index_select(&rows, 0)?, batch.labels.index_select(&rows, 0)?);
        let pass = self.model.pullback(&images, mode(update_stats)).map_err(Error::objective)?;
        if pass.fuses() {
            return self.fused(None, pass, &labels);
        }
        let loss = self.loss.mean(pass.logits(), &labels).map_err(Error::objective)?;
        self.sample(&loss, pass)
    }

    fn switch(&mut self, to: Which) -> Result<usize> {
        if to == Which::Step {
            (self.other, self.covered) = (None, None);
            return Ok(self.batch.len());
        }
        if self.other.as_ref().is_none_or(|(which, _)| *which != to) {
            let batch = match self.others {
                Some(others) => others.batch(to)?,
                None if self.repeats => self.batch.clone(),
                None => return Err(unmet(to)),
            };
            // the chain of entropy-sgd runs over further batches, whose answers count as those of the step's batch do
            let counts = matches!(to, Which::Fresh(_));
            self.covered = counts.then_some(0);
            self.seen += if counts { batch.len() } else { 0 };
            self.other = Some((to, batch));
        }
        Ok(self.rows())
    }
}

/// What one evaluation looks at.
struct Part {
    images: Tensor,
    labels: Tensor,
    /// Rows of the batch that the loss is about.
    rows: Range<usize>,
    mode: Mode,
    /// Whether `images` are the whole batch rather than these rows.
    with_its_batch: bool,
}

impl Part {
    /// The rows' part of the logits.
    fn own(&self, logits: &Tensor) -> candle_core::Result<Tensor> {
        match self.with_its_batch {
            true => logits.narrow(0, self.rows.start, self.rows.len()),
            false => Ok(logits.clone()),
        }
    }
}

/// BatchNorm in a training step.
fn mode(update_stats: bool) -> Mode {
    if update_stats { Mode::Train } else { Mode::BatchStats }
}

impl BatchLoss<'_> {
    /// The batch that is evaluated now.
    fn now(&self) -> &Batch {
        self.other.as_ref().map_or(self.batch, |(_, batch)| batch)
    }

    /// A loss with its gradient by the way back from the logits.
    fn sample(&self, loss: &Tensor, pass: Pullback<'_>) -> Result<Sample> {
        ask(self.given_up)?;
        let value = if self.keep_on_device { Scalar::on_device(loss)? } else { Scalar::of(loss)? };
        Sample::new(value, pass.gradient(loss).map_err(Error::objective)?)
    }

    /// The losses of the part's rows.
    fn losses_of(&self, part: &Part, logits: &Tensor) -> Result<Tensor> {
        let logits = part.own(&logits.detach())?;
        self.loss.per_example(&logits, &part.labels).map_err(Error::objective)
    }

    /// One example has no batch statistics of its own: it is normalised with its batch, so that the loss of the batch
    /// stays the mean of the losses of its examples, as Algorithm 2 supposes, and costs as much as the batch. Without
    /// BatchNorm the example alone gives the same for a fraction of the cost.
    fn with_its_batch(&self, rows: Rows) -> bool {
        matches!(rows, Rows::One(_)) && self.model.has_batch_norm()
    }

    /// What an evaluation looks at, unless the step is given up.
    fn part(&self, query: Query) -> Result<Part> {
        ask(self.given_up)?;
        let batch = self.now();
        let rows = query.rows.range(batch.len())?;
        let with_its_batch = self.with_its_batch(query.rows);
        let labels = batch.labels.narrow(0, rows.start, rows.len())?;
        let images =
            if with_its_batch { batch.images.clone() } else { batch.images.narrow(0, rows.start, rows.len())? };
        Ok(Part { images, labels, rows, mode: mode(query.update_stats), with_its_batch })
    }

    /// Whether the right answers of the part are still to be counted.
    fn counts(&self, query: Query, part: &Part) -> bool {
        // a rank sees its own rows alone, in their order
        self.covered.is_some_and(|rows| rows <= part.rows.start) && !matches!(query.rows, Rows::One(_))
    }

    /// The mean loss of the rows, whose right answers are counted.
    fn loss_of(&mut self, query: Query, part: Part, logits: &Tensor) -> Result<Tensor> {
        let logits = part.own(logits)?;
        if self.counts(query, &part) {
            self.covered = Some(part.rows.end);
            self.tally.add(correct(&logits, &part.labels)?)?;
        }
        self.loss.mean(&logits, &part.labels).map_err(Error::objective)
    }

    /// Loss, gradient and right answers of all rows that went forward, where a kernel finds them together. The answers count
    /// where it is said where the rows end.
    fn fused(&mut self, counted: Option<usize>, pass: Pullback<'_>, labels: &Tensor) -> Result<Sample> {
        ask(self.given_up)?;
        let found = pass.mean_loss(self.loss, labels).map_err(Error::objective)?;
        if let Some(end) = counted {
            self.covered = Some(end);
            self.tally.add(found.right)?;
        }
        Sample::new(Scalar::of(&found.loss)?, found.gradient)
    }
}

/// The mean loss over the whole training set, streamed in batches of the loader's size.
#[derive(Debug)]
pub struct FullLoss<'a> {
    /// The model.
    pub model: &'a Model,
    /// The loss.
    pub loss: Loss,
    /// The training set.
    pub loader: &'a Loader,
    /// Which epoch's order and augmentation.
    pub epoch: u64,
    /// Counts right answers.
    pub tally: &'a mut Tally,
    /// As [`BatchLoss::keep_on_device`].
    pub keep_on_device: bool,
    /// As [`BatchLoss::given_up_where`], before every batch.
    pub given_up: GivesUp,
    /// The ranks that share the batches out, each grain some batches in a row.
    pub team: &'a Team,
}

impl FullLoss<'_> {
    /// The batch that holds an example, and its row there.
    fn example(&self, index: usize) -> Result<(Batch, usize)> {
        let size = self.loader.options().batch_size;
        Ok((self.batch(index / size)?, index % size))
    }

    /// The part of loss and gradient that these batches make up.
    fn of_batches(&mut self, params: &Params, update_stats: bool, batches: Range<usize>) -> Result<(Scalar, ParamVec)> {
        let (mut total, mut grad) = (Scalar::from(0.0), ParamVec::zeros(params.space())?);
        for index in batches {
            let batch = self.batch(index)?;
            let weight = batch.len() as f64 / self.rows() as f64;
            let mut unused = Tally::default();
            let tally = if update_stats { &mut *self.tally } else { &mut unused };
            let mut part = BatchLoss::new(self.model, self.loss, &batch, tally).keep_on_device(self.keep_on_device);
            // one update of the running statistics a step, whatever the number of batches
            let update_stats = update_stats && index == 0;
            let sample = part.loss_and_grad(params, Query { rows: Rows::All, update_stats })?;
            total = total.plus(&sample.loss.times(weight)?)?;
            grad.add_scaled(weight, &sample.grad)?;
        }
        Ok((total, grad))
    }

    fn batch(&self, index: usize) -> Result<Batch> {
        ask(self.given_up)?;
        self.loader.batch(self.epoch, index).map_err(Error::objective)
    }
}

impl Objective for FullLoss<'_> {
    fn rows(&self) -> usize {
        self.loader.split().len()
    }

    fn cost(&self, rows: Rows) -> Result<f64> {
        let all = self.rows();
        let alone = rows.share(all)?;
        Ok(match rows {
            Rows::One(i) if self.model.has_batch_norm() => {
                let size = self.loader.options().batch_size;
                (all - i / size * size).min(size) as f64 / all as f64
            }
            _ => alone,
        })
    }

    fn leaves_numbers(&self) -> bool {
        self.keep_on_device
    }

    fn loss(&mut self, query: Query) -> Result<Tensor> {
        let row = match query.rows {
            Rows::One(i) => i,
            other => {
                return Err(Error::objective(format!(
                    "{other:?} of the whole training set is streamed, not one graph"
                )));
            }
        };
        let (batch, row) = self.example(row)?;
        let mut unused = Tally::default();
        BatchLoss::new(self.model, self.loss, &batch, &mut unused).loss(Query { rows: Rows::One(row), ..query })
    }

    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        let rows = query.rows.range(self.rows())?;
        if let Rows::One(i) = query.rows {
            let (batch, row) = self.example(i)?;
            let mut unused = Tally::default();
            let mut one =
                BatchLoss::new(self.model, self.loss, &batch, &mut unused).keep_on_device(self.keep_on_device);
            return one.loss_and_grad(params, Query { rows: Rows::One(row), ..query });
        }
        if rows.len() != self.rows() {
            return Err(Error::objective(format!("{:?} of the whole training set is not streamed", query.rows)));
        }
        let team = self.team;
        let (loss, grad) = team.summed(self.loader.batches_per_epoch(), params.space(), |batches| {
            self.of_batches(params, query.update_stats, batches)
        })?;
        Sample::new(loss, grad)
    }
}

#[cfg(test)]
mod tests;
