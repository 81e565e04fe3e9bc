//! Steps that were taken, as reports, and asynchronous steps. In an asynchronous step the device itself checks that
//! loss and gradient are finite and rolls the update back if they are not. The host does not wait.

use crate::{Error, Result, Scalar};
use candle_core::Tensor;
use flat_core::Params;

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
    on_device: Option<Decided>,
}

/// What the device itself finds out about a step.
#[derive(Debug)]
pub(crate) struct Decided {
    /// Loss, norm of the gradient, norm of the surrogate, whether the step was taken, whether it was clipped, whether a
    /// displacement had a length; f64.
    numbers: Tensor,
    /// u8 of no dimension: 1 if everything was finite.
    taken: Tensor,
}

impl Decided {
    /// Of the loss, the norms of gradient and surrogate, and what else must be finite. `clipped` is 1 where the surrogate was,
    /// `moved` as [`crate::Oracle::moved`] has it.
    pub(crate) fn new(
        numbers: [&Scalar; 3],
        unread: &[Scalar],
        (clipped, moved): (Scalar, Option<Scalar>),
        params: &Params,
    ) -> Result<Self> {
        let all: Vec<&Scalar> = numbers.into_iter().chain(unread).collect();
        let done = Scalar::all_finite(&all)?;
        let ([loss, grad_norm, norm], moved) = (numbers, moved.unwrap_or(1.0.into()));
        let row = [loss, grad_norm, norm, &done, &clipped, &moved];
        let (numbers, taken) = Scalar::together(&row, &done, &params.space().device)?;
        Ok(Self { numbers, taken })
    }

    /// The flag.
    pub(crate) fn taken(&self) -> &Tensor {
        &self.taken
    }
}

impl PendingStep {
    /// A step whose numbers the host has already, such as one put together from the steps of several optimizers.
    pub fn known(report: StepReport) -> Self {
        Self { report, on_device: None }
    }

    /// `numbers` are the loss, the norms of gradient and surrogate, and 1 where that was clipped; the host has them.
    pub(crate) fn on_host(report: StepReport, numbers: [&Scalar; 4]) -> Self {
        let [loss, grad_norm, surrogate_norm, clipped] = numbers.map(|x| x.host().unwrap_or(f64::NAN));
        Self::known(StepReport { loss, grad_norm, surrogate_norm, clipped: clipped == 1.0, ..report })
    }

    /// The same for numbers on the device.
    pub(crate) fn on_device(report: StepReport, decided: Decided) -> Self {
        Self { report, on_device: Some(decided) }
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
