//! The nonlinear modeling error: the Hessian less the Gauss-Newton matrix.

use super::curvature::{BatchProduct, Curvature};
use super::gauss_newton::OutputCurvature;
use super::hessian::ByTangents;
use crate::Result;
use crate::objective::{AT_ONCE, Objective};
use flat_core::ParamVec;

/// The nonlinear modeling error matrix (Dauphin, Agarwala, Mobahi 2024, arXiv 2401.10809).
///
/// ```text
/// H - G = (1/n) sum_i sum_c s_{ic} hess z_{ic}
/// ```
///
/// s_i is the slope of example i's loss in its logits z_i, G is [`crate::GaussNewton`].
///
/// It is the part of the Hessian that comes from the model's own curvature. It is indefinite and vanishes where every example
/// is fitted. The paper explains by it why SAM and gradient penalties differ, and why the activation matters.
///
/// A product is one of the exact Hessian and one of G, their difference taken in the parameters' element type. Where the
/// matrix is far smaller than the Hessian, take f64. Cost: 3.0 gradient evaluations of the data set for a multilayer perceptron,
/// 4.3 for ResNet-20; one of four quadratic forms costs 1.6 and 2.2, without a backward pass.
pub type ModelingError<'a, O> = Curvature<'a, O, ModelCurvature>;

/// The matrix of [`ModelingError`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelCurvature;

impl<O: Objective + ?Sized> BatchProduct<O> for ModelCurvature {
    const HAS_FORM: bool = true;
    const AT_ONCE: usize = AT_ONCE;

    fn name(&self) -> String {
        "nonlinear modeling error (hessian less generalised Gauss-Newton)".into()
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        let mut products = ByTangents.products(objective, i, directions)?;
        for (product, linear) in products.iter_mut().zip(&OutputCurvature.products(objective, i, directions)?) {
            product.add_scaled(-1.0, linear)?;
        }
        Ok(products)
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        let mut forms = ByTangents.forms(objective, i, directions)?;
        for (form, linear) in forms.iter_mut().zip(OutputCurvature.forms(objective, i, directions)?) {
            *form -= linear;
        }
        Ok(forms)
    }
}
