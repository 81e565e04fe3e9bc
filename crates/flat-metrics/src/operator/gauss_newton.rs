//! The generalised Gauss-Newton matrix.

use super::curvature::{BatchProduct, Curvature};
use crate::Result;
use crate::objective::{AT_ONCE, Objective, forms_of, products_of};
use flat_core::ParamVec;

/// The generalised Gauss-Newton matrix (Schraudolph 2002, "Fast Curvature Matrix-Vector Products for Second-Order Gradient
/// Descent").
///
/// ```text
/// G = (1/n) sum_i J_i^T H_i J_i
/// ```
///
/// J_i is the derivative of an example's logits in the
/// parameters, H_i the second derivative of its loss in its logits. H_i is `diag(p) - p p^T` for the cross entropy
/// and `2/C` times the identity for the squared loss.
///
/// It is the part of the Hessian that remains where the model is linear in its parameters, it is positive semi-definite,
/// and for both losses it is the Fisher information of the model ([`crate::Fisher`]). For
/// piecewise linear networks its trace and the Hessian's agree in all blocks of a single layer's weights.
///
/// A product is one forward pass with tangents, which gives `J v` of all examples of a batch, arithmetic on the logits,
/// and one backward pass from them: 1.5 gradient evaluations of the data set for a multilayer perceptron and LeNet, 1.7 for
/// ResNet-20, on a CPU and in constant memory. A quadratic form needs no backward pass: 0.8 to 1.0 gradients.
/// Four products, or four forms, at once share the pass of the values.
pub type GaussNewton<'a, O> = Curvature<'a, O, OutputCurvature>;

/// The matrix of [`GaussNewton`].
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputCurvature;

impl<O: Objective + ?Sized> BatchProduct<O> for OutputCurvature {
    const HAS_FORM: bool = true;
    const AT_ONCE: usize = AT_ONCE;

    fn name(&self) -> String {
        "generalised Gauss-Newton".into()
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        products_of(objective, i, directions, |rows| rows.curved())
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        forms_of(objective, i, directions, |rows| rows.curved())
    }
}
