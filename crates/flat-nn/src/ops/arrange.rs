//! Linear maps that move elements and change none: each with its transpose, so that derivatives of any order are exact.

use candle_core::{Result, Shape, Tensor, bail};

/// Where the elements of a tensor go.
#[derive(Debug, Clone)]
pub enum Arrange {
    /// The dimensions in another order: the i-th is the given one of before.
    Permute(Vec<usize>),
    /// A part of a dimension.
    Narrow {
        /// The dimension.
        dim: usize,
        /// The first place that stays.
        start: usize,
        /// The places that stay.
        len: usize,
    },
    /// Zeros at both ends of a dimension.
    Pad {
        /// The dimension.
        dim: usize,
        /// Zeros in front.
        before: usize,
        /// Zeros behind.
        after: usize,
    },
    /// The first dimension, of one place, so many times.
    Repeat(usize),
}

impl Arrange {
    /// The map of `x`, contiguous.
    pub(crate) fn of(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Permute(dims) => x.permute(dims.as_slice())?.contiguous(),
            Self::Narrow { dim, start, len } => x.narrow(*dim, *start, *len)?.contiguous(),
            Self::Pad { dim, before, after } => x.pad_with_zeros(*dim, *before, *after),
            Self::Repeat(n) => match x.dims() {
                [1, rest @ ..] => x.broadcast_as([&[*n], rest].concat())?.contiguous(),
                dims => bail!("repeat: the first dimension of {dims:?} is not 1"),
            },
        }
    }

    /// The transpose, of `g` in the map's shape to `shape`, which it maps.
    pub(crate) fn transpose(&self, g: &Tensor, shape: &Shape) -> Result<Tensor> {
        match self {
            Self::Permute(dims) => {
                let mut back = vec![0; dims.len()];
                dims.iter().enumerate().for_each(|(i, &dim)| back[dim] = i);
                g.permute(back)?.contiguous()
            }
            Self::Narrow { dim, start, len } => g.pad_with_zeros(*dim, *start, shape.dims()[*dim] - start - len),
            Self::Pad { dim, before, .. } => g.narrow(*dim, *before, shape.dims()[*dim])?.contiguous(),
            Self::Repeat(_) => g.sum_keepdim(0),
        }
    }
}

/// The matrix products of two batches: `(b, m, k)` times `(b, k, n)`. Where one is transposed its rows are columns of
/// memory.
pub(crate) fn products(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() != 3 || b.rank() != 3 {
        bail!("products: shapes {:?} and {:?} are no batches of matrices", a.shape(), b.shape());
    }
    a.matmul(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn every_map_and_its_transpose_are_adjoint() -> Result<()> {
        let x = Tensor::arange(0.0f64, 24.0, &Device::Cpu)?.reshape((1, 4, 6))?.sin()?;
        for map in [
            Arrange::Permute(vec![2, 0, 1]),
            Arrange::Narrow { dim: 2, start: 1, len: 3 },
            Arrange::Pad { dim: 1, before: 2, after: 1 },
            Arrange::Repeat(3),
        ] {
            let y = map.of(&x)?;
            let g = (Tensor::arange(0.0f64, y.elem_count() as f64, &Device::Cpu)?.cos()?).reshape(y.shape())?;
            let [forward, back] = [(&y * &g)?, (map.transpose(&g, x.shape())? * &x)?]
                .map(|t| t.sum_all().and_then(|t| t.to_scalar::<f64>()));
            let (forward, back) = (forward?, back?);
            // sums of at most 72 numbers
            assert!((forward - back).abs() < 1e-13 && forward != 0.0, "{map:?}: {forward} and {back}");
        }
        Ok(())
    }
}
