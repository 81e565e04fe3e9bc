//! Steps that were taken, as reports, and asynchronous steps. In an asynchronous step the device itself checks that
//! loss and gradient are finite and rolls the update back if they are not. The host does not wait.

use crate::{BaseOptimizer, Error, GradientRule, Result, Scalar, StateVisitor, Stateful};
use candle_core::{Device, Tensor};
use flat_core::{ParamVec, Params};

/// The numbers of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Index of the step, from 0.
    pub step: u64,
    /// Mean loss at theta before the update ([`crate::Estimate::loss`]); NaN if the step was skipped.
    pub loss: f64,
    /// Norm of the gradient there ([`crate::Estimate::grad_norm`]); NaN if the step was skipped.
    pub grad_norm: f64,
    /// Norm of the surrogate gradient, before clipping; NaN if the step was skipped.
    pub surrogate_norm: f64,
    /// Gradient evaluations of this step, in units of the whole batch.
    pub evals: f64,
    /// Learning rate used.
    pub lr: f64,
    /// Scheduled perturbation radius.
    pub rho: f64,
    /// Whether the surrogate differs from the plain gradient. False beyond a gate, at a scheduled radius of 0, where
    /// the gradient is zero and gives no direction, and for a skipped step.
    pub perturbed: bool,
    /// Whether the surrogate was clipped.
    pub clipped: bool,
    /// Why the step was skipped, if it was.
    pub skipped: Option<String>,
}

impl StepReport {
    /// Before anything is known.
    pub(crate) fn without_numbers(step: u64, evals: f64, lr: f64, rho: f64) -> Self {
        let nan = f64::NAN;
        Self {
            step,
            loss: nan,
            grad_norm: nan,
            surrogate_norm: nan,
            evals,
            lr,
            rho,
            perturbed: false,
            clipped: false,
            skipped: None,
        }
    }
}

/// A step that was taken, whose numbers may still be on the device. [`crate::Optimizer::read`] makes reports of many
/// at once, with one round trip.
#[derive(Debug)]
#[must_use = "whether the step was skipped is counted when it is read"]
pub struct PendingStep {
    report: StepReport,
    on_device: Option<OnDevice>,
}

#[derive(Debug)]
struct OnDevice {
    /// Loss, norm of the gradient, norm of the surrogate, whether the step was taken, whether it was clipped, whether a
    /// displacement had a length; f64.
    numbers: Tensor,
    /// u8: 1 if everything was finite.
    taken: Tensor,
}

impl PendingStep {
    pub(crate) fn known(report: StepReport) -> Self {
        Self { report, on_device: None }
    }

    /// `numbers` are the loss, the norms of gradient and surrogate, and 1 where that was clipped; the host has them.
    pub(crate) fn on_host(report: StepReport, numbers: [&Scalar; 4]) -> Self {
        let [loss, grad_norm, surrogate_norm, clipped] = numbers.map(|x| x.host().unwrap_or(f64::NAN));
        Self::known(StepReport { loss, grad_norm, surrogate_norm, clipped: clipped == 1.0, ..report })
    }

    /// The same for numbers on the device. `moved` is as [`crate::Oracle::moved`] has it.
    pub(crate) fn on_device(
        report: StepReport,
        numbers: [&Scalar; 4],
        moved: Option<Tensor>,
        taken: Tensor,
    ) -> Result<Self> {
        let device = taken.device().clone();
        let [loss, grad_norm, norm, clipped] = numbers;
        let done = Scalar::on_device(&taken)?;
        let moved = moved.map_or(Ok(1.0.into()), |moved| Scalar::on_device(&moved))?;
        let row = [loss, grad_norm, norm, &done, clipped, &moved];
        let numbers = row.into_iter().map(|x| x.tensor(&device)).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self { report, on_device: Some(OnDevice { numbers: Tensor::stack(&numbers, 0)?, taken }) })
    }

    /// The report, if the host has it.
    pub fn report(&self) -> Option<&StepReport> {
        self.on_device.is_none().then_some(&self.report)
    }

    /// Gradient evaluations of the step, in units of the whole batch.
    pub fn evals(&self) -> f64 {
        self.report.evals
    }

    /// A flag on the device, a u8 of no dimension: 1 if the step was taken, 0 if it was skipped. `None` if the host has
    /// the report.
    pub fn taken(&self) -> Option<&Tensor> {
        self.on_device.as_ref().map(|d| &d.taken)
    }

    /// The reports, in one transfer.
    #[expect(clippy::disallowed_methods, reason = "at the log interval")]
    pub(crate) fn read(steps: Vec<Self>) -> Result<Vec<StepReport>> {
        let rows: Vec<&Tensor> = steps.iter().filter_map(|s| s.on_device.as_ref().map(|d| &d.numbers)).collect();
        let mut read = match rows.is_empty() {
            true => Vec::new(),
            false => Tensor::stack(&rows, 0)?.to_vec2::<f64>()?,
        }
        .into_iter();
        let mut reports = Vec::with_capacity(steps.len());
        for Self { mut report, on_device } in steps {
            if let Some(row) = on_device.and_then(|_| read.next()) {
                if row[3] == 1.0 {
                    (report.loss, report.grad_norm, report.surrogate_norm) = (row[0], row[1], row[2]);
                    report.clipped = row[4] == 1.0;
                    report.perturbed &= row[5] == 1.0;
                } else {
                    report.skipped = Some(reason(&row));
                    (report.perturbed, report.clipped) = (false, false);
                }
            }
            reports.push(report);
        }
        Ok(reports)
    }
}

/// Why a step was skipped, from its numbers.
fn reason(row: &[f64]) -> String {
    let places = [("loss", "at theta"), ("gradient norm", "at theta"), ("surrogate gradient norm", "after the rule")];
    match places.into_iter().zip(row).find(|(_, value)| !value.is_finite()) {
        Some(((what, place), &value)) => Error::NonFinite { what, value, place }.to_string(),
        None => "a loss or gradient norm is not finite at the perturbed parameters".into(),
    }
}

/// A flag, u8 of no dimension, that is 1 if all numbers are finite; `None` where the host knows that they are.
pub(crate) fn taken(numbers: [&Scalar; 3], unread: &[Tensor], device: &Device) -> Result<Option<Tensor>> {
    if numbers.iter().all(|x| x.host().is_some()) {
        return Ok(None);
    }
    // x times 0 is 0 for finite x alone
    let mut zeros = Tensor::new(0f64, device)?;
    for x in numbers {
        zeros = (zeros + x.tensor(device)?.affine(0.0, 0.0)?)?;
    }
    for x in unread {
        zeros = (zeros + x.affine(0.0, 0.0)?)?;
    }
    Ok(Some(zeros.eq(0f64)?))
}

/// What an update changes, as it was before: the device puts it back if the step turns out to be skipped.
pub(crate) struct Undo {
    taken: Tensor,
    theta: Tensor,
    base: Snapshot,
    rule: Snapshot,
}

impl Undo {
    /// Of an update that comes next; `theta` are the parameters, where a copy of them is there already.
    pub(crate) fn new(
        taken: Tensor,
        params: &Params,
        theta: Option<&ParamVec>,
        base: &mut dyn BaseOptimizer,
        rule: Snapshot,
    ) -> Result<Self> {
        let theta = match theta {
            Some(theta) => theta.as_tensor().clone(),
            None => params.read()?.as_tensor().clone(),
        };
        Ok(Self { taken, theta, base: Snapshot::of(base)?, rule })
    }

    /// Keeps the parameters as they are, or puts them back.
    pub(crate) fn params(&self, params: &Params) -> Result<()> {
        Ok(params.write(&chosen(&self.taken, &params.read()?, &self.theta)?)?)
    }

    /// Keeps the states of base and rule, or puts them back; returns the flag.
    pub(crate) fn state(self, base: &mut dyn BaseOptimizer, rule: &mut dyn GradientRule) -> Result<Tensor> {
        self.base.keep_or_restore(&self.taken, base)?;
        self.rule.keep_or_restore(&self.taken, rule)?;
        Ok(self.taken)
    }
}

/// `new` where the flag is set, otherwise `old`.
fn chosen(flag: &Tensor, new: &ParamVec, old: &Tensor) -> Result<ParamVec> {
    let new_flat = new.as_tensor();
    let flat = flag.broadcast_as(new_flat.shape())?.where_cond(new_flat, old)?;
    Ok(ParamVec::from_tensor(new.layout().clone(), flat)?)
}

/// Copies of the vectors of a state, in the order of the traversal.
#[derive(Debug, Default)]
pub(crate) struct Snapshot(Vec<Tensor>);

impl Snapshot {
    pub(crate) fn of(state: &mut dyn Stateful) -> Result<Self> {
        let mut copies = Self::default();
        state.visit(&mut copies)?;
        Ok(copies)
    }

    /// Keeps the vectors as they are where the flag is set, otherwise puts the copies back.
    pub(crate) fn keep_or_restore(self, flag: &Tensor, state: &mut dyn Stateful) -> Result<()> {
        state.visit(&mut Choice { flag, copies: self.0.into_iter() })
    }
}

impl StateVisitor for Snapshot {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> Result<()> {
        self.0.push(value.as_tensor().copy()?);
        Ok(())
    }
    fn count(&mut self, _: &str, _: &mut u64) -> Result<()> {
        Ok(())
    }
    fn number(&mut self, _: &str, _: &mut f64) -> Result<()> {
        Ok(())
    }
}

struct Choice<'a> {
    flag: &'a Tensor,
    copies: std::vec::IntoIter<Tensor>,
}

impl StateVisitor for Choice<'_> {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> Result<()> {
        if let Some(old) = self.copies.next() {
            *value = chosen(self.flag, value, &old)?;
        }
        Ok(())
    }
    fn count(&mut self, _: &str, _: &mut u64) -> Result<()> {
        Ok(())
    }
    fn number(&mut self, _: &str, _: &mut f64) -> Result<()> {
        Ok(())
    }
}
