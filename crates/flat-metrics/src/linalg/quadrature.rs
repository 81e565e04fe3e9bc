//! Gauss quadrature of an operator's spectrum from one start vector.

use super::krylov::Krylov;
use crate::Result;
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Product};
use flat_comm::Ranks;
use flat_core::ParamVec;
use serde::Serialize;

/// Gauss quadrature of an operator's spectrum from m Lanczos steps that start at a unit vector v (Golub & Meurant
/// 1994, "Matrices, Moments and Quadrature"). `sum_i w_i f(t_i) = v^T f(A) v` holds for every polynomial f of degree
/// up to 2m - 1. The nodes are the Ritz values, the weights the squared first components of the tridiagonal matrix's
/// eigenvectors.
///
/// For v uniform on the sphere the mean of `v^T f(A) v` is `tr f(A) / d`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quadrature {
    /// Ritz values, in ascending order.
    pub nodes: Vec<f64>,
    /// Weights, not negative, which sum to 1.
    pub weights: Vec<f64>,
}

impl Quadrature {
    /// One a start vector, whose products are taken together: up to `steps` each, fewer where the Krylov space closes; the
    /// quadrature is exact for every f then.
    ///
    /// Every new vector is orthogonalised twice against all before it. Holds `steps + 2` vectors of d numbers a start and takes
    /// about `4 steps^2 d` multiplications beside the products.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`] when the observer, which sees the products as units, said so; a product that is not finite; the operator's own.
    pub(crate) fn compute(
        operator: &mut dyn LinearOperator,
        starts: Vec<ParamVec>,
        steps: usize,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Self>> {
        let space = operator.space().clone();
        let steps = steps.min(space.layout.len());
        let mut all: Vec<Krylov> = starts.into_iter().map(Krylov::from_unit).collect();
        let (mut done, of) = (0, (all.len() * steps) as u64);
        let goes_on = |krylov: &Krylov| !krylov.closed && krylov.steps() < steps;
        while all.iter().any(goes_on) {
            let block: Vec<&ParamVec> = all.iter().filter(|k| goes_on(k)).map(Krylov::current).collect();
            let taken = block.len() as u64;
            let watch = &mut |at: &Progress| observer.observe(&Progress { done, of, ..*at });
            let products = operator.products(&Ranks::default(), &block, watch)?;
            done += taken;
            for (krylov, Product { product, .. }) in all.iter_mut().filter(|k| goes_on(k)).zip(products) {
                let mut remainder = krylov.absorb(product)?;
                if goes_on(krylov) {
                    remainder.scale(1.0 / remainder.norm()?)?;
                    krylov.basis.push(remainder);
                }
            }
        }
        let quadrature = |krylov: &Krylov| {
            let ritz = krylov.ritz()?;
            let nodes = ritz.iter().map(|r| r.value).collect();
            let weights = ritz.iter().map(|r| r.vector[0].powi(2)).collect();
            Ok(Self { nodes, weights })
        };
        all.iter().map(quadrature).collect()
    }

    /// `sum_i w_i f(t_i)`.
    pub fn integrate(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.nodes.iter().zip(&self.weights).map(|(t, w)| w * f(*t)).sum()
    }
}
