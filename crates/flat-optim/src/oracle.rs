//! The only code that touches the model: evaluates loss and gradient at theta and near it.

use crate::{Batch, Error, Need, Objective, Result, Rows, Sample, Scalar, Subspace};
use candle_core::DType;
use flat_core::{ParamVec, Params, Restore, Space};
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

mod chosen;
mod evaluate;
mod shared;

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
    /// Rows of the present batch.
    rows: usize,
    /// Rows of the step's own batch, the unit of evaluations.
    step_rows: usize,
    /// The part of the batch that stands for the whole.
    window: Option<Range<usize>>,
    batch: Batch,
    subspace: Option<(&'a mut dyn Subspace, u64)>,
    stats_due: bool,
    evals: f64,
    calls: u64,
    /// Losses and norms that were left on the device.
    unread: Vec<Scalar>,
    /// Factors of displacements that were left on the device, where 0 displaces nothing.
    factors: Vec<Scalar>,
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
        Self::make(Theta::Known(theta), params, objective, mask, micro_batches)
    }

    /// An oracle for one step at what the variables hold; `theta` is filled with a copy once one is needed.
    pub(crate) fn lazy(
        params: &'a Params,
        objective: &'a mut dyn Objective,
        theta: &'a OnceCell<ParamVec>,
        mask: Option<&'a ParamVec>,
        micro_batches: usize,
    ) -> Result<Self> {
        Self::make(Theta::Later(theta), params, objective, mask, micro_batches)
    }

    fn make(
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
            step_rows: rows,
            window: None,
            batch: Batch::Step,
            subspace: None,
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
        self.known_theta()
    }

    fn known_theta(&self) -> Result<&'a ParamVec> {
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

    /// Lends it a subspace for the step of this index.
    pub(crate) fn lend(&mut self, subspace: Option<&'a mut dyn Subspace>, step: u64) {
        self.subspace = subspace.map(|subspace| (subspace, step));
    }

    /// Orthonormal vectors of the subspace at theta.
    ///
    /// # Errors
    /// [`Error::Unmet`] where the builder was given none; whatever finding them returns.
    pub fn subspace(&mut self) -> Result<Arc<[ParamVec]>> {
        match &mut self.subspace {
            Some((subspace, step)) => subspace.basis(self.params, *step),
            None => Err(Error::Unmet { need: Need::Subspace }),
        }
    }

    /// Share of the norm of the whole loss's gradient in the subspace at theta.
    ///
    /// # Errors
    /// As [`Self::subspace`].
    pub fn subspace_share(&mut self) -> Result<f64> {
        match &mut self.subspace {
            Some((subspace, step)) => subspace.share(self.params, *step),
            None => Err(Error::Unmet { need: Need::Subspace }),
        }
    }

    /// Examples in the batch, or in the part of it that stands for the whole.
    pub fn rows(&self) -> usize {
        self.window.as_ref().map_or(self.rows, Range::len)
    }

    /// What parameters a perturbation may change: 1 there and 0 elsewhere; `None` for all.
    pub fn mask(&self) -> Option<&ParamVec> {
        self.mask
    }

    /// Evaluates within some rows: to `body` they are the whole batch. Evaluations count by their share of the batch.
    ///
    /// # Errors
    /// [`Error::NoSuchRows`]; the body's.
    pub fn within<T>(&mut self, rows: Rows, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let range = self.place(rows)?.range(self.rows)?;
        let outer = self.window.replace(range);
        let out = body(self);
        self.window = outer;
        out
    }

    /// Evaluates on another batch: within `body` it is the batch.
    ///
    /// # Errors
    /// [`Error::Unmet`] where the objective has no such batch; the objective's and the body's.
    pub fn on<T>(&mut self, batch: Batch, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let rows = self.objective.switch(batch)?;
        let outer = (self.rows, self.batch, self.window.take());
        (self.rows, self.batch) = (rows, batch);
        let out = body(self);
        let back = self.objective.switch(outer.1);
        (self.rows, self.batch, self.window) = outer;
        back?;
        out
    }

    /// Rows of the window as rows of the batch.
    fn place(&self, rows: Rows) -> Result<Rows> {
        let Some(window) = &self.window else { return Ok(rows) };
        let inner = rows.range(window.len())?;
        Ok(match rows {
            Rows::One(i) => Rows::One(window.start + i),
            _ => Rows::Range { start: window.start + inner.start, len: inner.len() },
        })
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
    pub(crate) fn unread(&self) -> &[Scalar] {
        &self.unread
    }

    /// A flag, 1 if one of the displacements so far had a length, else 0. `None` where the host knows without it.
    pub(crate) fn moved(&self) -> Result<Option<Scalar>> {
        if self.known_moves > 0 || self.factors.is_empty() {
            return Ok(None);
        }
        Ok(Some(Scalar::any(&self.factors)?))
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
        self.at(by.into(), dir, |f| f.evaluate(rows, "at the perturbed parameters"))
    }

    /// Runs `body` with the variables at `theta + by * dir`.
    fn at<T>(&mut self, by: Scalar, dir: &ParamVec, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let guard = self.displace(&by, dir)?;
        let out = body(self)?;
        guard.finish()?;
        match by.is_on_device() {
            true => self.factors.push(by),
            false => self.known_moves += 1,
        }
        Ok(out)
    }

    /// Loss and gradient at `point`.
    ///
    /// # Errors
    /// As [`Self::gradient`].
    pub fn gradient_at_point(&mut self, point: &ParamVec, rows: Rows) -> Result<Sample> {
        let guard = Restore::replace(self.params, self.known_theta()?, point)?;
        let sample = self.evaluate(rows, "at the perturbed parameters")?;
        guard.finish()?;
        self.known_moves += 1;
        Ok(sample)
    }

    /// Moves the variables; with the first move of a step goes the copy of where they were.
    fn displace(&self, by: &Scalar, dir: &ParamVec) -> Result<Restore<'a>> {
        let theta = match self.theta {
            Theta::Known(theta) => theta,
            Theta::Later(cell) => match cell.get() {
                Some(theta) => theta,
                None => {
                    let theta = self.params.displace(by.clone(), dir, self.mask)?;
                    return Ok(Restore::later(self.params, cell.get_or_init(|| theta)));
                }
            },
        };
        Ok(Restore::displace(self.params, theta, by.clone(), dir, self.mask)?)
    }

    /// The factor that gives a sample's gradient the length `rho` over the perturbed parameters: `rho / ||grad||`.
    /// `None` where the gradient is zero (below the smallest normal number), so that it has no direction. On the device a
    /// zero gradient gives the factor 0 instead, because nobody knows of it yet.
    ///
    /// # Errors
    /// candle's.
    pub fn scale_to(&self, rho: f64, sample: &Sample) -> Result<Option<Scalar>> {
        self.factor_of(rho, &self.perturbed_norm(sample)?)
    }

    /// [`Self::scale_to`] for any direction, whose norm over all parameters is left on the device where `on_device`.
    ///
    /// # Errors
    /// candle's.
    pub fn scale_direction(&self, rho: f64, dir: &ParamVec, on_device: bool) -> Result<Option<Scalar>> {
        let norm = match self.mask {
            None => dir.norm_at(on_device)?,
            Some(mask) => dir.hadamard(mask)?.norm_at(on_device)?,
        };
        self.factor_of(rho, &norm)
    }

    /// Loss and gradient at the length `rho` along a sample's gradient from theta; `None` where that has no direction.
    ///
    /// # Errors
    /// As [`Self::gradient`].
    pub fn ascend(&mut self, rho: f64, sample: &Sample) -> Result<Option<Sample>> {
        let by = self.scale_to(rho, sample)?;
        by.map(|by| self.gradient_at(by, &sample.grad, Rows::All)).transpose()
    }

    /// [`Self::ascend`] along any direction, as [`Self::scale_direction`].
    ///
    /// # Errors
    /// As [`Self::gradient`].
    pub fn ascend_along(&mut self, rho: f64, dir: &ParamVec, on_device: bool) -> Result<Option<Sample>> {
        let by = self.scale_direction(rho, dir, on_device)?;
        by.map(|by| self.gradient_at(by, dir, Rows::All)).transpose()
    }

    /// `rho` over a norm, with [`Self::scale_to`]'s answer to a norm of 0.
    ///
    /// # Errors
    /// candle's.
    pub fn factor_of(&self, rho: f64, norm: &Scalar) -> Result<Option<Scalar>> {
        if let Some(norm) = norm.host() {
            return Ok(self.factor(rho, norm).map(Scalar::from));
        }
        Ok(Some(norm.inverse(self.smallest())?.times(rho)?))
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
}
