//! Max and average pooling.
//!
//! Max pooling picks elements at fixed places as long as the order of the values stays: it is linear almost everywhere.
//! [`gather`] picks, `scatter` puts back; each is the other's derivative, so any order of derivative is exact.

use super::buffer::{Buffer, kernel, vectorized};
use super::channel::sum;
use super::float::{Float, contiguous, dispatch};
use super::has_kernels;
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;
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
    /// A window that does not fit; on a device without kernels, windows that are not [`Self::tiles`].
    pub fn max(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.max_and_pick(x)?.0)
    }

    /// The maxima, and the linear map that picks the same places of another tensor of `x`'s shape.
    pub(crate) fn max_and_pick(&self, x: &Tensor) -> Result<(Tensor, Pick)> {
        if !has_kernels(x.device()) {
            return self.max_portable(x);
        }
        let places = Arc::new(OnceLock::new());
        let y = x.contiguous()?.apply_op1(MaxPool { pool: *self, places: places.clone() })?;
        let places = places.get().cloned().ok_or_else(|| candle_core::Error::Msg("max pooling did not run".into()))?;
        Ok((y, Pick::Places(places, *self)))
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
            bail!("pooling: {self:?} has no kernel on this device; use kernel = stride and no padding on this device");
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
    Places(Tensor, Pool2d),
    /// One mask an output element over its tile.
    Mask(Tensor, Pool2d),
}

impl Pick {
    /// Puts the elements of `g` back to their places in a tensor of the given shape, zeros elsewhere; where there are kernels.
    pub(crate) fn transpose(&self, g: &Tensor, shape: &Shape) -> Result<Tensor> {
        let (_, _, h, w) = shape.dims4()?;
        match self {
            Self::Places(places, pool) => g.contiguous()?.apply_op2(places, Scatter { h, w, pool: *pool }),
            Self::Mask(..) => bail!("max-pool2d: a mask knows no places"),
        }
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Places(places, pool) => x.contiguous()?.apply_op2(places, Gather { pool: *pool }),
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
        if self.pool == Pool2d::tiles(2) {
            return max_of_pairs(x, (h, w), planes);
        }
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
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let (n, c, h, w) = l.shape().dims4()?;
        let output = (self.pool.output(h)?, self.pool.output(w)?);
        let (y, places, shape) = super::cuda::max_pool(self.pool, output, (n, c, h, w), (s, l))?;
        let _ = self.places.set(places);
        Ok((y, shape))
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let Some(places) = self.places.get() else { bail!("max-pool2d: no forward pass") };
        let (_, _, h, w) = x.dims4()?;
        Ok(Some(g.contiguous()?.apply_op2(places, Scatter { h, w, pool: self.pool })?))
    }
}

kernel! {
    /// 2x2 tiles of one plane.
    Max2<'a, T> {
        x: &'a [T],
        width: usize,
        y: &'a mut [MaybeUninit<T>],
        places: &'a mut [MaybeUninit<u32>],
    } -> (), |k| {
        let (w, ow) = (k.width, k.width / 2);
        let rows = k.x.chunks_exact(2 * w).zip(k.y.chunks_exact_mut(ow)).zip(k.places.chunks_exact_mut(ow));
        for (i, ((x, y), places)) in rows.enumerate() {
            let (upper, lower) = x.split_at(w);
            let tiles = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (j, ((tile, y), place)) in tiles.zip(y).zip(places).enumerate() {
                let (a, b) = ([tile.0[0], tile.0[1]], [tile.1[0], tile.1[1]]);
                let first = (2 * i * w + 2 * j) as u32;
                let (mut best, mut at) = (a[0], first);
                for (v, p) in [(a[1], first + 1), (b[0], first + w as u32), (b[1], first + w as u32 + 1)] {
                    // a NaN stays once found
                    #[allow(clippy::eq_op)]
                    let take = (v > best) | ((v != v) & (best == best));
                    best = if take { v } else { best };
                    at = if take { p } else { at };
                }
                y.write(best);
                place.write(at);
            }
        }
    }
}

/// [`MaxPool::run`] for 2x2 tiles.
fn max_of_pairs<T: Float>(x: &[T], (h, w): (usize, usize), planes: usize) -> (Vec<T>, Vec<u32>) {
    let len = (h / 2) * (w / 2);
    let (mut y, mut places) = (Buffer::new(planes * len), Buffer::new(planes * len));
    let (to, place) = (y.runs(), places.runs());
    let least = (1usize << 14).div_ceil(h * w);
    (0..planes).into_par_iter().with_min_len(least).for_each(|p| {
        // SAFETY: every plane has runs of its own.
        let (y, places) = unsafe { (to.run(p * len, len), place.run(p * len, len)) };
        vectorized(Max2 { x: &x[p * h * w..(p + 1) * h * w], width: w, y, places });
    });
    // SAFETY: every row of every plane was written.
    unsafe { (y.finish(), places.finish()) }
}

kernel! {
    /// The transpose of [`Max2`]: every element of the tiles is written.
    Spread2<'a, T> { g: &'a [T], places: &'a [u32], width: usize, x: &'a mut [MaybeUninit<T>] } -> (), |k| {
        let (w, ow) = (k.width, k.width / 2);
        let zero = T::default();
        let rows = k.x.chunks_mut(2 * w).zip(k.g.chunks_exact(ow)).zip(k.places.chunks_exact(ow));
        for (i, ((x, g), places)) in rows.enumerate() {
            let (upper, lower) = x.split_at_mut(w);
            let tiles = upper.chunks_exact_mut(2).zip(lower.chunks_exact_mut(2));
            for (j, ((tile, g), place)) in tiles.zip(g).zip(places).enumerate() {
                let at = *place - (2 * i * w + 2 * j) as u32;
                tile.0[0].write(if at == 0 { *g } else { zero });
                tile.0[1].write(if at == 1 { *g } else { zero });
                tile.1[0].write(if at == w as u32 { *g } else { zero });
                tile.1[1].write(if at == w as u32 + 1 { *g } else { zero });
            }
            if w % 2 == 1 {
                upper[w - 1].write(zero);
                lower[w - 1].write(zero);
            }
        }
        let (oh, rest) = (k.x.len() / (2 * w), k.x.len() % (2 * w));
        for x in &mut k.x[oh * 2 * w..][..rest] {
            x.write(zero);
        }
    }
}

/// The gradient of 2x2 tiles.
fn spread_pairs<T: Float>(g: &[T], places: &[u32], (h, w): (usize, usize), planes: usize) -> Vec<T> {
    let len = (h / 2) * (w / 2);
    let mut x = Buffer::new(planes * h * w);
    let to = x.runs();
    let least = (1usize << 14).div_ceil(h * w);
    (0..planes).into_par_iter().with_min_len(least).for_each(|p| {
        let (g, places) = (&g[p * len..(p + 1) * len], &places[p * len..(p + 1) * len]);
        // SAFETY: every plane has a run of its own.
        vectorized(Spread2 { g, places, width: w, x: unsafe { to.run(p * h * w, h * w) } });
    });
    // SAFETY: every element of every plane was written.
    unsafe { x.finish() }
}

/// `(n, c, h, w), places (n, c, oh, ow) -> (n, c, oh, ow)`.
struct Gather {
    pool: Pool2d,
}
/// `(n, c, oh, ow), places (n, c, oh, ow) -> (n, c, h, w)`: adds up where windows overlap.
struct Scatter {
    h: usize,
    w: usize,
    pool: Pool2d,
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
            let (len, least) = (oh * ow, (1usize << 14).div_ceil(h * w));
            let mut y = Buffer::new(places.len());
            let to = y.runs();
            (0..n * c).into_par_iter().with_min_len(least).for_each(|p| {
                let (x, places) = (&x[p * h * w..(p + 1) * h * w], &places[p * len..(p + 1) * len]);
                // SAFETY: every plane has a run of its own.
                let y = unsafe { to.run(p * len, len) };
                y.iter_mut().zip(places).for_each(|(y, p)| {
                    y.write(x[*p as usize]);
                });
            });
            // SAFETY: every run was written.
            Ok((T::storage(unsafe { y.finish() }), l2.shape().clone()))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        super::cuda::pool_gather(self.pool, (s1, l1), (s2, l2))
    }
    fn bwd(&self, x: &Tensor, places: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, _, h, w) = x.dims4()?;
        let dx =
            x.track_op().then(|| g.contiguous()?.apply_op2(places, Scatter { h, w, pool: self.pool })).transpose()?;
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
            if self.pool == Pool2d::tiles(2) {
                return Ok((T::storage(spread_pairs(g, places, (h, w), n * c)), Shape::from((n, c, h, w))));
            }
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
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        super::cuda::pool_scatter(self.pool, (self.h, self.w), (s1, l1), (s2, l2))
    }
    fn bwd(&self, g: &Tensor, places: &Tensor, _: &Tensor, h: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dg = g.track_op().then(|| h.contiguous()?.apply_op2(places, Gather { pool: self.pool })).transpose()?;
        Ok((dg, None))
    }
}

/// `(n, c, h, w) -> (n, c)`: the mean over rows and columns.
struct GlobalMean;
/// `(n, c) -> (n, c, h, w)`: an equal share for each element. Its derivative is the mean, and that one's is this.
struct Share {
    h: usize,
    w: usize,
}

impl CustomOp1 for GlobalMean {
    fn name(&self) -> &'static str {
        "global-mean"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = l.shape().dims4()?;
        dispatch!("global-mean", s, T => {
            let x = contiguous::<T>("global-mean", s, l)?;
            let planes = x.par_chunks_exact((h * w).max(1)).with_min_len((1usize << 14).div_ceil((h * w).max(1)));
            let y: Vec<T> = planes.map(|x| T::from_f64(sum(x) / (h * w) as f64)).collect();
            Ok((T::storage(y), Shape::from((n, c))))
        })
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, h, w) = x.dims4()?;
        Ok(Some(g.contiguous()?.apply_op1(Share { h, w })?))
    }
}

impl CustomOp1 for Share {
    fn name(&self) -> &'static str {
        "global-mean-share"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, c), area) = (l.shape().dims2()?, self.h * self.w);
        dispatch!("global-mean", s, T => {
            let g = contiguous::<T>("global-mean", s, l)?;
            let mut x = Vec::with_capacity(g.len() * area);
            for g in g {
                let share = T::from_f64(g.to_f64() / area as f64);
                x.resize(x.len() + area, share);
            }
            Ok((T::storage(x), Shape::from((n, c, self.h, self.w))))
        })
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(global_mean(g)?))
    }
}

/// The mean over rows and columns of `(n, c, h, w)`.
///
/// # Errors
/// Anything but four dimensions, or none.
pub(crate) fn global_mean(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    if h * w == 0 {
        bail!("global mean: images of {h}x{w}");
    }
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(GlobalMean);
    }
    x.reshape((n, c, h * w))?.mean(D::Minus1)
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
