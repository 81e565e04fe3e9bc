//! Orthonormal bases of parameter vectors.

use crate::{Error, Result};
use candle_core::DType;
use flat_core::{ParamVec, Space};

/// Memory that the vectors of an estimator may take, in GiB.
const LIMIT_GIB: u64 = 8;

/// Refuses more vectors than fit in [`LIMIT_GIB`].
pub(crate) fn check_memory(space: &Space, vectors: u64) -> Result<()> {
    let dim = space.layout.len();
    let gib = vectors as f64 * dim as f64 * space.dtype.size_in_bytes() as f64 / f64::from(1 << 30);
    if gib <= LIMIT_GIB as f64 { Ok(()) } else { Err(Error::TooManyVectors { vectors, dim, gib, limit: LIMIT_GIB }) }
}

/// How many vectors fit in [`LIMIT_GIB`].
pub(crate) fn room(space: &Space) -> u64 {
    let bytes = (space.layout.len() * space.dtype.size_in_bytes()).max(1) as u64;
    (LIMIT_GIB << 30) / bytes
}

/// Orthonormal vectors, by Gram-Schmidt done twice (Giraud, Langou, Rozloznik, van den Eshof 2005: twice is enough).
pub(crate) struct Basis {
    vectors: Vec<ParamVec>,
    /// A vector is in the span if this fraction of it, or less, is outside.
    tolerance: f64,
}

/// A vector in terms of a basis and one vector more.
pub(crate) struct Split {
    /// Coefficients along the basis.
    pub(crate) along: Vec<f64>,
    /// Norm of what is outside; 0 where that is rounding alone.
    pub(crate) outside: f64,
}

impl Basis {
    pub(crate) fn new(space: &Space) -> Self {
        let epsilon = if space.dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        Self { vectors: Vec::new(), tolerance: 32.0 * epsilon }
    }

    pub(crate) fn vectors(&self) -> &[ParamVec] {
        &self.vectors
    }

    pub(crate) fn into_vectors(self) -> Vec<ParamVec> {
        self.vectors
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.len()
    }

    /// `<q_j, x>` for each vector.
    pub(crate) fn coefficients(&self, x: &ParamVec) -> Result<Vec<f64>> {
        self.vectors.iter().map(|q| Ok(q.dot(x)?)).collect()
    }

    /// `sum_j c_j q_j`.
    pub(crate) fn combine(&self, c: &[f64], space: &Space) -> Result<ParamVec> {
        combine(&self.vectors, c, space)
    }

    /// Takes away the part of `x` in the span, and says how much that was.
    pub(crate) fn reject(&self, x: &mut ParamVec) -> Result<Vec<f64>> {
        let mut along = vec![0.0; self.vectors.len()];
        for _ in 0..2 {
            for (sum, q) in along.iter_mut().zip(&self.vectors) {
                let c = q.dot(x)?;
                x.add_scaled(-c, q)?;
                *sum += c;
            }
        }
        Ok(along)
    }

    /// Adds the direction of `x` outside the span, if there is one.
    pub(crate) fn push(&mut self, mut x: ParamVec) -> Result<Split> {
        let norm = x.norm()?;
        if !norm.is_finite() {
            return Err(Error::NonFinite { quantity: format!("product {} of the sketch", self.len()), value: norm });
        }
        let along = self.reject(&mut x)?;
        let outside = x.norm()?;
        if outside <= self.tolerance * norm {
            return Ok(Split { along, outside: 0.0 });
        }
        x.scale(1.0 / outside)?;
        self.vectors.push(x);
        Ok(Split { along, outside })
    }
}

/// `sum_j c_j v_j`.
pub(crate) fn combine(vectors: &[ParamVec], c: &[f64], space: &Space) -> Result<ParamVec> {
    let mut out = ParamVec::zeros(space)?;
    for (c, v) in c.iter().zip(vectors) {
        out.add_scaled(*c, v)?;
    }
    Ok(out)
}
