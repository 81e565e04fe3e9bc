//! Hessian-vector products by differentiating the gradient.

use crate::gradient::{finite, gradient_or_zero, scalar};
use crate::operator::stream;
use crate::{Error, LinearOperator, Objective, Origin, Product, Result, TapeThread, Watch, check_determinism};
use flat_core::{ParamVec, Space};

/// The exact Hessian of any objective made of twice differentiable candle operations: `H v = grad <grad L, v>` with two
/// backward passes (Pearlmutter 1994).
///
/// Needs the loss alone, but keeps the graph of the gradient: 2 to 3.4 gradient evaluations a product (more where
/// memory is tight), and several times the memory of one. It runs on the [`TapeThread`]. candle's own `max_pool2d` and
/// `upsample_nearest2d` have wrong first derivatives, so their second ones are wrong as well; a custom operation is
/// right if its backward is itself made of differentiable operations.
#[derive(Debug)]
pub struct DoubleBackwardHessian<'a, O: ?Sized> {
    objective: &'a O,
    tape: &'static TapeThread,
    matvecs: u64,
}

impl<'a, O: Objective + Sync + ?Sized> DoubleBackwardHessian<'a, O> {
    /// The Hessian at the present parameters; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// [`Error::Tape`] where the [`TapeThread`] is not running and cannot be started; those of [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        let operator = Self::unchecked(objective)?;
        check_determinism(objective)?;
        Ok(operator)
    }

    /// As [`Self::new`], without the check and its cost.
    ///
    /// # Errors
    /// [`Error::Tape`].
    pub fn unchecked(objective: &'a O) -> Result<Self> {
        Ok(Self { objective, tape: TapeThread::start()?, matvecs: 0 })
    }
}

/// `H v` of one batch; on the tape thread.
fn product<O: Objective + ?Sized>(objective: &O, i: usize, v: &ParamVec) -> Result<ParamVec> {
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
    let hv = gradient_or_zero(params, &along.backward()?)?;
    finite(&hv, i, "Hessian-vector product")?;
    Ok(hv)
}

impl<O: Objective + Sync + ?Sized> LinearOperator for DoubleBackwardHessian<'_, O> {
    fn space(&self) -> &Space {
        self.objective.params().space()
    }

    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec> {
        Ok(self.apply_by_batch(v, watch)?.product)
    }

    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        let objective = self.objective;
        let out = stream(objective, v, watch, |i| self.tape.run(|| product(objective, i, v))?)?;
        self.matvecs += 1;
        Ok(out)
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn origin(&self) -> Origin {
        Origin::of("hessian (double backward)", self.objective)
    }
}
