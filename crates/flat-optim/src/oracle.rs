//! The only code that touches the model: evaluates loss and gradient at theta and near it.

use crate::{Error, Estimate, Objective, Query, Result, Rows, Sample, Scalar};
use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Params, Restore, Space, or_zero};
use std::cell::OnceCell;

/// Gives a gradient rule losses and gradients at theta and at points near it.
///
/// Evaluations are counted in units of one gradient of the whole batch. After every displaced evaluation the variables
/// hold theta again, bit for bit, whether it succeeded, failed or panicked. A loss or gradient that is not finite is an
/// [`Error::NonFinite`]; where the numbers are left on the device, the optimizer finds out there, after the rule.
pub struct Oracle<'a> {
    params: &'a Params,
    objective: &'a mut dyn Objective,
    theta: Theta<'a>,
    mask: Option<&'a ParamVec>,
    micro_batches: usize,
    rows: usize,
    stats_due: bool,
    evals: f64,
    calls: u64,
    /// Losses and norms that were left on the device.
    unread: Vec<Tensor>,
    /// Factors of displacements that were left on the device, where 0 displaces nothing.
    factors: Vec<Tensor>,
    /// Displacements by factors that the host knows.
    known_moves: u64,
}

/// A copy of the present parameters.
#[derive(Clone, Copy)]
enum Theta<'a> {
    Known(&'a ParamVec),
    /// To be made, for a step that displaces them; a plain step never needs it.
    Later(&'a OnceCell<ParamVec>),
}

impl<'a> Oracle<'a> {
    /// An oracle for one step at `theta`, which must be a copy of what the variables hold.
    ///
    /// `mask` holds 1 for the parameters that are perturbed and 0 for the others; `None` perturbs all.
    /// [`Rows::All`] is evaluated in `micro_batches` parts (no more than there are rows).
    ///
    /// # Errors
    /// An objective without rows.
    pub fn new(
        params: &'a Params,
        objective: &'a mut dyn Objective,
        theta: &'a ParamVec,
        mask: Option<&'a ParamVec>,
        micro_batches: usize,
    ) -> Result<Self> {
        Self::at(Theta::Known(theta), params, objective, mask, micro_batches)
    }

    /// An oracle for one step at what the variables hold; `theta` is filled with a copy once one is needed.
    pub(crate) fn lazy(
        params: &'a Params,
        objective: &'a mut dyn Objective,
        theta: &'a OnceCell<ParamVec>,
        mask: Option<&'a ParamVec>,
        micro_batches: usize,
    ) -> Result<Self> {
        Self::at(Theta::Later(theta), params, objective, mask, micro_batches)
    }

    fn at(
        theta: Theta<'a>,
        params: &'a Params,
        objective: &'a mut dyn Objective,
        mask: Option<&'a ParamVec>,
        micro_batches: usize,
    ) -> Result<Self> {
        let rows = objective.rows();
        let micro_batches = micro_batches.clamp(1, Rows::All.range(rows)?.len());
        Ok(Self {
            params,
            objective,
            theta,
            mask,
            micro_batches,
            rows,
            stats_due: true,
            evals: 0.0,
            calls: 0,
            unread: Vec::new(),
            factors: Vec::new(),
            known_moves: 0,
        })
    }

    /// The present parameters. Costs a pass where nothing was displaced yet.
    ///
    /// # Errors
    /// candle's.
    pub fn theta(&self) -> Result<&ParamVec> {
        match self.theta {
            Theta::Known(theta) => Ok(theta),
            Theta::Later(cell) => match cell.get() {
                Some(theta) => Ok(theta),
                None => {
                    let theta = self.params.read()?;
                    Ok(cell.get_or_init(|| theta))
                }
            },
        }
    }

    /// The space that the parameters span.
    pub fn space(&self) -> &Space {
        self.params.space()
    }

    /// Examples in the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Gradient evaluations so far, in units of the whole batch: [`Rows::One`] counts 1/rows.
    pub fn evals(&self) -> f64 {
        self.evals
    }

    /// Calls of the objective so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Losses and norms of gradients so far that were left on the device, and nobody has looked at.
    pub(crate) fn unread(&self) -> &[Tensor] {
        &self.unread
    }

    /// A flag on the device, a u8 of no dimension: 1 if one of the displacements so far had a length. `None` where the
    /// host knows without it.
    pub(crate) fn moved(&self) -> Result<Option<Tensor>> {
        if self.known_moves > 0 || self.factors.is_empty() {
            return Ok(None);
        }
        let factors: Vec<&Tensor> = self.factors.iter().collect();
        Ok(Some(Tensor::stack(&factors, 0)?.abs()?.sum_all()?.ne(0f64)?))
    }

    /// Loss and gradient at theta.
    ///
    /// # Errors
    /// [`Error::NonFinite`], [`Error::NoSuchRows`], and whatever the objective returns.
    pub fn gradient(&mut self, rows: Rows) -> Result<Sample> {
        self.evaluate(rows, "at theta")
    }

    /// Loss and gradient at `theta + by * dir` (`dir` without the parameters that are not perturbed).
    ///
    /// # Errors
    /// As [`Self::gradient`].
    pub fn gradient_at(&mut self, by: impl Into<Scalar>, dir: &ParamVec, rows: Rows) -> Result<Sample> {
        let by = by.into();
        let guard = match by.host() {
            None => self.displace(1.0, &dir.scaled_by(&by)?)?,
            Some(by) => self.displace(by, dir)?,
        };
        let sample = self.evaluate(rows, "at the perturbed parameters")?;
        guard.finish()?;
        match by.device() {
            Some(by) => self.factors.push(by.clone()),
            None => self.known_moves += 1,
        }
        Ok(sample)
    }

    /// Moves the variables; with the first move of a step goes the copy of where they were.
    fn displace(&self, by: f64, dir: &ParamVec) -> Result<Restore<'a>> {
        let theta = match self.theta {
            Theta::Known(theta) => theta,
            Theta::Later(cell) => match cell.get() {
                Some(theta) => theta,
                None => {
                    let theta = self.params.displace(by, dir, self.mask)?;
                    return Ok(Restore::later(self.params, cell.get_or_init(|| theta)));
                }
            },
        };
        Ok(Restore::displace(self.params, theta, by, dir, self.mask)?)
    }

    /// The factor that gives a sample's gradient the length `rho` over the perturbed parameters: `rho / ||grad||`.
    /// `None` where the gradient is zero (below the smallest normal number), so that it has no direction. On the device a
    /// zero gradient gives the factor 0 instead, because nobody knows of it yet.
    ///
    /// # Errors
    /// candle's.
    pub fn scale_to(&self, rho: f64, sample: &Sample) -> Result<Option<Scalar>> {
        let norm = self.perturbed_norm(sample)?;
        if let Some(norm) = norm.host() {
            return Ok(self.factor(rho, norm).map(Scalar::from));
        }
        let norm = norm.tensor(&self.space().device)?;
        let factor = (norm.recip()? * rho)?;
        Ok(Some(Scalar::on_device(&or_zero(&norm.ge(self.smallest())?, &factor)?)?))
    }

    /// [`Self::scale_to`] for a rule that must know at once whether the gradient is zero. Waits for the device.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "a zero gradient changes what sap does next")]
    pub fn scale_to_host(&self, rho: f64, sample: &Sample) -> Result<Option<f64>> {
        Ok(self.factor(rho, self.perturbed_norm(sample)?.value()?))
    }

    /// Norm of a sample's gradient over the perturbed parameters.
    fn perturbed_norm(&self, sample: &Sample) -> Result<Scalar> {
        match self.mask {
            None => Ok(sample.norm.clone()),
            Some(mask) => Ok(sample.grad.hadamard(mask)?.norm_at(sample.norm.is_on_device())?),
        }
    }

    fn factor(&self, rho: f64, norm: f64) -> Option<f64> {
        (norm >= self.smallest()).then_some(rho / norm)
    }

    /// The smallest normal number.
    fn smallest(&self) -> f64 {
        if self.space().dtype == DType::F64 { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) }
    }

    /// Averages estimates over `parts` consecutive parts of the batch, weighted by their sizes; with one part the rows
    /// are [`Rows::All`].
    ///
    /// # Errors
    /// Whatever `each` returns.
    pub fn average(
        &mut self,
        parts: usize,
        mut each: impl FnMut(&mut Self, Rows) -> Result<Estimate>,
    ) -> Result<Estimate> {
        let parts = parts.clamp(1, self.rows);
        if parts == 1 {
            return each(self, Rows::All);
        }
        let mut mean: Option<Estimate> = None;
        for index in 0..parts {
            let rows = Rows::Shard { index, of: parts };
            let weight = rows.share(self.rows)?;
            let part = each(self, rows)?;
            match mean.as_mut() {
                None => mean = Some(part.scaled(weight)?),
                Some(mean) => mean.add(weight, &part)?,
            }
        }
        mean.ok_or(Error::NoSuchRows { asked: "an average".into(), available: self.rows })
    }

    fn evaluate(&mut self, rows: Rows, place: &'static str) -> Result<Sample> {
        if rows != Rows::All || self.micro_batches == 1 {
            return self.call(rows, place);
        }
        let mut mean: Option<(Scalar, ParamVec)> = None;
        for index in 0..self.micro_batches {
            let shard = Rows::Shard { index, of: self.micro_batches };
            let weight = shard.share(self.rows)?;
            let mut part = self.call(shard, place)?;
            match mean.as_mut() {
                None => {
                    part.grad.scale(weight)?;
                    mean = Some((part.loss.times(weight)?, part.grad));
                }
                Some((loss, grad)) => {
                    *loss = loss.plus(&part.loss.times(weight)?)?;
                    grad.add_scaled(weight, &part.grad)?;
                }
            }
        }
        let (loss, grad) = mean.ok_or(Error::NoSuchRows { asked: "a micro-batch".into(), available: self.rows })?;
        Sample::new(loss, grad)
    }

    fn call(&mut self, rows: Rows, place: &'static str) -> Result<Sample> {
        self.evals += self.objective.cost(rows)?;
        self.calls += 1;
        // A single example says too little for running statistics: they wait for the next evaluation.
        let update_stats = self.stats_due && (self.rows == 1 || !matches!(rows, Rows::One(_)));
        self.stats_due &= !update_stats;
        let sample = self.objective.loss_and_grad(self.params, Query { rows, update_stats })?;
        for (what, number) in [("loss", &sample.loss), ("gradient norm", &sample.norm)] {
            match (number.host(), number.device()) {
                (Some(value), _) if !value.is_finite() => return Err(Error::NonFinite { what, value, place }),
                (_, Some(unread)) => self.unread.push(unread.clone()),
                _ => {}
            }
        }
        Ok(sample)
    }
}
