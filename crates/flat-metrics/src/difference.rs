//! Hessian-vector products by central differences of gradients.

use crate::gradient::batch_gradient;
use crate::operator::tick;
use crate::{BatchForm, Error, LinearOperator, Objective, Origin, Product, Result, Watch, check_determinism};
use candle_core::DType;
use flat_core::{ParamVec, Restore, Space};

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

/// The Hessian by central differences of the gradient along v: an approximation that asks nothing of the model but
/// right gradients, to check the exact operators by.
///
/// The largest element of the displacement is `step * max(rms(theta), 1e-3)`, where rms is the root mean square and
/// `step` a power of the element type's epsilon: 1/3 with two points (6e-6 in f64, 5e-3 in f32), 0.3 with
/// [`Stencil::Four`] (2e-5, 8e-3). In f64 two points are good to 1e-10 of the result on shallow networks and 1e-7 on
/// deep ones with batch statistics, four points to 1e-10 on both; in f32 expect 1e-4 and 1e-5. With ReLU the kinks that
/// the displacement crosses come on top.
/// The parameters are restored bit for bit after success, error and panic. Cost a product: 2 (or 4) gradient evaluations
/// of the data set.
#[derive(Debug)]
pub struct DifferenceHessian<'a, O: ?Sized> {
    objective: &'a O,
    stencil: Stencil,
    step: f64,
    matvecs: u64,
}

impl<'a, O: Objective + ?Sized> DifferenceHessian<'a, O> {
    /// The Hessian at the present parameters; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        check_determinism(objective)?;
        Ok(Self::unchecked(objective))
    }

    /// As [`Self::new`], without the check and its cost.
    pub fn unchecked(objective: &'a O) -> Self {
        let stencil = Stencil::default();
        let step = stencil.relative_step(objective.params().space().dtype);
        Self { objective, stencil, step, matvecs: 0 }
    }

    /// Uses another stencil, with its own default step.
    pub fn with_stencil(mut self, stencil: Stencil) -> Self {
        self.stencil = stencil;
        self.step = stencil.relative_step(self.space().dtype);
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
        self.step = step;
        Ok(self)
    }
}

impl<O: Objective + ?Sized> LinearOperator for DifferenceHessian<'_, O> {
    fn space(&self) -> &Space {
        self.objective.params().space()
    }

    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec> {
        Ok(self.apply_by_batch(v, watch)?.product)
    }

    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        let params = self.objective.params();
        params.layout().same_as(v.layout())?;
        let n = self.objective.batches();
        let mut product = ParamVec::zeros(params.space())?;
        let mut batches: Vec<_> = (0..n).map(|i| BatchForm::of(self.objective, i, 0.0)).collect();
        let largest: f64 = v.as_tensor().abs()?.max(0)?.to_dtype(DType::F64)?.to_scalar()?;
        if largest == 0.0 {
            self.matvecs += 1;
            return Ok(Product { product, batches });
        }
        let theta = params.read()?;
        let there = Restore::replace(params, &theta, &theta)?;
        let rms = theta.norm()? / (v.layout().len() as f64).sqrt();
        let scale = self.step * rms.max(1e-3) / largest;
        let points = self.stencil.points();
        for (k, (multiple, coefficient)) in points.iter().enumerate() {
            there.set(&theta.plus(multiple * scale, v)?)?;
            for (i, batch) in batches.iter_mut().enumerate() {
                tick(watch, k * n + i, points.len() * n)?;
                let (_, grad) = batch_gradient(self.objective, i)?;
                batch.form += coefficient / scale * v.dot(&grad)?;
                product.add_scaled(batch.weight * coefficient / scale, &grad)?;
            }
        }
        there.finish()?;
        self.matvecs += 1;
        Ok(Product { product, batches })
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn origin(&self) -> Origin {
        let points = self.stencil.points().len();
        Origin::of(&format!("hessian (differences of {points} gradients)"), self.objective)
    }
}
