//! Gradient rules: from a few gradients near theta to one surrogate gradient.

mod config;
mod nso;
mod plain;
mod rsp;
mod sam;
mod sap;

pub use config::{RuleConfig, RuleKind, parse_optimizer};
pub use nso::{Nso, NsoConfig};
pub use plain::Plain;
pub use rsp::{Rsp, RspConfig};
pub use sam::{Sam, SamConfig};
pub use sap::{Direction, Sap, SapConfig, Sign};

use crate::{Oracle, Result, Sample, Scalar, Stateful, scalar};
use flat_core::{ParamVec, Purpose, Space, Stream, Streams};

/// How one step turns gradient evaluations into a surrogate gradient.
///
/// A rule sees parameter space only through the [`Oracle`] and [`ParamVec`]s. A rule with state of its own must change
/// it only after its last evaluation has succeeded: a step that fails or is skipped leaves the state alone. Where the
/// numbers of a step are left on the device, its vectors are put back there if the step turns out to be skipped.
pub trait GradientRule: Stateful + Send {
    /// Name, as in [`RuleKind`].
    fn name(&self) -> &'static str;

    /// Gradient evaluations of a perturbed step on a batch of `rows` examples, in units of the whole batch.
    fn evals_per_step(&self, rows: usize) -> f64;

    /// The perturbation radius over `dim` perturbed parameters, before scheduling: rho, or sigma for a Gaussian; 0 for a
    /// rule that has none. Where the schedule takes a radius to 0, the optimizer takes a plain step without asking the rule.
    fn radius(&self, dim: usize) -> f64;

    /// The surrogate gradient at the oracle's theta.
    ///
    /// # Errors
    /// Whatever an evaluation returns, to be passed on.
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate>;
}

/// What a rule knows of the present step besides the oracle.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// Index of the step, from 0; part of the key of every draw.
    pub step: u64,
    /// Scheduled perturbation radius: rho, or sigma for a Gaussian. Above 0 for every rule that has a radius.
    pub rho: f64,
    /// Scheduled learning rate.
    pub lr: f64,
    /// The learning rate that its schedule starts from.
    lr_start: f64,
    streams: Streams,
    space: &'a Space,
    mask: Option<&'a ParamVec>,
}

impl<'a> Ctx<'a> {
    /// The context of step `step` at a constant learning rate. `mask` as in [`Oracle::new`].
    pub fn new(step: u64, rho: f64, lr: f64, streams: Streams, space: &'a Space, mask: Option<&'a ParamVec>) -> Self {
        Self { step, rho, lr, lr_start: lr, streams, space, mask }
    }

    /// The same for a schedule of the learning rate that starts from `lr_start`.
    #[must_use]
    pub fn started_from(self, lr_start: f64) -> Self {
        Self { lr_start, ..self }
    }

    /// The learning rate of this step, had its schedule started from `lr`.
    pub fn lr_from(&self, lr: f64) -> f64 {
        self.lr * (lr / self.lr_start)
    }

    /// The stream of this step for a purpose.
    pub fn stream(&self, purpose: Purpose) -> Stream {
        self.streams.at(purpose, self.step)
    }

    /// Uniform on the unit sphere of all perturbed parameters together.
    ///
    /// # Errors
    /// candle's.
    pub fn sphere(&self) -> Result<ParamVec> {
        let stream = self.stream(Purpose::Perturb);
        let Some(mask) = self.mask else { return Ok(ParamVec::sphere(self.space, &stream)?) };
        let mut u = ParamVec::gaussian(self.space, 1.0, &stream)?.hadamard(mask)?;
        if !self.space.device.is_cpu() {
            let norm = u.dot_tensor(&u)?.sqrt()?;
            return scalar::scaled(&u, &scalar::or_zero(&norm.gt(0.0)?, &norm.recip()?)?);
        }
        let norm = u.norm()?; // host read: on the CPU
        if norm > 0.0 {
            u.scale(1.0 / norm)?;
        }
        Ok(u)
    }

    /// The `index`-th draw of N(0, I) of this step.
    ///
    /// # Errors
    /// candle's.
    pub fn gaussian(&self, index: u64) -> Result<ParamVec> {
        Ok(ParamVec::gaussian(self.space, 1.0, &self.streams.at2(Purpose::Perturb, self.step, index))?)
    }
}

/// What a rule returns.
#[derive(Debug)]
pub struct Estimate {
    /// The surrogate gradient, to be given to the base optimizer.
    pub grad: ParamVec,
    /// Mean loss at theta (for a rule that does not evaluate there: at the points it evaluates).
    pub loss: Scalar,
    /// Norm of the gradient at theta (for a rule that does not evaluate there: of the surrogate).
    pub grad_norm: Scalar,
    /// Whether the surrogate differs from the plain gradient.
    pub perturbed: bool,
    /// Learning rate of this step, where the rule wants another one than the schedule's.
    pub lr: Option<f64>,
}

impl Estimate {
    /// The plain gradient.
    pub fn plain(at_theta: Sample) -> Self {
        Self { loss: at_theta.loss, grad_norm: at_theta.norm, grad: at_theta.grad, perturbed: false, lr: None }
    }

    /// A surrogate in place of the gradient at theta.
    pub fn perturbed(at_theta: &Sample, surrogate: ParamVec) -> Self {
        let (loss, grad_norm) = (at_theta.loss.clone(), at_theta.norm.clone());
        Self { loss, grad_norm, grad: surrogate, perturbed: true, lr: None }
    }

    /// The same with a learning rate of its own (`None`: the schedule's).
    pub fn with_lr(self, lr: Option<f64>) -> Self {
        Self { lr, ..self }
    }

    pub(crate) fn scaled(mut self, weight: f64) -> Result<Self> {
        self.grad.scale(weight)?;
        self.loss = self.loss.times(weight)?;
        self.grad_norm = self.grad_norm.times(weight)?;
        Ok(self)
    }

    pub(crate) fn add(&mut self, weight: f64, other: &Self) -> Result<()> {
        self.grad.add_scaled(weight, &other.grad)?;
        self.loss = self.loss.plus(&other.loss.times(weight)?)?;
        self.grad_norm = self.grad_norm.plus(&other.grad_norm.times(weight)?)?;
        self.perturbed |= other.perturbed;
        Ok(())
    }
}
