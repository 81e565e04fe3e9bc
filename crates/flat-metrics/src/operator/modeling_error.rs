//! The nonlinear modeling error: the Hessian less the Gauss-Newton matrix.

use super::curvature::{BatchProduct, Curvature};
use super::gauss_newton::OutputCurvature;
use super::hessian::ReverseOverForward;
use crate::Result;
use crate::objective::Objective;
use flat_core::ParamVec;

/// The nonlinear modeling error matrix `H - G = (1/n) sum_i sum_c s_ic Hess(z_ic)`, s_i the slope of example i's loss in its
/// logits z_i (Dauphin, Agarwala, Mobahi 2024, arXiv 2401.10809). G is [`crate::GaussNewton`].
///
/// It is the part of the Hessian that comes from the model's own curvature. It is indefinite and vanishes where every example
/// is fitted. The paper explains by it why SAM and gradient penalties differ, and why the activation matters.
///
/// A product is one of the exact Hessian and one of G, their difference taken in the parameters' element type. Where the
/// matrix is far smaller than the Hessian, take f64. Cost: 3.1 gradient evaluations of the data set for a multilayer perceptron,
/// 4.4 for ResNet-20; a quadratic form costs 2.1 and 2.4, without a backward pass.
pub type ModelingError<'a, O> = Curvature<'a, O, ModelCurvature>;

/// The matrix of [`ModelingError`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelCurvature;

impl<O: Objective + ?Sized> BatchProduct<O> for ModelCurvature {
    const HAS_FORM: bool = true;

    fn name(&self) -> String {
        "nonlinear modeling error (hessian less generalised Gauss-Newton)".into()
    }

    fn product(&self, objective: &O, i: usize, v: &ParamVec) -> Result<ParamVec> {
        let mut product = ReverseOverForward.product(objective, i, v)?;
        product.add_scaled(-1.0, &OutputCurvature.product(objective, i, v)?)?;
        Ok(product)
    }

    fn form(&self, objective: &O, i: usize, v: &ParamVec) -> Result<f64> {
        Ok(ReverseOverForward.form(objective, i, v)? - OutputCurvature.form(objective, i, v)?)
    }
}
