//! Max and average pooling.
//!
//! Max pooling picks elements at fixed places as long as the order of the values stays: it is linear almost everywhere.
//! [`gather`] picks, `scatter` puts back; each is the other's derivative, so any order of derivative is exact.

use super::float::{Float, contiguous, dispatch};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// Window of a pooling: `kernel x kernel`, `stride` apart, `padding` at each border (never chosen as a maximum).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2d {
    /// Side of the window, at least 1.
    pub kernel: usize,
    /// Distance of neighbouring windows, at least 1.
    pub stride: usize,
    /// Border added on each side, at most half the kernel.
    pub padding: usize,
}

impl Pool2d {
    /// Windows of side `kernel` that touch and do not overlap.
    pub fn tiles(kernel: usize) -> Self {
        Self { kernel, stride: kernel, padding: 0 }
    }

    fn output(&self, len: usize) -> Result<usize> {
        let padded = len + 2 * self.padding;
        if self.stride == 0 || self.kernel == 0 || self.padding * 2 > self.kernel || self.kernel > padded {
            bail!("pooling: {self:?} does not fit an input of side {len}");
        }
        Ok((padded - self.kernel) / self.stride + 1)
    }

    /// The largest element of every window of `x (n, c, h, w)`; the first in row order where several are equal, NaN
    /// where there is one, as in PyTorch.
    ///
    /// # Errors
    /// A window that does not fit; on other devices than CPU, windows that are not [`Self::tiles`] of the input.
    pub fn max(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.max_and_pick(x)?.0)
    }

    /// The maxima, and the linear map that picks the same places of another tensor of `x`'s shape.
    pub(crate) fn max_and_pick(&self, x: &Tensor) -> Result<(Tensor, Pick)> {
        if !x.device().is_cpu() {
            return self.max_portable(x);
        }
        let places = Arc::new(OnceLock::new());
        let y = x.contiguous()?.apply_op1(MaxPool { pool: *self, places: places.clone() })?;
        let places = places.get().cloned().ok_or_else(|| candle_core::Error::Msg("max pooling did not run".into()))?;
        Ok((y, Pick::Places(places)))
    }

    /// The same with candle's operations: a mask of the chosen places in every tile.
    fn max_portable(&self, x: &Tensor) -> Result<(Tensor, Pick)> {
        let k = self.kernel;
        let windows = self.tiled(x)?;
        let chosen = windows.detach().argmax_keepdim(D::Minus1)?;
        let all = Tensor::arange(0u32, (k * k) as u32, x.device())?;
        let mask = chosen.broadcast_eq(&all.reshape((1, 1, 1, 1, k * k))?)?.to_dtype(x.dtype())?;
        let pick = Pick::Mask(mask, *self);
        Ok((pick.apply(x)?, pick))
    }

    /// `(n, c, h, w)` as `(n, c, h / k, w / k, k * k)`.
    fn tiled(&self, x: &Tensor) -> Result<Tensor> {
        let (k, (n, c, h, w)) = (self.kernel, x.dims4()?);
        let (oh, ow) = (self.output(h)?, self.output(w)?);
        if self.stride != k || self.padding != 0 {
            bail!("pooling: {self:?} runs on CPU alone; use kernel = stride and no padding on this device");
        }
        x.narrow(2, 0, oh * k)?
            .narrow(3, 0, ow * k)?
            .reshape((n, c, oh, k, ow, k))?
            .permute((0, 1, 2, 4, 3, 5))?
            .reshape((n, c, oh, ow, k * k))
    }

    /// The mean of every tile of `x (n, c, h, w)`; exact derivatives of any order.
    ///
    /// # Errors
    /// Windows that are not tiles.
    pub fn mean(&self, x: &Tensor) -> Result<Tensor> {
        self.tiled(x)?.mean(D::Minus1)
    }
}

/// The linear map of max pooling at a fixed choice of places.
#[derive(Debug, Clone)]
pub(crate) enum Pick {
    /// Place of every maximum in its input plane, `u32` of the output's shape.
    Places(Tensor),
    /// One mask an output element over its tile.
    Mask(Tensor, Pool2d),
}

impl Pick {
    /// Puts the elements of `g` back to their places in a tensor of the given shape, zeros elsewhere; on CPU.
    pub(crate) fn transpose(&self, g: &Tensor, shape: &Shape) -> Result<Tensor> {
        let (_, _, h, w) = shape.dims4()?;
        match self {
            Self::Places(places) => g.contiguous()?.apply_op2(places, Scatter { h, w }),
            Self::Mask(..) => bail!("max-pool2d: places are known on CPU alone"),
        }
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Places(places) => x.contiguous()?.apply_op2(places, Gather),
            Self::Mask(mask, pool) => pool.tiled(x)?.broadcast_mul(mask)?.sum(D::Minus1),
        }
    }
}

struct MaxPool {
    pool: Pool2d,
    /// Set by the forward pass.
    places: Arc<OnceLock<Tensor>>,
}

impl MaxPool {
    fn run<T: Float>(
        &self,
        x: &[T],
        (h, w): (usize, usize),
        (oh, ow): (usize, usize),
        planes: usize,
    ) -> (Vec<T>, Vec<u32>) {
        let Pool2d { kernel, stride, padding } = self.pool;
        let mut y = vec![T::default(); planes * oh * ow];
        let mut places = vec![0u32; planes * oh * ow];
        if y.is_empty() {
            return (y, places);
        }
        let least = (1usize << 12).div_ceil(oh * ow);
        let work = y.par_chunks_mut(oh * ow).zip(places.par_chunks_mut(oh * ow)).zip(x.par_chunks(h * w));
        work.with_min_len(least).for_each(|((y, places), x)| {
            for i in 0..oh {
                let rows = (i * stride).saturating_sub(padding)..(i * stride + kernel - padding).min(h);
                let y = &mut y[i * ow..(i + 1) * ow];
                let places = &mut places[i * ow..(i + 1) * ow];
                for (j, (y, place)) in y.iter_mut().zip(places).enumerate() {
                    let (left, right) = ((j * stride).saturating_sub(padding), (j * stride + kernel - padding).min(w));
                    let mut at = rows.start * w + left;
                    let mut best = x[at];
                    for r in rows.clone() {
                        for (c, &v) in x[r * w + left..r * w + right].iter().enumerate() {
                            // a NaN stays once found
                            #[allow(clippy::eq_op)]
                            if v > best || (v != v && best == best) {
                                best = v;
                                at = r * w + left + c;
                            }
                        }
                    }
                    *y = best;
                    *place = at as u32;
                }
            }
        });
        (y, places)
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool2d"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = l.shape().dims4()?;
        let (oh, ow) = (self.pool.output(h)?, self.pool.output(w)?);
        if h * w > u32::MAX as usize {
            bail!("max-pool2d: planes of {h}x{w} are too large");
        }
        dispatch!("max-pool2d", s, T => {
            let x = contiguous::<T>("max-pool2d", s, l)?;
            let (y, places) = self.run(x, (h, w), (oh, ow), n * c);
            let _ = self.places.set(Tensor::from_vec(places, (n, c, oh, ow), &candle_core::Device::Cpu)?);
            Ok((T::storage(y), Shape::from((n, c, oh, ow))))
        })
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let Some(places) = self.places.get() else { bail!("max-pool2d: no forward pass") };
        let (_, _, h, w) = x.dims4()?;
        Ok(Some(g.contiguous()?.apply_op2(places, Scatter { h, w })?))
    }
}

/// `(n, c, h, w), places (n, c, oh, ow) -> (n, c, oh, ow)`.
struct Gather;
/// `(n, c, oh, ow), places (n, c, oh, ow) -> (n, c, h, w)`: adds up where windows overlap.
struct Scatter {
    h: usize,
    w: usize,
}

fn places<'a>(s: &'a CpuStorage, l: &Layout) -> Result<&'a [u32]> {
    match (s, l.contiguous_offsets()) {
        (CpuStorage::U32(p), Some((start, end))) => Ok(&p[start..end]),
        _ => bail!("max-pool2d: the places must be {:?} and contiguous", DType::U32),
    }
}

impl CustomOp2 for Gather {
    fn name(&self) -> &'static str {
        "max-pool2d-gather"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, c, h, w), (n2, c2, oh, ow)) = (l1.shape().dims4()?, l2.shape().dims4()?);
        if (n, c) != (n2, c2) {
            bail!("max-pool2d: shapes {:?} and {:?} do not fit", l1.shape(), l2.shape());
        }
        dispatch!("max-pool2d", s1, T => {
            let (x, places) = (contiguous::<T>("max-pool2d", s1, l1)?, places(s2, l2)?);
            let mut y = vec![T::default(); places.len()];
            if !y.is_empty() {
                let least = (1usize << 14).div_ceil(oh * ow);
                let work = y.par_chunks_mut(oh * ow).zip(places.par_chunks(oh * ow)).zip(x.par_chunks(h * w));
                work.with_min_len(least).for_each(|((y, places), x)| {
                    y.iter_mut().zip(places).for_each(|(y, p)| *y = x[*p as usize]);
                });
            }
            Ok((T::storage(y), l2.shape().clone()))
        })
    }
    fn bwd(&self, x: &Tensor, places: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, _, h, w) = x.dims4()?;
        let dx = x.track_op().then(|| g.contiguous()?.apply_op2(places, Scatter { h, w })).transpose()?;
        Ok((dx, None))
    }
}

impl CustomOp2 for Scatter {
    fn name(&self) -> &'static str {
        "max-pool2d-scatter"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, oh, ow) = l1.shape().dims4()?;
        if l1.shape() != l2.shape() {
            bail!("max-pool2d: shapes {:?} and {:?} differ", l1.shape(), l2.shape());
        }
        let (h, w) = (self.h, self.w);
        dispatch!("max-pool2d", s1, T => {
            let (g, places) = (contiguous::<T>("max-pool2d", s1, l1)?, places(s2, l2)?);
            let mut x = vec![T::default(); n * c * h * w];
            if !g.is_empty() {
                let least = (1usize << 14).div_ceil(h * w);
                let work = x.par_chunks_mut(h * w).zip(g.par_chunks(oh * ow)).zip(places.par_chunks(oh * ow));
                work.with_min_len(least).for_each(|((x, g), places)| {
                    g.iter().zip(places).for_each(|(g, p)| x[*p as usize] += *g);
                });
            }
            Ok((T::storage(x), Shape::from((n, c, h, w))))
        })
    }
    fn bwd(&self, g: &Tensor, places: &Tensor, _: &Tensor, h: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dg = g.track_op().then(|| h.contiguous()?.apply_op2(places, Gather)).transpose()?;
        Ok((dg, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use flat_core::{Purpose, Streams};

    #[test]
    fn the_mask_of_other_devices_and_the_places_of_the_kernel_agree() -> Result<()> {
        let numbers = Streams::new(0).at(Purpose::Test, 0).normals(2 * 3 * 7 * 8);
        let x = Var::from_tensor(&Tensor::from_vec(numbers, (2, 3, 7, 8), &Device::Cpu)?.round_to(0)?)?;
        let pool = Pool2d::tiles(2);
        let weight = Tensor::arange(0.0f64, 72.0, &Device::Cpu)?.reshape((2, 3, 3, 4))?;
        let run = |(y, pick): (Tensor, Pick)| -> Result<[Vec<f64>; 3]> {
            let grads = (&y * &weight)?.sum_all()?.backward()?;
            let Some(g) = grads.get(x.as_tensor()) else { bail!("no gradient") };
            let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f64>();
            Ok([flat(&y)?, flat(g)?, flat(&pick.apply(&x.as_detached_tensor().sqr()?)?)?])
        };
        // rounded to whole numbers, so that many windows hold equal maxima
        assert_eq!(run(pool.max_and_pick(&x)?)?, run(pool.max_portable(&x)?)?);
        Ok(())
    }
}
