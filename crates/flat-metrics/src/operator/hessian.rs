//! Exact Hessian-vector products by derivatives along directions.

use super::curvature::{BatchProduct, Curvature};
use crate::Result;
use crate::objective::{AT_ONCE, Objective};
use flat_core::ParamVec;

/// The exact Hessian of an objective that carries tangents.
///
/// A `flat-nn` model goes forward over reverse (Pearlmutter 1994, "Fast Exact Multiplication by the Hessian"): values and their
/// derivatives along v go through the layers, gradients and theirs go back, and the derivative of the gradient is `H v`
/// ([`flat_nn::Model::hessian_products`]). Any other objective gives `<grad L, v>` as an expression, whose gradient is `H v`.
/// Cost a product on a CPU, in gradient evaluations of the data set: 1.6 for a multilayer perceptron, 2.1 for LeNet, 2.7 for
/// ResNet-20 with BatchNorm's batch statistics. Each of eight that share a pass ([`crate::LinearOperator::products`]) costs 1.5,
/// 1.9 and 2.0.
///
/// A quadratic form of a [`crate::ModelObjective`] needs no backward pass: second derivatives along v are carried forward
/// ([`flat_nn::Model::hessian_forms`]), two layers at a time. It costs
/// 1.0, 1.1 and 1.5 (1.7) gradients; each of four that share the values costs 0.6, 0.9 and 1.3 (1.4).
pub type TangentHessian<'a, O> = Curvature<'a, O, ByTangents>;

/// The matrix of [`TangentHessian`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ByTangents;

impl<O: Objective + ?Sized> BatchProduct<O> for ByTangents {
    const HAS_FORM: bool = true;
    const AT_ONCE: usize = AT_ONCE;

    fn name(&self) -> String {
        "hessian (tangents)".into()
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        objective.hessian_products(i, directions)
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        objective.hessian_forms(i, directions)
    }
}
