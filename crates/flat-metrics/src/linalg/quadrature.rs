//! Gauss quadrature of an operator's spectrum from one start vector.

use super::krylov::Krylov;
use crate::Result;
use crate::observer::{Observer, Progress};
use crate::operator::LinearOperator;
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
    /// Takes up to `steps` products, fewer where the Krylov space closes; the quadrature is exact for every f then.
    ///
    /// Every new vector is orthogonalised twice against all before it. Holds `steps + 2` vectors of d numbers and takes
    /// about `4 steps^2 d` multiplications beside the products.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`] when the observer, which sees the products as units, said so; a product that is not finite; the operator's own.
    pub(crate) fn compute(
        operator: &mut dyn LinearOperator,
        start: ParamVec,
        steps: usize,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let space = operator.space().clone();
        let steps = steps.min(space.layout.len());
        let mut krylov = Krylov::from_unit(start);
        loop {
            let (done, of) = (krylov.steps() as u64, steps as u64);
            let watch = &mut |at: &Progress| observer.observe(&Progress { done, of, ..*at });
            let product = operator.product(krylov.current(), watch)?.product;
            let mut remainder = krylov.absorb(product)?;
            if krylov.closed || krylov.steps() == steps {
                break;
            }
            remainder.scale(1.0 / remainder.norm()?)?;
            krylov.basis.push(remainder);
        }
        let ritz = krylov.ritz()?;
        let nodes = ritz.iter().map(|r| r.value).collect();
        let weights = ritz.iter().map(|r| r.vector[0].powi(2)).collect();
        Ok(Self { nodes, weights })
    }

    /// `sum_i w_i f(t_i)`.
    pub fn integrate(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.nodes.iter().zip(&self.weights).map(|(t, w)| w * f(*t)).sum()
    }
}
