//! Steps whose numbers are still on the device: what they did is kept or undone there, without a read.

use crate::{Error, Estimate, Result, StateVisitor, Stateful, StepReport};
use candle_core::{Device, Tensor};
use flat_core::{ParamVec, Params};

/// A step that was taken, with numbers that may still be on the device; [`crate::Optimizer::read`] makes reports of
/// many at once, with one round trip.
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

    /// `report` lacks the numbers.
    pub(crate) fn on_device(report: StepReport, numbers: &[Tensor; 5], taken: Tensor) -> Result<Self> {
        let [loss, grad_norm, norm, clipped, moved] = numbers;
        let done = taken.to_dtype(candle_core::DType::F64)?;
        let numbers = Tensor::stack(&[loss, grad_norm, norm, &done, clipped, moved], 0)?;
        Ok(Self { report, on_device: Some(OnDevice { numbers, taken }) })
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
    pub(crate) fn read(steps: Vec<Self>) -> Result<Vec<StepReport>> {
        let rows: Vec<&Tensor> = steps.iter().filter_map(|s| s.on_device.as_ref().map(|d| &d.numbers)).collect();
        let mut read = match rows.is_empty() {
            true => Vec::new(),
            false => Tensor::stack(&rows, 0)?.to_vec2::<f64>()?, // host read: log interval
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

/// A flag, u8 of no dimension, that is 1 if all numbers are finite.
pub(crate) fn all_finite(numbers: &[&Tensor], device: &Device) -> Result<Tensor> {
    // x times 0 is 0 for finite x alone
    let mut zeros = Tensor::new(0f64, device)?;
    for x in numbers {
        zeros = (zeros + x.affine(0.0, 0.0)?)?;
    }
    Ok(zeros.eq(0f64)?)
}

/// The numbers of an estimate, as tensors.
pub(crate) fn numbers(estimate: &Estimate, norm: &crate::Scalar, device: &Device) -> Result<[Tensor; 3]> {
    Ok([estimate.loss.tensor(device)?, estimate.grad_norm.tensor(device)?, norm.tensor(device)?])
}

/// `new` where the flag is set, otherwise `old`.
pub(crate) fn chosen(flag: &Tensor, new: &ParamVec, old: &Tensor) -> Result<ParamVec> {
    let new_flat = new.as_tensor();
    let flat = flag.broadcast_as(new_flat.shape())?.where_cond(new_flat, old)?;
    Ok(ParamVec::from_tensor(new.layout().clone(), flat)?)
}

/// Keeps what the variables hold where the flag is set, otherwise sets them to `theta`.
pub(crate) fn keep_or_restore(params: &Params, flag: &Tensor, theta: &ParamVec) -> Result<()> {
    Ok(params.write(&chosen(flag, &params.read()?, theta.as_tensor())?)?)
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
