//! Explicit matrices: for tests, and for small models.

use super::linear::{LinearOperator, Product};
use crate::measured::Provenance;
use crate::observer::{Observer, Progress, ask};
use crate::{Error, Result};
use candle_core::{DType, Device, Shape};
use flat_core::{Layout, ParamVec, Space};
use std::sync::Arc;

/// Largest dimension of a dense matrix: 2 GiB of f64.
const LIMIT: usize = 1 << 14;

/// A symmetric matrix, held row by row in f64.
#[derive(Debug, Clone)]
pub struct Dense {
    space: Space,
    rows: Vec<f64>,
    matvecs: u64,
}

impl Dense {
    /// The matrix with the given rows, one after the other, on `space`.
    ///
    /// # Errors
    /// A number of elements that is not d^2.
    pub fn new(space: Space, rows: Vec<f64>) -> Result<Self> {
        let d = space.layout.len();
        if rows.len() != d * d {
            return Err(Error::BadConfig {
                field: "rows",
                value: format!("{} elements for d = {d}", rows.len()),
                remedy: "give d * d elements, row by row",
            });
        }
        Ok(Self { space, rows, matvecs: 0 })
    }

    /// The matrix `a(i, j)` of size d x d, on a space with the single parameter `x`, in f64 on the CPU.
    ///
    /// # Errors
    /// d = 0, or above 16384.
    pub fn from_fn(d: usize, a: impl Fn(usize, usize) -> f64) -> Result<Self> {
        if d > LIMIT {
            return Err(Error::TooLarge { dim: d, limit: LIMIT });
        }
        let layout = Layout::new([("x".to_string(), Shape::from(d))])?;
        let space = Space { layout: Arc::new(layout), dtype: DType::F64, device: Device::Cpu };
        Self::new(space, (0..d * d).map(|k| a(k / d, k % d)).collect())
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.space.layout.len()
    }

    /// Element in row `i`, column `j`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.rows[i * self.dim() + j]
    }

    /// Sum of the diagonal.
    pub fn trace(&self) -> f64 {
        (0..self.dim()).map(|i| self.at(i, i)).sum()
    }

    /// Sum of the diagonal over parameter `i` of the layout: the trace of that diagonal block.
    pub fn trace_of_entry(&self, i: usize) -> f64 {
        let e = &self.space.layout.entries()[i];
        (e.offset..e.offset + e.len).map(|k| self.at(k, k)).sum()
    }

    /// Frobenius norm.
    pub fn frobenius(&self) -> f64 {
        self.rows.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// Frobenius norm of the antisymmetric part `(A - A^T) / 2`.
    pub fn asymmetry(&self) -> f64 {
        let d = self.dim();
        let half = |k: usize| (self.rows[k] - self.at(k % d, k / d)) / 2.0;
        (0..d * d).map(|k| half(k).powi(2)).sum::<f64>().sqrt()
    }

    /// Frobenius norm of the difference from `other`, divided by that of `other`.
    ///
    /// # Errors
    /// Matrices of different spaces.
    pub fn distance(&self, other: &Self) -> Result<f64> {
        self.space.layout.same_as(&other.space.layout)?;
        let gap = self.rows.iter().zip(&other.rows).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        Ok(gap / other.frobenius())
    }
}

impl LinearOperator for Dense {
    fn space(&self) -> &Space {
        &self.space
    }

    fn product(&mut self, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        self.space.layout.same_as(v.layout())?;
        ask(observer, &Progress::within(0, 1))?;
        let v = v.to_f64()?;
        let out = self.rows.chunks_exact(v.len()).map(|row| row.iter().zip(&v).map(|(a, x)| a * x).sum()).collect();
        self.matvecs += 1;
        Ok(Product { product: ParamVec::from_f64(&self.space, out)?, batches: Vec::new() })
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn provenance(&self) -> Provenance {
        let (operator, dtype) = (Some("dense".into()), self.space.dtype.as_str().into());
        Provenance { operator, dim: self.dim(), dtype, ..Provenance::default() }
    }
}

/// The `i`-th basis vector.
pub(crate) fn basis(space: &Space, i: usize) -> Result<ParamVec> {
    let mut e = vec![0.0; space.layout.len()];
    e[i] = 1.0;
    Ok(ParamVec::from_f64(space, e)?)
}

/// The matrix of any operator: row `i` is `A e_i`, which is column `i` of a symmetric matrix. Costs d products.
///
/// # Errors
/// d above 16384; the operator's own.
pub fn dense_of(operator: &mut dyn LinearOperator) -> Result<Dense> {
    let space = operator.space().clone();
    let d = space.layout.len();
    if d > LIMIT {
        return Err(Error::TooLarge { dim: d, limit: LIMIT });
    }
    let mut rows = Vec::with_capacity(d * d);
    let at_once = operator.products_at_once();
    for i in (0..d).step_by(at_once) {
        let directions = (i..d.min(i + at_once)).map(|i| basis(&space, i)).collect::<Result<Vec<_>>>()?;
        for row in operator.apply_block(&directions.iter().collect::<Vec<_>>())? {
            rows.extend(row.to_f64()?);
        }
    }
    Dense::new(space, rows)
}
