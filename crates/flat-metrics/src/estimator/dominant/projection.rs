//! An operator projected on the span of a few vectors, with its Ritz pairs (Rayleigh-Ritz).

use crate::linalg::{Basis, Eigenpair, combine, symmetric};
use crate::{Error, Result};
use candle_core::DType;
use flat_core::{ParamVec, Purpose, Space, Streams};

/// Major index of the random vectors; [`crate::Lanczos`] has indices without a minor one.
const RANDOM: u64 = u64::MAX - 16;

/// The `minor`-th random vector of a point.
pub(super) fn random(space: &Space, streams: &Streams, index: u64, minor: u64) -> Result<ParamVec> {
    let seeded = Streams::new(streams.seed() ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Ok(ParamVec::sphere(space, &seeded.at2(Purpose::Probe, RANDOM, minor))?)
}

/// Orthonormal vectors Q with their products `A Q`.
pub(super) struct Projection {
    space: Space,
    basis: Basis,
    products: Vec<ParamVec>,
    /// `Q^T A Q`, by rows.
    inner: Vec<Vec<f64>>,
    /// `(A Q)^T A Q`, by rows.
    squares: Vec<Vec<f64>>,
    /// Ritz values in descending order, with the vectors' coefficients.
    ritz: Vec<(f64, Vec<f64>)>,
    spent: u64,
}

impl Projection {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            space: space.clone(),
            basis: Basis::new(space),
            products: Vec::new(),
            inner: Vec::new(),
            squares: Vec::new(),
            ritz: Vec::new(),
            spent: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.products.len()
    }

    /// Products so far.
    pub(super) fn products(&self) -> u64 {
        self.spent
    }

    /// Machine precision of the vectors' element type.
    pub(super) fn epsilon(&self) -> f64 {
        if self.space.dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
    }

    /// Adds the direction of `v` outside the span, with the product that `apply` gives; `false` where it has none.
    pub(super) fn add(&mut self, v: ParamVec, apply: impl FnOnce(&ParamVec) -> Result<ParamVec>) -> Result<bool> {
        if self.basis.push(v)?.outside == 0.0 {
            return Ok(false);
        }
        let Some(q) = self.basis.vectors().last() else { return Ok(false) };
        let product = apply(q)?;
        self.spent += 1;
        let norm = product.norm()?;
        if !norm.is_finite() {
            return Err(Error::NonFinite { quantity: format!("product {} of the subspace", self.spent), value: norm });
        }
        self.border(product)?;
        Ok(true)
    }

    /// Takes in a product: the last row and column of the two small matrices.
    fn border(&mut self, product: ParamVec) -> Result<()> {
        self.products.push(product);
        let (n, last) = (self.products.len(), &self.products[self.products.len() - 1]);
        let row = self.basis.vectors()[..n].iter().map(|q| Ok(q.dot(last)?)).collect::<Result<Vec<f64>>>()?;
        let square = self.products.iter().map(|p| Ok(p.dot(last)?)).collect::<Result<Vec<f64>>>()?;
        for (matrix, row) in [(&mut self.inner, row), (&mut self.squares, square)] {
            matrix.iter_mut().zip(&row).for_each(|(other, x)| other.push(*x));
            matrix.push(row);
        }
        Ok(())
    }

    /// Finds the Ritz pairs.
    pub(super) fn solve(&mut self) {
        self.ritz = symmetric(self.inner.clone());
    }

    /// The Ritz value of rank i.
    pub(super) fn value(&self, i: usize) -> Option<f64> {
        self.ritz.get(i).map(|(value, _)| *value)
    }

    /// The largest Ritz value in size.
    pub(super) fn scale(&self) -> f64 {
        self.ritz.iter().map(|(value, _)| value.abs()).fold(0.0, f64::max)
    }

    /// Norm of the residual of rank i from the small matrices alone: `sqrt(|A y|^2 - theta^2)`, right to the root of the
    /// machine precision.
    pub(super) fn estimate(&self, i: usize) -> f64 {
        let Some((value, s)) = self.ritz.get(i) else { return 0.0 };
        let of = |row: &Vec<f64>| row.iter().zip(s).map(|(x, s)| x * s).sum::<f64>();
        let square: f64 = self.squares.iter().zip(s).map(|(row, s)| s * of(row)).sum();
        (square - value * value).max(0.0).sqrt()
    }

    /// `A y - theta y` for the Ritz vector of rank i.
    pub(super) fn residual(&self, i: usize) -> Result<ParamVec> {
        let (value, s) = &self.ritz[i];
        let mut out = combine(&self.products, s, &self.space)?;
        for (s, q) in s.iter().zip(self.basis.vectors()) {
            out.add_scaled(-value * s, q)?;
        }
        Ok(out)
    }

    /// The Ritz pair of rank i.
    pub(super) fn pair(&self, i: usize) -> Result<Eigenpair> {
        let residual = self.residual(i)?.norm()?;
        let (value, s) = &self.ritz[i];
        let mut vector = self.basis.combine(s, &self.space)?;
        vector.scale(1.0 / vector.norm()?)?;
        Ok(Eigenpair { value: *value, residual, vector })
    }

    /// Keeps the span of the `count` highest Ritz vectors alone.
    pub(super) fn cut(&mut self, count: usize) -> Result<()> {
        let (mut basis, mut products) = (Basis::new(&self.space), Vec::new());
        for (_, s) in self.ritz.iter().take(count) {
            basis.push(self.basis.combine(s, &self.space)?)?;
            products.push(combine(&self.products, s, &self.space)?);
        }
        (self.basis, self.products) = (basis, Vec::new());
        (self.inner, self.squares) = (Vec::new(), Vec::new());
        products.into_iter().try_for_each(|product| self.border(product))?;
        self.solve();
        Ok(())
    }

    /// The vectors of the span.
    pub(super) fn into_vectors(self) -> Vec<ParamVec> {
        self.basis.into_vectors()
    }
}
