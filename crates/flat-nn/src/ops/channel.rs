//! Scaling, shifting and summing by channel: `(n, c, ...)` tensors seen as (outer, channel, inner).
//!
//! The derivatives of each of these are given by the others, so any order of derivative is exact.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::channel as kernel;
use flat_kernels::host::contiguous;
use flat_kernels::{Float, Split, dispatch, has_kernels};

/// `(n, c, ...) -> (c)`.
struct Sum;

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "channel-sum"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l.shape())?;
        dispatch!("channel-sum", s.dtype(), T => {
            let x = contiguous::<T>("channel-sum", s, l)?;
            Ok((T::storage(kernel::sums(split, x)), Shape::from(split.channels)))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        flat_kernels::cuda::elements::channel_sum((s, l))
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(as_channels(g, x.rank())?.broadcast_as(x.shape())?.contiguous()?))
    }
}

/// `(c)` as `(1, c, 1, ...)`.
pub(crate) fn as_channels(v: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank];
    dims[1] = v.elem_count();
    v.reshape(dims)
}

/// `sum x` over everything but dimension 1.
///
/// # Errors
/// Fewer than two dimensions.
pub(crate) fn channel_sum(x: &Tensor) -> Result<Tensor> {
    if has_kernels(x.device()) {
        return x.contiguous()?.apply_op1(Sum);
    }
    let split = Split::of(x.shape())?;
    x.reshape((split.outer, split.channels, split.inner))?.sum((0, 2))
}

/// `(n, c, ...), (n, c, ...) -> (c)`: sums of products.
struct Dot;

impl CustomOp2 for Dot {
    fn name(&self) -> &'static str {
        "channel-dot"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l1.shape())?;
        if l1.shape() != l2.shape() {
            bail!("channel-dot: shapes {:?} and {:?} differ", l1.shape(), l2.shape());
        }
        dispatch!("channel-dot", s1.dtype(), T => {
            let (a, b) = (contiguous::<T>("channel-dot", s1, l1)?, contiguous::<T>("channel-dot", s2, l2)?);
            Ok((T::storage(kernel::dots(split, a, b)), Shape::from(split.channels)))
        })
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = |wanted: &Tensor, other| wanted.track_op().then(|| channel_scale(other, g)).transpose();
        Ok((grad(a, b)?, grad(b, a)?))
    }
}

/// `<a, b>` channel by channel.
///
/// # Errors
/// Different shapes.
pub(crate) fn channel_dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.device().is_cpu() { a.contiguous()?.apply_op2(&b.contiguous()?, Dot) } else { channel_sum(&(a * b)?) }
}

/// `(n, c, ...), (c) -> (n, c, ...)`.
struct Scale;

impl CustomOp2 for Scale {
    fn name(&self) -> &'static str {
        "channel-scale"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l1.shape())?;
        dispatch!("channel-scale", s1.dtype(), T => {
            let (x, f) = (contiguous::<T>("channel-scale", s1, l1)?, contiguous::<T>("channel-scale", s2, l2)?);
            if f.len() != split.channels {
                bail!("channel-scale: {} factors for {} channels", f.len(), split.channels);
            }
            Ok((T::storage(kernel::scale(split, x, f)), l1.shape().clone()))
        })
    }
    fn bwd(&self, x: &Tensor, f: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = x.track_op().then(|| channel_scale(g, f)).transpose()?;
        let df = f.track_op().then(|| channel_dot(g, x)).transpose()?;
        Ok((dx, df))
    }
}

/// `x` times a factor a channel.
///
/// # Errors
/// A wrong number of factors.
pub(crate) fn channel_scale(x: &Tensor, factor: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2(&factor.contiguous()?, Scale);
    }
    x.broadcast_mul(&as_channels(factor, x.rank())?)
}

/// `(n, c, ...), (c), (c) -> (n, c, ...)`.
struct Affine;

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "channel-affine"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l1.shape())?;
        dispatch!("channel-affine", s1.dtype(), T => {
            let x = contiguous::<T>("channel-affine", s1, l1)?;
            let (f, shift) = (contiguous::<T>("channel-affine", s2, l2)?, contiguous::<T>("channel-affine", s3, l3)?);
            if f.len() != split.channels || shift.len() != split.channels {
                bail!("channel-affine: {} factors and {} shifts for {} channels", f.len(), shift.len(), split.channels);
            }
            Ok((T::storage(kernel::affine(split, x, f, shift)), l1.shape().clone()))
        })
    }
    fn bwd(
        &self,
        x: &Tensor,
        f: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dx = x.track_op().then(|| channel_scale(g, f)).transpose()?;
        let df = f.track_op().then(|| channel_dot(g, x)).transpose()?;
        let dshift = shift.track_op().then(|| channel_sum(g)).transpose()?;
        Ok((dx, df, dshift))
    }
}

/// `factor * x + shift`, a factor and a shift a channel.
///
/// # Errors
/// A wrong number of factors or shifts.
pub(crate) fn channel_affine(x: &Tensor, factor: &Tensor, shift: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op3(&factor.contiguous()?, &shift.contiguous()?, Affine);
    }
    channel_scale(x, factor)?.broadcast_add(&as_channels(shift, x.rank())?)
}

/// `(n, c, ...), (c) -> (n, c, ...)`, by a kernel of devices.
struct Shift;

impl CustomOp2 for Shift {
    fn name(&self) -> &'static str {
        "channel-shift"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("channel-shift: a CPU adds with broadcasting")
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((flat_kernels::cuda::elements::channel_shift((s1, l1), (s2, l2))?, l1.shape().clone()))
    }
    fn bwd(&self, x: &Tensor, shift: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dshift = shift.track_op().then(|| channel_sum(g)).transpose()?;
        Ok((x.track_op().then(|| g.clone()), dshift))
    }
}

/// `x + shift`, a shift a channel.
///
/// # Errors
/// A wrong number of shifts.
pub(crate) fn channel_shift(x: &Tensor, shift: &Tensor) -> Result<Tensor> {
    if has_kernels(x.device()) && !x.device().is_cpu() {
        return x.contiguous()?.apply_op2(&shift.contiguous()?, Shift);
    }
    x.broadcast_add(&as_channels(shift, x.rank())?)
}
