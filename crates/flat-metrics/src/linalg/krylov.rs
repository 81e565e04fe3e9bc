//! The Krylov space of an operator and its Ritz pairs, for [`crate::Lanczos`] and [`crate::Quadrature`].

use super::tridiagonal::tridiagonal;
use crate::{Error, Result};
use flat_core::{ParamVec, Purpose, Space, Streams};
use serde::Serialize;

/// An approximate eigenvalue and eigenvector. Serializes without the vector.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Eigenpair {
    /// The Ritz value lambda.
    pub value: f64,
    /// `||A v - lambda v||` from the recurrence: `beta_m |s_m|`, joined with what rounding or asymmetry of the operator
    /// put outside the tridiagonal matrix. Some eigenvalue of A is at most this far from `value`, up to the rounding of the
    /// vectors themselves (machine precision times the norm of A).
    pub residual: f64,
    /// The Ritz vector v, of norm 1; its sign is arbitrary.
    #[serde(skip)]
    pub vector: ParamVec,
}

/// An eigenpair of the tridiagonal matrix.
pub(crate) struct Ritz {
    pub(crate) value: f64,
    pub(crate) vector: Vec<f64>,
    /// `beta_m |s_m|`, which further products reduce.
    pub(crate) coupling: f64,
    /// The part of the residual that they do not.
    pub(crate) noise: f64,
    /// It belongs to the space since the last restart.
    pub(crate) here: bool,
}

impl Ritz {
    pub(crate) fn residual(&self) -> f64 {
        self.coupling.hypot(self.noise)
    }
}

/// `A Q = Q T + beta_m q_(m+1) e_m^T + E`, with the norms of E's columns.
pub(crate) struct Krylov {
    pub(crate) basis: Vec<ParamVec>,
    pub(crate) alpha: Vec<f64>,
    /// `beta[k]` couples k and k + 1; 0 before a restart; the last is outside T.
    pub(crate) beta: Vec<f64>,
    pub(crate) slack: Vec<f64>,
    /// Machine precision of the vectors' element type.
    pub(crate) epsilon: f64,
    /// The last product lies in the space so far.
    pub(crate) closed: bool,
    /// Where the space since the last restart begins.
    pub(crate) begin: usize,
    pub(crate) restarts: u64,
}

impl Krylov {
    pub(crate) fn new(space: &Space, streams: &Streams) -> Result<Self> {
        Ok(Self::from_unit(ParamVec::sphere(space, &streams.at(Purpose::Probe, u64::MAX))?))
    }

    /// The space of a start vector of norm 1.
    pub(crate) fn from_unit(start: ParamVec) -> Self {
        let double = start.as_tensor().dtype() == candle_core::DType::F64;
        let epsilon = if double { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let basis = vec![start];
        let (alpha, beta, slack) = (Vec::new(), Vec::new(), Vec::new());
        Self { basis, alpha, beta, slack, epsilon, closed: false, begin: 0, restarts: 0 }
    }

    pub(crate) fn steps(&self) -> usize {
        self.alpha.len()
    }

    /// The vector to multiply next.
    pub(crate) fn current(&self) -> &ParamVec {
        &self.basis[self.basis.len() - 1]
    }

    /// Takes `w` apart into its coefficients and the remainder, by two passes of Gram-Schmidt.
    pub(crate) fn orthogonalise(&self, w: &mut ParamVec) -> Result<Vec<f64>> {
        let mut coefficients = vec![0.0; self.basis.len()];
        for _ in 0..2 {
            for (c, q) in coefficients.iter_mut().zip(&self.basis) {
                let along = q.dot(w)?;
                w.add_scaled(-along, q)?;
                *c += along;
            }
        }
        Ok(coefficients)
    }

    /// Adds a row to T from the product with the current vector; returns what of it is outside the space.
    pub(crate) fn absorb(&mut self, mut w: ParamVec) -> Result<ParamVec> {
        let mut c = self.orthogonalise(&mut w)?;
        let beta = w.norm()?;
        let (k, alpha) = (self.steps(), c.pop().unwrap_or(0.0));
        if !(alpha.is_finite() && beta.is_finite()) {
            return Err(Error::NonFinite { quantity: format!("product {k} of Lanczos' method"), value: alpha + beta });
        }
        if let Some(c) = c.last_mut() {
            *c -= self.beta[k - 1];
        }
        self.alpha.push(alpha);
        self.beta.push(beta);
        self.slack.push(c.iter().map(|x| x * x).sum::<f64>().sqrt());
        // a remainder of rounding alone has no direction of its own; being orthogonal all the same, it would do no harm
        // if taken for one
        let scale = self.alpha.iter().chain(&self.beta).fold(0.0f64, |s, x| s.max(x.abs()));
        self.closed = beta <= 16.0 * self.epsilon * scale;
        if self.closed {
            self.beta[k] = 0.0;
            self.slack[k] = self.slack[k].hypot(beta);
        }
        Ok(w)
    }

    /// Declares the space closed where the last coupling is below the operator's own rounding, `zero`.
    pub(crate) fn close_below(&mut self, zero: f64) {
        let Some(beta) = self.beta.last_mut() else { return };
        if !self.closed && *beta <= zero {
            self.closed = true;
            if let Some(slack) = self.slack.last_mut() {
                *slack = slack.hypot(*beta);
            }
            *beta = 0.0;
        }
    }

    /// `sum_k c_k q_k`.
    pub(crate) fn combine(&self, c: &[f64], space: &Space) -> Result<ParamVec> {
        let mut out = ParamVec::zeros(space)?;
        for (c, q) in c.iter().zip(&self.basis) {
            out.add_scaled(*c, q)?;
        }
        Ok(out)
    }

    /// The next vector: the remainder, or a random one where the space is closed.
    pub(crate) fn extend(&mut self, mut w: ParamVec, space: &Space, streams: &Streams) -> Result<()> {
        if self.closed {
            self.restarts += 1;
            self.begin = self.steps();
            w = ParamVec::sphere(space, &streams.at(Purpose::Probe, u64::MAX - self.restarts))?;
            // normalised in between: little may be left of it where few dimensions are
            self.orthogonalise(&mut w)?;
            w.scale(1.0 / w.norm()?)?;
            self.orthogonalise(&mut w)?;
        }
        w.scale(1.0 / w.norm()?)?;
        self.basis.push(w);
        Ok(())
    }

    /// The Ritz pairs, in ascending order.
    pub(crate) fn ritz(&self) -> Result<Vec<Ritz>> {
        let n = self.steps();
        let (values, vectors) = tridiagonal(&self.alpha, &self.beta[..n - 1]);
        let pairs = values.into_iter().zip(vectors).map(|(value, s)| Ritz {
            value,
            coupling: self.beta[n - 1] * s[n - 1].abs(),
            noise: self.slack.iter().zip(&s).map(|(e, x)| (e * x).powi(2)).sum::<f64>().sqrt(),
            here: s[self.begin..].iter().map(|x| x * x).sum::<f64>() > 0.5,
            vector: s,
        });
        let mut pairs: Vec<Ritz> = pairs.collect();
        pairs.sort_by(|a, b| a.value.total_cmp(&b.value));
        Ok(pairs)
    }

    /// The pair of A.
    pub(crate) fn pair(&self, ritz: &Ritz, space: &Space) -> Result<Eigenpair> {
        let mut vector = self.combine(&ritz.vector, space)?;
        vector.scale(1.0 / vector.norm()?)?;
        Ok(Eigenpair { value: ritz.value, residual: ritz.residual(), vector })
    }
}
