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
/// gradient evaluations of the data set for a multilayer perceptron, 2.1 for LeNet, 2.6 for ResNet-20 (3.0 with BatchNorm's
/// batch statistics).
///
/// A quadratic form of a [`crate::ModelObjective`] needs no backward pass: second derivatives along v are carried forward
/// ([`flat_nn::Model::hessian_forms`]), two layers at a time. It costs
/// 1.0, 1.1 and 1.5 (1.7) gradients; each of four that share the values costs 0.6, 0.9 and 1.3 (1.4).
pub type TangentHessian<'a, O> = Curvature<'a, O, ReverseOverForward>;

/// The matrix of [`TangentHessian`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ReverseOverForward;

impl<O: Objective + ?Sized> BatchProduct<O> for ReverseOverForward {
    const HAS_FORM: bool = true;
    // eight save at most a tenth more, and need twice the memory
    const AT_ONCE: usize = 4;

    fn name(&self) -> String {
        "hessian (reverse over forward)".into()
    }

    fn product(&self, objective: &O, i: usize, v: &ParamVec) -> Result<ParamVec> {
        objective.hessian_product(i, v)
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        objective.hessian_forms(i, directions)
    }
}
