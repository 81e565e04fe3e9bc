//! Scaling, shifting and summing by channel: `(n, c, ...)` tensors seen as (outer, channel, inner).
//!
//! The derivatives of each of these are given by the others, so any order of derivative is exact.

use super::float::{Float, contiguous, dispatch};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// A tensor seen as `outer x channels x inner`: statistics and factors belong to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub outer: usize,
    pub channels: usize,
    pub inner: usize,
}

impl Split {
    /// Dimension 1 is the channel.
    pub(crate) fn of(shape: &Shape) -> Result<Self> {
        match shape.dims() {
            [outer, channels, rest @ ..] => {
                Ok(Self { outer: *outer, channels: *channels, inner: rest.iter().product() })
            }
            _ => bail!("shape {shape:?} has no channels"),
        }
    }

    /// Elements a channel has.
    pub(crate) fn count(self) -> usize {
        self.outer * self.inner
    }

    /// `f(sum)` of every channel, where `row(o, c)` sums one run of `inner` elements.
    pub(crate) fn reduce<const N: usize>(self, row: impl Fn(usize) -> [f64; N] + Sync) -> Vec<[f64; N]> {
        let sum = |c: usize| {
            let mut total = [0.0; N];
            for o in 0..self.outer {
                for (t, r) in total.iter_mut().zip(row((o * self.channels + c) * self.inner)) {
                    *t += r;
                }
            }
            total
        };
        // enough channels a task to be worth one
        let least = (1usize << 14).div_ceil(self.count().max(1));
        (0..self.channels).into_par_iter().with_min_len(least).map(sum).collect()
    }

    /// A new buffer filled run by run: `row(channel, offset, out)`.
    pub(crate) fn fill<T: Float>(self, row: impl Fn(usize, usize, &mut [T]) + Sync) -> Vec<T> {
        let mut out = vec![T::default(); self.outer * self.channels * self.inner];
        if out.is_empty() {
            return out;
        }
        let least = (1usize << 14).div_ceil(self.inner);
        out.par_chunks_mut(self.inner).with_min_len(least).enumerate().for_each(|(i, out)| {
            row(i % self.channels, i * self.inner, out);
        });
        out
    }
}

const LANES: usize = 16;

/// Sum of `f` over pairs of elements: lanes of the element type over at most 1024 elements, f64 above.
pub(crate) fn sum_pairs<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(1024).zip(b.chunks(1024)) {
        let mut lanes = [T::default(); LANES];
        let (ac, bc) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let tail: f64 = ac.remainder().iter().zip(bc.remainder()).map(|(a, b)| f(*a, *b).to_f64()).sum();
        for (a, b) in ac.zip(bc) {
            for i in 0..LANES {
                lanes[i] += f(a[i], b[i]);
            }
        }
        total += lanes.iter().map(|x| x.to_f64()).sum::<f64>() + tail;
    }
    total
}

/// Sum of elements, as [`sum_pairs`].
pub(crate) fn sum<T: Float>(a: &[T]) -> f64 {
    sum_pairs(a, a, |a, _| a)
}

/// `(n, c, ...) -> (c)`.
struct Sum;

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "channel-sum"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l.shape())?;
        dispatch!("channel-sum", s, T => {
            let x = contiguous::<T>("channel-sum", s, l)?;
            let out = if split.inner == 1 {
                column_sums(x, split.channels)
            } else {
                split.reduce(|at| [sum(&x[at..at + split.inner])]).into_iter().map(|[s]| T::from_f64(s)).collect()
            };
            Ok((T::storage(out), Shape::from(split.channels)))
        })
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(as_channels(g, x.rank())?.broadcast_as(x.shape())?.contiguous()?))
    }
}

/// Column sums of a matrix stored row by row.
fn column_sums<T: Float>(x: &[T], columns: usize) -> Vec<T> {
    let mut total = vec![0.0f64; columns];
    for row in x.chunks_exact(columns.max(1)) {
        for (t, x) in total.iter_mut().zip(row) {
            *t += x.to_f64();
        }
    }
    total.into_iter().map(T::from_f64).collect()
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
    if x.device().is_cpu() {
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
        dispatch!("channel-dot", s1, T => {
            let (a, b) = (contiguous::<T>("channel-dot", s1, l1)?, contiguous::<T>("channel-dot", s2, l2)?);
            let out = split.reduce(|at| [sum_pairs(&a[at..at + split.inner], &b[at..at + split.inner], |a, b| a * b)]);
            Ok((T::storage(out.into_iter().map(|[s]| T::from_f64(s)).collect()), Shape::from(split.channels)))
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
        dispatch!("channel-scale", s1, T => {
            let (x, f) = (contiguous::<T>("channel-scale", s1, l1)?, contiguous::<T>("channel-scale", s2, l2)?);
            if f.len() != split.channels {
                bail!("channel-scale: {} factors for {} channels", f.len(), split.channels);
            }
            let out = split.fill(|c, at, out: &mut [T]| {
                out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = *x * f[c]);
            });
            Ok((T::storage(out), l1.shape().clone()))
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
        dispatch!("channel-affine", s1, T => {
            let x = contiguous::<T>("channel-affine", s1, l1)?;
            let (f, shift) = (contiguous::<T>("channel-affine", s2, l2)?, contiguous::<T>("channel-affine", s3, l3)?);
            if f.len() != split.channels || shift.len() != split.channels {
                bail!("channel-affine: {} factors and {} shifts for {} channels", f.len(), shift.len(), split.channels);
            }
            let out = split.fill(|c, at, out: &mut [T]| {
                out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = *x * f[c] + shift[c]);
            });
            Ok((T::storage(out), l1.shape().clone()))
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

/// `x + shift`, a shift a channel.
///
/// # Errors
/// A wrong number of shifts.
pub(crate) fn channel_shift(x: &Tensor, shift: &Tensor) -> Result<Tensor> {
    x.broadcast_add(&as_channels(shift, x.rank())?)
}
