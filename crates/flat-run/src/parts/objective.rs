//! The training loss of a model on a batch, or on the whole training set, as the optimizers see it.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use candle_core::{DType, Tensor};
use flat_data::{Batch, Loader};
use flat_nn::{Loss, Mode, Model};
use flat_optim::{Error, Objective, ParamVec, Params, Query, Result, Rows, Sample, Scalar};
use std::ops::Range;

/// Rightly classified images among those seen by the evaluations that count: the first of each step.
#[derive(Debug, Default)]
pub struct Tally {
    correct: Option<Tensor>,
}

impl Tally {
    fn add(&mut self, logits: &Tensor, labels: &Tensor) -> Result<()> {
        let right = correct(logits, labels)?;
        self.correct = Some(match self.correct.take() {
            None => right,
            Some(sum) => (sum + right)?,
        });
        Ok(())
    }

    /// The number so far, and starts anew. Waits for the device.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "outside of steps")]
    pub fn take(&mut self) -> candle_core::Result<f64> {
        self.unread().map_or(Ok(0.0), |c| c.to_scalar())
    }

    /// The number so far, an f64 of no dimension that is left on the device (`None`: nothing was counted), and starts
    /// anew.
    pub fn unread(&mut self) -> Option<Tensor> {
        self.correct.take()
    }
}

/// Number of rows whose largest logit is the label's, as a scalar on the device (f64).
///
/// # Errors
/// candle's.
pub fn correct(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    right_answers(logits, labels)?.to_dtype(DType::F64)?.sum_all()
}

/// Whether each row's largest logit is the label's: (n), u8.
///
/// # Errors
/// candle's.
pub fn right_answers(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    logits.detach().argmax(1)?.eq(labels)
}

/// The mean loss over a mini-batch.
#[derive(Debug)]
pub struct BatchLoss<'a> {
    /// The model.
    pub model: &'a Model,
    /// The loss.
    pub loss: Loss,
    /// The mini-batch.
    pub batch: &'a Batch,
    tally: &'a mut Tally,
    /// Rows that the first pass over the batch has covered.
    covered: usize,
    keep_on_device: bool,
}

impl<'a> BatchLoss<'a> {
    /// The loss of one step's batch. Right answers are counted once a row, in the first pass over the batch: at theta,
    /// for every rule that evaluates there.
    pub fn new(model: &'a Model, loss: Loss, batch: &'a Batch, tally: &'a mut Tally) -> Self {
        Self { model, loss, batch, tally, covered: 0, keep_on_device: false }
    }

    /// Keeps losses on the device even where that is the CPU and reading them costs nothing: the step is then asynchronous,
    /// as on other devices.
    #[must_use]
    pub fn keep_on_device(self, keep_on_device: bool) -> Self {
        Self { keep_on_device, ..self }
    }
}

impl Objective for BatchLoss<'_> {
    fn rows(&self) -> usize {
        self.batch.len()
    }

    fn cost(&self, rows: Rows) -> Result<f64> {
        if self.with_its_batch(rows) { Ok(1.0) } else { rows.share(self.batch.len()) }
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
        let loss = self.loss_of(query, part, pass.logits())?;
        let value = if self.keep_on_device { Scalar::on_device(&loss)? } else { Scalar::of(&loss)? };
        Sample::new(value, pass.gradient(&loss).map_err(Error::objective)?)
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

impl BatchLoss<'_> {
    /// One example has no batch statistics of its own: it is normalised with its batch, so that the loss of the batch
    /// stays the mean of the losses of its examples, as Algorithm 2 supposes, and costs as much as the batch. Without
    /// BatchNorm the example alone gives the same for a fraction of the cost.
    fn with_its_batch(&self, rows: Rows) -> bool {
        matches!(rows, Rows::One(_)) && self.model.has_batch_norm()
    }

    fn part(&self, query: Query) -> Result<Part> {
        let mode = if query.update_stats { Mode::Train } else { Mode::BatchStats };
        let rows = query.rows.range(self.batch.len())?;
        let with_its_batch = self.with_its_batch(query.rows);
        let labels = self.batch.labels.narrow(0, rows.start, rows.len())?;
        let images = if with_its_batch {
            self.batch.images.clone()
        } else {
            self.batch.images.narrow(0, rows.start, rows.len())?
        };
        Ok(Part { images, labels, rows, mode, with_its_batch })
    }

    /// The mean loss of the rows, whose right answers are counted.
    fn loss_of(&mut self, query: Query, part: Part, logits: &Tensor) -> Result<Tensor> {
        let Part { labels, rows, .. } = part;
        let logits = if part.with_its_batch { logits.narrow(0, rows.start, rows.len())? } else { logits.clone() };
        if rows.start == self.covered && !matches!(query.rows, Rows::One(_)) {
            self.covered = rows.end;
            self.tally.add(&logits, &labels)?;
        }
        self.loss.mean(&logits, &labels).map_err(Error::objective)
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
}

impl FullLoss<'_> {
    /// The batch that holds an example, and its row there.
    fn example(&self, index: usize) -> Result<(Batch, usize)> {
        let size = self.loader.options().batch_size;
        Ok((self.batch(index / size)?, index % size))
    }

    fn batch(&self, index: usize) -> Result<Batch> {
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
        let (mut total, mut grad) = (Scalar::from(0.0), ParamVec::zeros(params.space())?);
        for index in 0..self.loader.batches_per_epoch() {
            let batch = self.batch(index)?;
            let weight = batch.len() as f64 / rows.len() as f64;
            let mut unused = Tally::default();
            let tally = if query.update_stats { &mut *self.tally } else { &mut unused };
            let mut part = BatchLoss::new(self.model, self.loss, &batch, tally).keep_on_device(self.keep_on_device);
            // one update of the running statistics a step, whatever the number of batches
            let update_stats = query.update_stats && index == 0;
            let sample = part.loss_and_grad(params, Query { rows: Rows::All, update_stats })?;
            total = total.plus(&sample.loss.times(weight)?)?;
            grad.add_scaled(weight, &sample.grad)?;
        }
        Sample::new(total, grad)
    }
}
