//! Hessian-vector products by reverse over forward differentiation.

use super::curvature::{BatchProduct, Curvature};
use crate::Result;
use crate::objective::Objective;
use flat_core::ParamVec;

/// The exact Hessian of an objective that carries tangents: `H v = grad <grad L, v>`.
///
/// The forward pass carries (value, derivative along v) through the layers; the derivative of the loss is then an
/// ordinary expression, and one backward pass over it gives `H v` (Pearlmutter 1994, "Fast Exact Multiplication by the
/// Hessian", with the order of the two differentiations exchanged). It needs first derivatives of the layers'
/// value-and-tangent expressions alone: no switch, no graph of a graph. Cost a product of a `flat-nn` model on a CPU: 1.6
/// gradient evaluations of the data set for a multilayer perceptron, 2.4 for LeNet, 2.6 for ResNet-20.
///
/// A quadratic form of a [`crate::ModelObjective`] needs no backward pass: second derivatives along v are carried forward
/// ([`flat_nn::Model::hessian_form`]). It costs 1.0 gradients for these perceptron and LeNet, 1.5 for ResNet-20, and holds two
/// layers at a time.
pub type TangentHessian<'a, O> = Curvature<'a, O, ReverseOverForward>;

/// The matrix of [`TangentHessian`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ReverseOverForward;

impl<O: Objective + ?Sized> BatchProduct<O> for ReverseOverForward {
    const HAS_FORM: bool = true;

    fn name(&self) -> String {
        "hessian (reverse over forward)".into()
    }

    fn product(&self, objective: &O, i: usize, v: &ParamVec) -> Result<ParamVec> {
        objective.hessian_product(i, v)
    }

    fn form(&self, objective: &O, i: usize, v: &ParamVec) -> Result<f64> {
        objective.hessian_form(i, v)
    }
}
