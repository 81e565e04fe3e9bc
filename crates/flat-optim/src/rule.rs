//! Gradient rules: from a few gradients near theta to one surrogate gradient.

#[macro_use]
mod define;
#[macro_use]
mod projection;
mod context;
mod gate;
mod spec;

pub use context::{Ctx, Known};
use define::{Piece, Spare};
pub use gate::Gate;
pub use projection::{Project, Projection};
pub use spec::{RuleKind, RuleSpec, parse_optimizer};

use crate::{Need, Oracle, Result, Sample, Scalar, Stateful, Then};
use flat_core::{ParamVec, Space};

/// One line a rule: its file and its type.
macro_rules! rules {
    ($($file:ident::$rule:ident),* $(,)?) => {
        $(mod $file; pub use $file::*;)*

        /// Every rule of this crate.
        pub const RULES: &[RuleSpec] = &[$($rule::SPEC),*];
    };
}
rules![
    plain::Plain,
    sam::Sam,
    rsp::Rsp,
    sap::Sap,
    nso::Nso,
    usam::Usam,
    asam::Asam,
    gsam::Gsam,
    looksam::LookSam,
    msam::Msam,
    fsam::Fsam,
    vasso::Vasso,
    wsam::Wsam,
    gnp::Gnp,
    stablesam::StableSam,
    aesam::AeSam,
    bsam::Bsam,
    lpf::Lpf,
    dom_sgd::DomSgd,
    bulk_sgd::BulkSgd,
    esam::Esam,
    entropy_sgd::EntropySgd,
    gerne::Gerne,
];

/// What errors say of a rule. For a rule of the table it follows from its settings.
pub trait Described {
    /// The name that a user types.
    fn name(&self) -> &'static str;

    /// Refuses options that make no sense; called once, before the first step.
    ///
    /// # Errors
    /// [`crate::Error::BadSetting`] naming the option.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A rule that turns gradient evaluations near theta into the surrogate gradient of one step.
///
/// A rule sees parameter space only through the [`Oracle`] and [`ParamVec`]s. A rule with state of its own must change
/// it only after its last evaluation has succeeded: a step that fails or is skipped leaves the state alone. Where the
/// numbers of a step are left on the device, its vectors are put back there if the step turns out to be skipped.
pub trait GradientRule: Described + Stateful + Send {
    /// Gradient evaluations of the next perturbed step on a batch of `rows` examples, in units of the whole batch.
    fn evals_per_step(&self, rows: usize) -> f64;

    /// Gradient evaluations of a perturbed step in the mean over many.
    fn mean_evals(&self, rows: usize) -> f64 {
        self.evals_per_step(rows)
    }

    /// Gradient evaluations of its cheapest step, where the data decide what a step costs; otherwise those in the mean.
    fn least_evals(&self, rows: usize) -> f64 {
        self.mean_evals(rows)
    }

    /// What it needs beside gradients of the step's batch; an optimizer without is refused, or its first step.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Batches of the data that its next step sees, the step's own and further ones; the data moves on by as many.
    fn batches(&self) -> u32 {
        1
    }

    /// Makes the vectors of its state; called once, before the first step and before a state is loaded.
    ///
    /// # Errors
    /// candle's.
    fn begin(&mut self, _space: &Space) -> Result<()> {
        Ok(())
    }

    /// Whether a step leaves nothing behind for the next, so that it may run on each part of a batch.
    fn memoryless(&self) -> bool {
        false
    }

    /// Whether a scheduled radius of 0 makes a step plain.
    fn plain_at_zero_radius(&self) -> bool {
        true
    }

    /// Whether it evaluates beside theta alone, so that BatchNorm's running statistics are not theta's and are to be found anew
    /// before an evaluation.
    fn lags_statistics(&self) -> bool {
        false
    }

    /// Whether the base optimizer forgets its state before it takes the step of this index.
    fn resets_base(&self, _step: u64) -> bool {
        false
    }

    /// Whether it is a whole optimizer: of the base it takes the learning rate alone.
    fn replaces_base(&self) -> bool {
        false
    }

    /// The perturbation radius over `dim` perturbed parameters, before scheduling: rho, or sigma for a Gaussian; 0 for a
    /// rule that has none. Where the schedule takes a radius to 0, the optimizer takes a plain step without asking the rule.
    fn radius(&self, dim: usize) -> f64;

    /// The surrogate gradient at the oracle's theta.
    ///
    /// # Errors
    /// Whatever an evaluation returns, to be passed on.
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate>;
}

impl<R: GradientRule + 'static> From<R> for Box<dyn GradientRule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

/// The result of a rule: a surrogate gradient, and how it is used.
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
    /// What becomes of it.
    pub then: Then,
}

impl Estimate {
    /// The plain gradient.
    pub fn plain(at_theta: Sample) -> Self {
        Self {
            loss: at_theta.loss,
            grad_norm: at_theta.norm,
            grad: at_theta.grad,
            perturbed: false,
            lr: None,
            then: Then::Base,
        }
    }

    /// A surrogate in place of the gradient at theta.
    pub fn perturbed(at_theta: &Sample, surrogate: ParamVec) -> Self {
        Self::of(at_theta.loss.clone(), at_theta.norm.clone(), surrogate)
    }

    /// The gradient at the ascended point, where there is one, in place of the gradient at theta.
    pub fn ascended(at_theta: Sample, ascended: Option<Sample>) -> Self {
        match ascended {
            Some(ascended) => Self::perturbed(&at_theta, ascended.grad),
            None => Self::plain(at_theta),
        }
    }

    /// A surrogate with the loss and the norm that are reported of the step.
    pub fn of(loss: Scalar, grad_norm: Scalar, surrogate: ParamVec) -> Self {
        Self { loss, grad_norm, grad: surrogate, perturbed: true, lr: None, then: Then::Base }
    }

    /// The same with a learning rate of its own (`None`: the schedule's).
    pub fn with_lr(self, lr: Option<f64>) -> Self {
        Self { lr, ..self }
    }

    /// The same with something else than the base to take it.
    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn scaled(mut self, weight: f64) -> Result<Self> {
        self.grad.scale(weight)?;
        if let Then::And(direct) = &mut self.then {
            direct.scale(weight)?;
        }
        self.loss = self.loss.times(weight)?;
        self.grad_norm = self.grad_norm.times(weight)?;
        Ok(self)
    }

    pub(crate) fn add(&mut self, weight: f64, other: Self) -> Result<()> {
        self.grad.add_scaled(weight, &other.grad)?;
        match (&mut self.then, other.then) {
            (Then::And(direct), Then::And(other)) => direct.add_scaled(weight, &other)?,
            // the part so far was plain
            (then @ Then::Base, Then::And(mut other)) => {
                other.scale(weight)?;
                *then = Then::And(other);
            }
            _ => {}
        }
        self.loss = self.loss.plus(&other.loss.times(weight)?)?;
        self.grad_norm = self.grad_norm.plus(&other.grad_norm.times(weight)?)?;
        self.perturbed |= other.perturbed;
        if self.lr != other.lr {
            self.lr = None;
        }
        Ok(())
    }
}
