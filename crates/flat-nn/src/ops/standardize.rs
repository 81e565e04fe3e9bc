//! Standardisation, the heart of batch and group normalisation: zero mean and unit variance a channel.
//!
//! With `r = 1 / sqrt(var + eps)`, `N(x) = r (x - mean)` has the symmetric Jacobian
//! `P(g; N, r) = r (g - mean(g) - N mean(g N))` (means over a channel), which is linear in `g` and serves both the
//! backward pass and forward tangents. `N`, `r` and `P` form a closed set: each one's derivative is written with the
//! others, so any order of derivative is exact.

use super::channel::{as_channels, channel_dot, channel_scale, channel_sum};
use super::moments::{BatchMoments, Moments};
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::channel as kernel;
use flat_kernels::cpu::norm::moments;
use flat_kernels::host::contiguous;
use flat_kernels::{Float, Split, dispatch};
use std::sync::{Arc, OnceLock};

/// Mean and variance of the channels of a batch on the host.
#[derive(Debug, Clone)]
struct Found {
    mean: Vec<f64>,
    var: Vec<f64>,
}

impl Found {
    /// `1 / sqrt(var + eps)`.
    fn inv_std(&self, eps: f64) -> Vec<f64> {
        self.var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect()
    }
}

/// `N(x)` of `x (outer, channels, inner)`.
struct Normalize {
    eps: f64,
    /// Set by the forward pass.
    moments: Arc<OnceLock<Found>>,
}

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "standardize"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l.shape())?;
        dispatch!("standardize", s.dtype(), T => {
            let x = contiguous::<T>("standardize", s, l)?;
            let (mean, var) = moments(split, x);
            let moments = Found { mean, var };
            let out = kernel::standardize(split, x, &moments.mean, &moments.inv_std(self.eps));
            let _ = self.moments.set(moments);
            Ok((T::storage(out), l.shape().clone()))
        })
    }
    fn bwd(&self, x: &Tensor, res: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(project(g, res, &inv_std(x, self.eps, &self.moments)?)?))
    }
}

/// `r(x)`, known from the forward pass of [`Normalize`].
struct InvStd {
    eps: f64,
    moments: Arc<OnceLock<Found>>,
}

fn inv_std(x: &Tensor, eps: f64, moments: &Arc<OnceLock<Found>>) -> Result<Tensor> {
    x.apply_op1(InvStd { eps, moments: moments.clone() })
}

/// `N(x)` and `r(x)` of `x (outer, channels, ...)`.
pub(crate) fn normal_and_inv_std(x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    if !x.device().is_cpu() {
        let s = Standardized::new(x, Split::of(x.shape())?, eps)?;
        return Ok((s.value, s.inv_std));
    }
    let moments = Arc::new(OnceLock::new());
    let normal = x.apply_op1(Normalize { eps, moments: moments.clone() })?;
    Ok((normal, inv_std(x, eps, &moments)?))
}

impl CustomOp1 for InvStd {
    fn name(&self) -> &'static str {
        "inverse-deviation"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some(moments) = self.moments.get() else { bail!("standardize: no forward pass") };
        let split = Split::of(l.shape())?;
        let r = moments.inv_std(self.eps);
        dispatch!("standardize", s.dtype(), T => {
            let r: Vec<T> = r.into_iter().map(T::from_f64).collect();
            Ok((T::storage(r), Shape::from(split.channels)))
        })
    }
    fn bwd(&self, x: &Tensor, r: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        // dr/dx = -r^2 N(x) / count
        let normal = x.apply_op1(Normalize { eps: self.eps, moments: Arc::new(OnceLock::new()) })?;
        let factor = ((r.sqr()? * g)? * (-1.0 / Split::of(x.shape())?.count() as f64))?;
        Ok(Some(channel_scale(&normal, &factor)?))
    }
}

/// `P(g; normal, r)`.
struct Project;

impl CustomOp3 for Project {
    fn name(&self) -> &'static str {
        "standardize-project"
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
        if l1.shape() != l2.shape() || l3.shape().elem_count() != split.channels {
            bail!("standardize-project: shapes {:?}, {:?}, {:?} do not fit", l1.shape(), l2.shape(), l3.shape());
        }
        dispatch!("standardize", s1.dtype(), T => {
            let (g, normal) = (contiguous::<T>("standardize", s1, l1)?, contiguous::<T>("standardize", s2, l2)?);
            let r = contiguous::<T>("standardize", s3, l3)?;
            Ok((T::storage(kernel::project(split, g, normal, r)), l1.shape().clone()))
        })
    }
    fn bwd(
        &self,
        g: &Tensor,
        normal: &Tensor,
        r: &Tensor,
        res: &Tensor,
        h: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dg = g.track_op().then(|| project(h, normal, r)).transpose()?;
        let dnormal = normal.track_op().then(|| project_grad_normal(g, normal, r, h)).transpose()?;
        let dr = r.track_op().then(|| channel_dot(h, res)? / r).transpose()?;
        Ok((dg, dnormal, dr))
    }
}

/// The gradient for `normal` of `<h, P(g; normal, r)>`: `-r (h mean(g normal) + g mean(h normal))`.
pub(crate) fn project_grad_normal(g: &Tensor, normal: &Tensor, r: &Tensor, h: &Tensor) -> Result<Tensor> {
    let r = (r * (-1.0 / Split::of(g.shape())?.count() as f64))?;
    channel_scale(h, &(channel_dot(g, normal)? * &r)?)? + channel_scale(g, &(channel_dot(h, normal)? * &r)?)?
}

/// `P(g; normal, r)` of tensors `(outer, channels, ...)`.
pub(crate) fn project(g: &Tensor, normal: &Tensor, r: &Tensor) -> Result<Tensor> {
    if g.device().is_cpu() {
        return g.contiguous()?.apply_op3(&normal.contiguous()?, &r.contiguous()?, Project);
    }
    let count = Split::of(g.shape())?.count() as f64;
    let centred = g.broadcast_sub(&as_channels(&(channel_sum(g)? / count)?, g.rank())?)?;
    channel_scale(&(centred - channel_scale(normal, &(channel_dot(g, normal)? / count)?)?)?, r)
}

/// A standardised tensor with what its tangents need.
pub(crate) struct Standardized {
    /// `N(x)`, in the shape of `x`.
    pub value: Tensor,
    /// `r(x)`, one a channel.
    inv_std: Tensor,
    moments: Moments,
    split: Split,
}

impl Standardized {
    /// `N(x)` over the channels of `split`.
    ///
    /// # Errors
    /// candle's.
    pub(crate) fn new(x: &Tensor, split: Split, eps: f64) -> Result<Self> {
        let flat = x.contiguous()?.reshape((split.outer, split.channels, split.inner))?;
        if x.device().is_cpu() {
            let cell = Arc::new(OnceLock::new());
            let value = flat.apply_op1(Normalize { eps, moments: cell.clone() })?.reshape(x.shape())?;
            let inv_std = inv_std(&flat, eps, &cell)?;
            let Some(Found { mean, var }) = cell.get().cloned() else { bail!("standardize: no forward pass") };
            let moments = Moments::Host { mean, var };
            return Ok(Self { value, inv_std, moments, split });
        }
        let count = split.count() as f64;
        let mean = (channel_sum(&flat)? / count)?;
        let centred = flat.broadcast_sub(&as_channels(&mean, 3)?)?;
        let var = (channel_sum(&centred.sqr()?)? / count)?;
        let inv_std = (&var + eps)?.sqrt()?.recip()?;
        let moments = Moments::Device(Tensor::stack(&[mean.detach(), var.detach()], 0)?);
        let value = channel_scale(&centred, &inv_std)?.reshape(x.shape())?;
        Ok(Self { value, inv_std, moments, split })
    }

    /// What the channels' moments were.
    pub(crate) fn moments(&self) -> BatchMoments {
        BatchMoments::new(self.split.count(), self.moments.clone())
    }

    /// The directional derivative of `N(x)` along `tangent`.
    ///
    /// # Errors
    /// candle's.
    pub(crate) fn tangent(&self, tangent: &Tensor) -> Result<Tensor> {
        let dims = (self.split.outer, self.split.channels, self.split.inner);
        let t = tangent.contiguous()?.reshape(dims)?;
        let normal = self.value.reshape(dims)?;
        project(&t, &normal, &self.inv_std)?.reshape(tangent.shape())
    }
}
