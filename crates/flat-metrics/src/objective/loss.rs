//! The loss over a data set, as a weighted sum of batch losses.

use super::outputs::{Outputs, WayBack};
use super::tensor::{gradient_or_zero, scalar};
use crate::measured::Provenance;
use crate::{Error, Result};
use candle_core::Tensor;
use flat_core::{ParamVec, Params};

/// The function whose curvature is measured: `L(theta) = sum_i weight(i) loss(i)` over the batches of a data set.
///
/// Operators visit the batches one after the other and keep nothing of them, so memory does not grow with the data.
/// The value must depend on the parameters alone: no dropout, no augmentation, no moving BatchNorm statistics (every
/// operator checks this when it is made, see [`crate::check_determinism`]).
pub trait Objective {
    /// The trainable variables that the loss is differentiated by.
    fn params(&self) -> &Params;

    /// Number of batches.
    fn batches(&self) -> usize;

    /// Weight of batch `i`: its fraction of the examples, so that the weights sum to 1 and `L` is the mean loss an
    /// example.
    fn weight(&self, i: usize) -> f64;

    /// The group of examples that batch `i` is a part of: for the error from the choice of examples, groups are independent
    /// clusters. The default takes each batch for one, so that the error's degrees of freedom follow the batch size.
    fn group(&self, i: usize) -> usize {
        i
    }

    /// Number of examples in all batches.
    fn examples(&self) -> usize;

    /// Mean loss of batch `i`: one element, with its graph.
    ///
    /// # Errors
    /// Whatever the model or the data source reports.
    fn loss(&self, i: usize) -> Result<Tensor>;

    /// Directional derivative `<grad loss(i), v>` of batch `i` along `v`: one element, with its graph, so that its
    /// gradient is the Hessian-vector product.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the objective can carry tangents.
    fn loss_tangent(&self, i: usize, v: &ParamVec) -> Result<Tensor> {
        let _ = (i, v);
        Err(Error::Unsupported {
            what: "the directional derivative of this objective",
            remedy: "use DoubleBackwardHessian or DifferenceHessian, which need the loss alone",
        })
    }

    /// Mean loss of batch `i` and its gradient. The default calls [`Self::loss`] and candle's `backward`; an objective that
    /// knows a faster way overrides it.
    ///
    /// # Errors
    /// A loss that is not one finite number, or does not depend on some parameter; the objective's own.
    fn loss_and_gradient(&self, i: usize) -> Result<(f64, ParamVec)> {
        let loss = self.loss(i)?;
        let value = scalar(&loss, i, "loss")?;
        Ok((value, self.params().gradient(&loss.backward()?)?))
    }

    /// The product of batch `i`'s Hessian with `v`. The default is the gradient of [`Self::loss_tangent`]; an objective
    /// that knows a faster way overrides it.
    ///
    /// # Errors
    /// As [`Self::loss_tangent`].
    fn hessian_product(&self, i: usize, v: &ParamVec) -> Result<ParamVec> {
        let along = self.loss_tangent(i, v)?;
        scalar(&along, i, "directional derivative")?;
        gradient_or_zero(self.params(), &along.backward()?)
    }

    /// The products of batch `i`'s Hessian with several directions. The default takes one after the other; an objective whose
    /// products share work overrides it.
    ///
    /// # Errors
    /// As [`Self::hessian_product`].
    fn hessian_products(&self, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        directions.iter().map(|v| self.hessian_product(i, v)).collect()
    }

    /// `<v, H_i v>` with batch `i`'s Hessian for each direction v. The default takes the products; an objective that needs no
    /// backward pass for it overrides it.
    ///
    /// # Errors
    /// As [`Self::hessian_product`].
    fn hessian_forms(&self, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        directions.iter().map(|v| Ok(v.dot(&self.hessian_product(i, v)?)?)).collect()
    }

    /// Logits of batch `i`, their derivative along each direction, and what the loss makes of them: what quadratic forms of
    /// the Gauss-Newton family ([`crate::GaussNewton`], [`crate::EmpiricalFisher`], [`crate::MonteCarloFisher`]) need. The
    /// logits have their graph, unless [`Self::outputs_and_way_back`] is overridden too.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the objective is a loss of logits that carry tangents.
    fn outputs(&self, i: usize, directions: &[&ParamVec]) -> Result<Vec<Outputs>> {
        let _ = (i, directions);
        Err(Error::Unsupported {
            what: "the derivative of this objective's logits",
            remedy: "use ModelObjective, or give a ClosureObjective its logits by `with_outputs`",
        })
    }

    /// The same with the way back from the logits, which products of the Gauss-Newton family need. The default is candle's
    /// backward pass; an objective that knows a faster way overrides it.
    ///
    /// # Errors
    /// As [`Self::outputs`].
    fn outputs_and_way_back(&self, i: usize, directions: &[&ParamVec]) -> Result<(Vec<Outputs>, WayBack<'_>)> {
        let outputs = self.outputs(i, directions)?;
        let logits: Vec<Tensor> = outputs.iter().map(|of| of.logits.clone()).collect();
        let way = move |(z, c): (&Tensor, &Tensor)| gradient_or_zero(self.params(), &(z * c)?.sum_all()?.backward()?);
        Ok((outputs, Box::new(move |all| logits.iter().zip(all).map(way).collect())))
    }

    /// State that evaluating the loss must leave alone, such as BatchNorm running statistics, with names. The
    /// determinism check compares it before and after an evaluation.
    fn buffers(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// How BatchNorm was evaluated, for the report; `None` where unknown or not applicable.
    fn bn_mode(&self) -> Option<&'static str> {
        None
    }
}

/// What is measured on an objective, by an operator or without one.
pub(crate) fn provenance<O: Objective + ?Sized>(objective: &O, operator: Option<String>) -> Provenance {
    let space = objective.params().space();
    Provenance {
        operator,
        dim: space.layout.len(),
        examples: Some(objective.examples()),
        batches: Some(objective.batches()),
        bn_mode: objective.bn_mode().map(Into::into),
        dtype: space.dtype.as_str().into(),
    }
}
