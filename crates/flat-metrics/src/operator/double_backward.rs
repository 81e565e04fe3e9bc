//! Hessian-vector products by double backward: differentiating the gradient.

mod thread;

pub use thread::DoubleBackwardThread;

use super::curvature::{BatchProduct, Curvature};
use crate::objective::{Objective, check_determinism, gradient_or_zero, scalar};
use crate::{Error, Result};
use flat_core::ParamVec;

/// The exact Hessian of any objective made of twice differentiable candle operations: `H v = grad <grad L, v>` with two
/// backward passes (Pearlmutter 1994).
///
/// Needs the loss alone, but keeps the graph of the gradient: 2 to 3.4 gradient evaluations a product (more where
/// memory is tight), and several times the memory of one. It runs on the [`DoubleBackwardThread`]. candle's own `max_pool2d` and
/// `upsample_nearest2d` have wrong first derivatives, so their second ones are wrong as well; a custom operation is
/// right if its backward is itself made of differentiable operations.
pub type DoubleBackwardHessian<'a, O> = Curvature<'a, O, ReverseOverReverse>;

/// The matrix of [`DoubleBackwardHessian`].
#[derive(Debug, Clone, Copy)]
pub struct ReverseOverReverse {
    thread: &'static DoubleBackwardThread,
}

impl<'a, O: Objective + Sync + ?Sized> Curvature<'a, O, ReverseOverReverse> {
    /// The Hessian at the present parameters; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// [`Error::DoubleBackward`] where the [`DoubleBackwardThread`] is not running and cannot be started; those of
    /// [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        let operator = Self::unchecked(objective)?;
        check_determinism(objective)?;
        Ok(operator)
    }

    /// As [`Self::new`], without the check and its cost.
    ///
    /// # Errors
    /// [`Error::DoubleBackward`].
    pub fn unchecked(objective: &'a O) -> Result<Self> {
        Ok(Self::of_unchecked(objective, ReverseOverReverse { thread: DoubleBackwardThread::start()? }))
    }
}

impl<O: Objective + Sync + ?Sized> BatchProduct<O> for ReverseOverReverse {
    fn name(&self) -> String {
        "hessian (double backward)".into()
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        // each thread has a stream of its own on a device: what it queued is done before the other goes on from it
        let device = &objective.params().space().device;
        device.synchronize()?;
        self.thread.run(|| {
            let products = directions.iter().map(|v| gradient_of_slope(objective, i, v)).collect();
            device.synchronize()?;
            products
        })?
    }
}

/// The gradient of `<grad loss(i), v>`; on the thread that keeps gradients' graphs.
fn gradient_of_slope<O: Objective + ?Sized>(objective: &O, i: usize, v: &ParamVec) -> Result<ParamVec> {
    let params = objective.params();
    let loss = objective.loss(i)?;
    scalar(&loss, i, "loss")?;
    let grads = loss.backward()?;
    let mut along = None;
    for (k, (var, entry)) in params.vars().iter().zip(params.layout().entries()).enumerate() {
        let Some(g) = grads.get(var.as_tensor()) else {
            return Err(flat_core::Error::MissingGradient { name: entry.name.clone() }.into());
        };
        let term = (g * v.entry(k)?)?.sum_all()?;
        along = Some(match along {
            None => term,
            Some(sum) => (sum + term)?,
        });
    }
    let Some(along) = along else { return Err(Error::BadObjective("there is no parameter".into())) };
    gradient_or_zero(params, &along.backward()?)
}
