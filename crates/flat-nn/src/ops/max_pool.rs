//! Max and average pooling.
//!
//! Max pooling picks elements at fixed places as long as the order of the values stays: it is linear almost everywhere.
//! [`gather`] picks, `scatter` puts back; each is the other's derivative, so any order of derivative is exact.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::{channel, max_pool as kernel};
use flat_kernels::host::contiguous;
use flat_kernels::{Float, Windows, dispatch, has_kernels};
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

    pub(crate) fn output(&self, len: usize) -> Result<usize> {
        let padded = len + 2 * self.padding;
        if self.stride == 0 || self.kernel == 0 || self.padding * 2 > self.kernel || self.kernel > padded {
            bail!("pooling: {self:?} does not fit an input of side {len}");
        }
        Ok((padded - self.kernel) / self.stride + 1)
    }

    /// The sizes for planes of `x`, and for an output of this size where it is known.
    pub(crate) fn windows(
        &self,
        (n, c, h, w): (usize, usize, usize, usize),
        output: Option<(usize, usize)>,
    ) -> Result<Windows> {
        let (oh, ow) = match output {
            Some(output) => output,
            None => (self.output(h)?, self.output(w)?),
        };
        let Self { kernel, stride, padding } = *self;
        Ok(Windows { planes: n * c, h, w, oh, ow, kernel, stride, padding })
    }

    /// The largest element of every window of `x (n, c, h, w)`. Of equal ones the first in row order counts, and a
    /// window with NaN gives NaN, as in PyTorch.
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

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool2d"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = l.shape().dims4()?;
        let windows = self.pool.windows((n, c, h, w), None)?;
        if h * w > u32::MAX as usize {
            bail!("max-pool2d: planes of {h}x{w} are too large");
        }
        dispatch!("max-pool2d", s.dtype(), T => {
            let x = contiguous::<T>("max-pool2d", s, l)?;
            let (y, places) = kernel::max(windows, x);
            let _ = self.places.set(Tensor::from_vec(places, (n, c, windows.oh, windows.ow), &candle_core::Device::Cpu)?);
            Ok((T::storage(y), Shape::from((n, c, windows.oh, windows.ow))))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let (n, c, h, w) = l.shape().dims4()?;
        let windows = self.pool.windows((n, c, h, w), None)?;
        let shape = Shape::from((n, c, windows.oh, windows.ow));
        let (y, places) = flat_kernels::cuda::layers::max_pool(windows, &shape, (s, l))?;
        let _ = self.places.set(places);
        Ok((y, shape))
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let Some(places) = self.places.get() else { bail!("max-pool2d: no forward pass") };
        let (_, _, h, w) = x.dims4()?;
        Ok(Some(g.contiguous()?.apply_op2(places, Scatter { h, w, pool: self.pool })?))
    }
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

impl Gather {
    fn windows(&self, x: &Layout, places: &Layout) -> Result<Windows> {
        let ((n, c, h, w), (n2, c2, oh, ow)) = (x.shape().dims4()?, places.shape().dims4()?);
        if (n, c) != (n2, c2) {
            bail!("max-pool2d: shapes {:?} and {:?} do not fit", x.shape(), places.shape());
        }
        self.pool.windows((n, c, h, w), Some((oh, ow)))
    }
}

impl CustomOp2 for Gather {
    fn name(&self) -> &'static str {
        "max-pool2d-gather"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let windows = self.windows(l1, l2)?;
        dispatch!("max-pool2d", s1.dtype(), T => {
            let (x, places) = (contiguous::<T>("max-pool2d", s1, l1)?, places(s2, l2)?);
            Ok((T::storage(kernel::gather(windows, x, places)), l2.shape().clone()))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let windows = self.windows(l1, l2)?;
        Ok((flat_kernels::cuda::layers::pool_gather(windows, (s1, l1), (s2, l2))?, l2.shape().clone()))
    }
    fn bwd(&self, x: &Tensor, places: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, _, h, w) = x.dims4()?;
        let dx =
            x.track_op().then(|| g.contiguous()?.apply_op2(places, Scatter { h, w, pool: self.pool })).transpose()?;
        Ok((dx, None))
    }
}

impl Scatter {
    fn windows(&self, g: &Layout, places: &Layout) -> Result<(Windows, Shape)> {
        let (n, c, oh, ow) = g.shape().dims4()?;
        if g.shape() != places.shape() {
            bail!("max-pool2d: shapes {:?} and {:?} differ", g.shape(), places.shape());
        }
        let shape = (n, c, self.h, self.w);
        Ok((self.pool.windows(shape, Some((oh, ow)))?, Shape::from(shape)))
    }
}

impl CustomOp2 for Scatter {
    fn name(&self) -> &'static str {
        "max-pool2d-scatter"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (windows, shape) = self.windows(l1, l2)?;
        dispatch!("max-pool2d", s1.dtype(), T => {
            let (g, places) = (contiguous::<T>("max-pool2d", s1, l1)?, places(s2, l2)?);
            Ok((T::storage(kernel::scatter(windows, g, places)), shape))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let (windows, shape) = self.windows(l1, l2)?;
        Ok((flat_kernels::cuda::layers::pool_scatter(windows, (s1, l1), (s2, l2))?, shape))
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
        dispatch!("global-mean", s.dtype(), T => {
            let x = contiguous::<T>("global-mean", s, l)?;
            Ok((T::storage(channel::plane_means(x, h * w)), Shape::from((n, c))))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        flat_kernels::cuda::elements::plane_mean((s, l))
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
        dispatch!("global-mean", s.dtype(), T => {
            let g = contiguous::<T>("global-mean", s, l)?;
            Ok((T::storage(channel::plane_shares(g, area)), Shape::from((n, c, self.h, self.w))))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        flat_kernels::cuda::elements::plane_share((s, l), (self.h, self.w))
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
    if has_kernels(x.device()) {
        return x.contiguous()?.apply_op1(GlobalMean);
    }
    x.reshape((n, c, h * w))?.mean(D::Minus1)
}

/// The transpose of [`global_mean`] by a kernel: `(n, c)` to `(n, c, h, w)`.
#[cfg(feature = "cuda")]
pub(crate) fn global_mean_share(g: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
    g.contiguous()?.apply_op1(Share { h, w })
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
