//! Hessian-vector products by central differences of gradients.

use super::curvature::{BatchProduct, Curvature};
use super::linear::{BatchForm, Product};
use super::summands::summed;
use crate::objective::{Objective, batch_gradient};
use crate::observer::{Observer, Progress, ask};
use crate::{Error, Result};
use candle_core::DType;
use flat_comm::Ranks;
use flat_core::{ParamVec, Restore};

/// Which gradients a difference combines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stencil {
    /// `(g(+h) - g(-h)) / 2h`: two gradient evaluations, error O(h^2).
    #[default]
    Two,
    /// `(8 (g(+h) - g(-h)) - (g(+2h) - g(-2h))) / 12h`: four gradient evaluations, error O(h^4).
    Four,
}

impl Stencil {
    /// (multiple of h, coefficient of the gradient there times h)
    fn points(self) -> &'static [(f64, f64)] {
        match self {
            Self::Two => &[(1.0, 0.5), (-1.0, -0.5)],
            Self::Four => &[(1.0, 8.0 / 12.0), (-1.0, -8.0 / 12.0), (2.0, -1.0 / 12.0), (-2.0, 1.0 / 12.0)],
        }
    }

    /// The default step, as a fraction of the typical parameter: with two points the one that balances truncation
    /// against rounding in a smooth function. With four the balance would be at epsilon^0.2, far enough to cross the
    /// kinks of a max pooling and the curvature of a deep network: epsilon^0.3 gives up one digit for that.
    fn relative_step(self, dtype: DType) -> f64 {
        let epsilon = if dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
        match self {
            Self::Two => epsilon.cbrt(),
            Self::Four => epsilon.powf(0.3),
        }
    }
}

/// The Hessian by central differences of the gradient along v. It needs nothing of the model but right gradients, and
/// serves to check the exact operators.
///
/// The largest element of the displacement is `step * max(rms(theta), 1e-3)`, where rms is the root mean square and
/// `step` a power of the element type's epsilon: 1/3 with two points (6e-6 in f64, 5e-3 in f32), 0.3 with
/// [`Stencil::Four`] (2e-5, 8e-3). In f64 two points are good to 1e-10 of the result on shallow networks and 1e-7 on
/// deep ones with batch statistics, four points to 1e-10 on both; in f32 expect 1e-4 and 1e-5. With ReLU the kinks that
/// the displacement crosses come on top.
/// The parameters are restored bit for bit after success, error and panic. Cost a product: 2 (or 4) gradient evaluations
/// of the data set.
pub type DifferenceHessian<'a, O> = Curvature<'a, O, Differences>;

/// The matrix of [`DifferenceHessian`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Differences {
    stencil: Stencil,
    /// In place of the stencil's own.
    step: Option<f64>,
}

impl<O: Objective + ?Sized> Curvature<'_, O, Differences> {
    /// Uses another stencil, with its own default step.
    pub fn with_stencil(mut self, stencil: Stencil) -> Self {
        self.matrix = Differences { stencil, step: None };
        self
    }

    /// Uses another step, as a fraction of `max(rms(theta), 1e-3)`.
    ///
    /// # Errors
    /// A step that is not finite and positive.
    pub fn with_step(mut self, step: f64) -> Result<Self> {
        if !(step.is_finite() && step > 0.0) {
            return Err(Error::BadConfig { field: "step", value: step.to_string(), remedy: "give a positive number" });
        }
        self.matrix.step = Some(step);
        Ok(self)
    }
}

impl<O: Objective + ?Sized> BatchProduct<O> for Differences {
    fn name(&self) -> String {
        format!("hessian (differences of {} gradients)", self.stencil.points().len())
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        let product = |v: &&ParamVec| {
            let mut product = ParamVec::zeros(objective.params().space())?;
            self.visit(objective, v, &mut |coefficient, scale, _| {
                Ok(product.add_scaled(coefficient / scale, &batch_gradient(objective, i)?.1)?)
            })?;
            Ok(product)
        };
        directions.iter().map(product).collect()
    }

    /// All batches at one displacement before the next: the parameters move a few times a product and not a batch. A rank computes
    /// its share of all points and batches.
    fn sums(
        &self,
        objective: &O,
        ranks: &Ranks,
        directions: &[&ParamVec],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Product>> {
        directions.iter().map(|v| self.sum(objective, ranks, v, observer)).collect()
    }
}

impl Differences {
    fn sum<O: Objective + ?Sized>(
        &self,
        objective: &O,
        ranks: &Ranks,
        v: &ParamVec,
        observer: &mut dyn Observer,
    ) -> Result<Product> {
        let (n, parts) = (objective.batches(), objective.batches() * self.stencil.points().len());
        let space = objective.params().space();
        let mut batches: Vec<_> = (0..n).map(|i| BatchForm::of(objective, i, 0.0)).collect();
        if largest(v)? == 0.0 {
            return Ok(Product { product: ParamVec::zeros(space)?, batches });
        }
        let found = summed(ranks, (parts, 1), space, |sum| {
            let own = sum.own();
            self.visit(objective, v, &mut |coefficient, scale, point| {
                for part in own.start.max(point * n)..own.end.min((point + 1) * n) {
                    ask(observer, &Progress::within((part - own.start) * ranks.size(), parts))?;
                    let (_, grad) = batch_gradient(objective, part % n)?;
                    let form = coefficient / scale * v.dot(&grad)?;
                    sum.push(objective.weight(part % n) * coefficient / scale, vec![(grad, form)])?;
                }
                Ok(())
            })
        })?;
        let (product, forms) = found.into_iter().next().ok_or_else(|| Error::BadObjective("no product".into()))?;
        forms.iter().enumerate().for_each(|(part, form)| batches[part % n].form += form);
        Ok(Product { product, batches })
    }

    /// Displaces the parameters to each point of the stencil along v, where `at` gets the coefficient of the gradient
    /// there, the displacement that divides it, and the point's number; restores them. No point for v = 0.
    fn visit<O: Objective + ?Sized>(
        &self,
        objective: &O,
        v: &ParamVec,
        at: &mut dyn FnMut(f64, f64, usize) -> Result<()>,
    ) -> Result<()> {
        let params = objective.params();
        let largest = largest(v)?;
        if largest == 0.0 {
            return Ok(());
        }
        let theta = params.read()?;
        let there = Restore::replace(params, &theta, &theta)?;
        let rms = theta.norm()? / (v.layout().len() as f64).sqrt();
        let step = self.step.unwrap_or_else(|| self.stencil.relative_step(params.space().dtype));
        let scale = step * rms.max(1e-3) / largest;
        for (k, (multiple, coefficient)) in self.stencil.points().iter().enumerate() {
            there.set(&theta.plus(multiple * scale, v)?)?;
            at(*coefficient, scale, k)?;
        }
        Ok(there.finish()?)
    }
}

/// The size of the largest element.
fn largest(v: &ParamVec) -> Result<f64> {
    Ok(v.as_tensor().abs()?.max(0)?.to_dtype(DType::F64)?.to_scalar()?)
}
