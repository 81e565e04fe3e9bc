//! The generalised Gauss-Newton matrix.

use crate::{Form, LinearOperator, Objective, Origin, Product, Result, Watch, check_determinism, outputs};
use flat_core::{ParamVec, Space};

/// The generalised Gauss-Newton matrix `G = (1/n) sum_i J_i^T H_i J_i` (Schraudolph 2002, "Fast Curvature Matrix-Vector
/// Products for Second-Order Gradient Descent"): J_i the derivative of an example's logits in the parameters, H_i the
/// second derivative of its loss in its logits, `diag(p) - p p^T` for the cross entropy and `2/C` times the identity for
/// the squared loss.
///
/// It is the part of the Hessian that remains where the model is linear in its parameters, it is positive semi-definite,
/// and for both losses it is the Fisher information of the model ([`crate::Fisher`]). For
/// piecewise linear networks its trace and the Hessian's agree in all blocks of a single layer's weights.
///
/// A product is one forward pass with tangents, which gives `J v` of all examples of a batch, arithmetic on the logits,
/// and one backward pass from them: about 1.4 gradient evaluations of the data set, in constant memory. A quadratic form
/// needs no backward pass.
#[derive(Debug)]
pub struct GaussNewton<'a, O: ?Sized> {
    objective: &'a O,
    matvecs: u64,
}

impl<'a, O: Objective + ?Sized> GaussNewton<'a, O> {
    /// The matrix at the present parameters; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        check_determinism(objective)?;
        Ok(Self::unchecked(objective))
    }

    /// As [`Self::new`], without the check and its cost.
    pub fn unchecked(objective: &'a O) -> Self {
        Self { objective, matvecs: 0 }
    }
}

impl<O: Objective + ?Sized> LinearOperator for GaussNewton<'_, O> {
    fn space(&self) -> &Space {
        self.objective.params().space()
    }

    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec> {
        Ok(self.apply_by_batch(v, watch)?.product)
    }

    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        let out = outputs::product(self.objective, v, watch, |_, rows| rows.curved())?;
        self.matvecs += 1;
        Ok(out)
    }

    fn form(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Form> {
        let out = outputs::form(self.objective, v, watch, |_, rows| rows.curved())?;
        self.matvecs += 1;
        Ok(out)
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn origin(&self) -> Origin {
        Origin::of("generalised Gauss-Newton", self.objective)
    }
}
