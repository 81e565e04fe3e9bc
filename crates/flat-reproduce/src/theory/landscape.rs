//! A function whose minima, gradient flow and trace are known.

use candle_core::{Device, Tensor, Var};
use flat_core::{ParamVec, Params};
use flat_optim::{Objective, Query, Result, Sample};
use std::ops::Range;

/// A loss `f = (1/n) sum f_i` over R^D with a manifold of minima, everything about which is computed without sampling.
pub(super) trait Landscape: Send + Sync {
    /// D.
    fn dim(&self) -> usize;

    /// n, the number of samples.
    fn samples(&self) -> usize;

    /// The mean of the f_i in `rows`; adds their mean gradient to `grad`, which comes filled with zeros.
    fn value_and_gradient(&self, x: &[f64], rows: Range<usize>, grad: &mut [f64]) -> f64;

    /// Phi(x), the limit of gradient flow from x.
    fn limit(&self, x: &[f64]) -> Vec<f64>;

    /// `dPhi(x*) grad trbar(x*)` at a minimum: the gradient of `trbar = tr(hess f) / D` along the minima.
    fn tangent_gradient(&self, at: &[f64]) -> Vec<f64>;

    /// trbar at x.
    fn trbar(&self, x: &[f64]) -> f64;
}

/// Euclidean norm.
pub(super) fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Inner product.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Euclidean distance.
pub(super) fn distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

/// A landscape as an objective: the gradient is the closed form's, no graph is built.
pub(super) struct Analytic<'a> {
    landscape: &'a dyn Landscape,
    params: Params,
}

impl<'a> Analytic<'a> {
    /// The objective with its variable at `x`, in f64 on the CPU.
    pub(super) fn new(landscape: &'a dyn Landscape, x: &[f64]) -> Result<Self> {
        let var = Var::from_tensor(&Tensor::new(x, &Device::Cpu)?)?;
        Ok(Self { landscape, params: Params::new([("x".to_string(), var)])? })
    }

    /// The variable.
    pub(super) fn params(&self) -> &Params {
        &self.params
    }

    /// What the variable holds.
    pub(super) fn x(&self) -> Result<Vec<f64>> {
        Ok(self.params.vars()[0].to_vec1()?)
    }
}

impl Objective for Analytic<'_> {
    fn rows(&self) -> usize {
        self.landscape.samples()
    }

    /// A constant: every rule asks for the gradient, which has no graph here.
    fn loss(&mut self, query: Query) -> Result<Tensor> {
        let x = self.x()?;
        let rows = query.rows.range(self.rows())?;
        let value = self.landscape.value_and_gradient(&x, rows, &mut vec![0.0; x.len()]);
        Ok(Tensor::new(value, &Device::Cpu)?)
    }

    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        let x = self.x()?;
        let mut grad = vec![0.0; x.len()];
        let rows = query.rows.range(self.rows())?;
        let value = self.landscape.value_and_gradient(&x, rows, &mut grad);
        Sample::new(value, ParamVec::from_f64(params.space(), grad)?)
    }
}
