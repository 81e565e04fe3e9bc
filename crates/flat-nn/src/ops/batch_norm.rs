//! Train-mode batch normalisation, with gain, bias and relu, in one pass over the batch each way.
//!
//! `y = gain N(x) + bias` with `N` of [`super::standardize`]; its gradient for `x` is `gain P(g)`. Both are kernels
//! here; *their* derivatives are written with the closed set of `standardize`, so any order of derivative is exact.

use super::activation::mask;
use super::channel::{Split, channel_affine, channel_dot, channel_scale, channel_sum_known, sum, sum_pairs};
use super::float::{Float, contiguous, dispatch};
use super::standardize::{Moments, Standardized, normal_and_inv_std, project, project_grad_normal};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// What the passes tell each other.
#[derive(Clone)]
struct Shared {
    eps: f64,
    /// Moments of `x`, set by the forward pass.
    moments: Arc<OnceLock<Moments>>,
}

impl Shared {
    fn moments(&self) -> Result<&Moments> {
        match self.moments.get() {
            Some(moments) => Ok(moments),
            None => bail!("batch-norm: no forward pass"),
        }
    }
}

/// `gain N(x) + bias`, clipped at 0 with `relu`; `x (outer, channels, inner)`.
struct Forward {
    shared: Shared,
    relu: bool,
}

impl CustomOp3 for Forward {
    fn name(&self) -> &'static str {
        "batch-norm"
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
        if l2.shape().elem_count() != split.channels || l3.shape().elem_count() != split.channels {
            bail!("batch-norm: gain {:?} and bias {:?} for {} channels", l2.shape(), l3.shape(), split.channels);
        }
        dispatch!("batch-norm", s1, T => {
            let x = contiguous::<T>("batch-norm", s1, l1)?;
            let (gain, bias) = (contiguous::<T>("batch-norm", s2, l2)?, contiguous::<T>("batch-norm", s3, l3)?);
            let moments = Moments::of(x, split);
            let r = moments.inv_std(self.shared.eps);
            let zero = <T as Default>::default();
            let out = split.fill(|c, at, out: &mut [T]| {
                let (mean, factor, bias) = (T::from_f64(moments.mean[c]), T::from_f64(r[c]) * gain[c], bias[c]);
                let affine = |x: T| (x - mean) * factor + bias;
                if self.relu {
                    out.iter_mut().zip(&x[at..]).for_each(|(out, x)| {
                        let y = affine(*x);
                        *out = if y < zero { zero } else { y };
                    });
                } else {
                    out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = affine(*x));
                }
            });
            let _ = self.shared.moments.set(moments);
            Ok((T::storage(out), l1.shape().clone()))
        })
    }
    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        res: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = if self.relu { mask(g, res)? } else { g.contiguous()? };
        let sums = Sums::default();
        let shared = || self.shared.clone();
        let dx = GradInput { shared: shared(), sums: sums.clone() };
        let dx = x.track_op().then(|| x.apply_op3(gain, &g, dx)).transpose()?;
        let dgain = GradGain { shared: shared(), sums: sums.clone() };
        let dgain = gain.track_op().then(|| x.apply_op2(&g, dgain)).transpose()?;
        let known = sums.0.get().map(|s| s.iter().map(|s| s[0]).collect());
        let dbias = bias.track_op().then(|| channel_sum_known(&g, known)).transpose()?;
        Ok((dx, dgain, dbias))
    }
}

/// `sum g` and `<g, N(x)>` of each channel, once known.
#[derive(Clone, Default)]
struct Sums(Arc<OnceLock<Vec<[f64; 2]>>>);

impl Sums {
    fn of<T: Float>(&self, shared: &Shared, x: &[T], g: &[T], split: Split) -> Result<&[[f64; 2]]> {
        let moments = shared.moments()?;
        let r = moments.inv_std(shared.eps);
        Ok(self.0.get_or_init(|| {
            let sums = split.reduce(|at| {
                let mean = T::from_f64(moments.mean[(at / split.inner) % split.channels]);
                let (x, g) = (&x[at..at + split.inner], &g[at..at + split.inner]);
                [sum(g), sum_pairs(g, x, |g, x| g * (x - mean))]
            });
            sums.into_iter().zip(r).map(|([s, along], r)| [s, along * r]).collect()
        }))
    }
}

/// `gain P(g)`, the gradient for `x`.
struct GradInput {
    shared: Shared,
    sums: Sums,
}

impl CustomOp3 for GradInput {
    fn name(&self) -> &'static str {
        "batch-norm-grad-input"
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
        if l1.shape() != l3.shape() {
            bail!("batch-norm: a gradient {:?} for {:?}", l3.shape(), l1.shape());
        }
        dispatch!("batch-norm", s1, T => {
            let (x, g) = (contiguous::<T>("batch-norm", s1, l1)?, contiguous::<T>("batch-norm", s3, l3)?);
            let gain = contiguous::<T>("batch-norm", s2, l2)?;
            let sums = self.sums.of(&self.shared, x, g, split)?;
            let moments = self.shared.moments()?;
            let (r, count) = (moments.inv_std(self.shared.eps), split.count() as f64);
            let out = split.fill(|c, at, out: &mut [T]| {
                let (mean, factor) = (T::from_f64(moments.mean[c]), T::from_f64(r[c]) * gain[c]);
                let (shift, along) = (T::from_f64(sums[c][0] / count), T::from_f64(r[c] * sums[c][1] / count));
                for ((out, g), x) in out.iter_mut().zip(&g[at..]).zip(&x[at..]) {
                    *out = (*g - shift - (*x - mean) * along) * factor;
                }
            });
            Ok((T::storage(out), l1.shape().clone()))
        })
    }
    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        g: &Tensor,
        _: &Tensor,
        h: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (normal, r) = normal_and_inv_std(x, self.shared.eps)?;
        let projected = project(g, &normal, &r)?;
        let scaled = channel_scale(h, gain)?;
        let dx = if x.track_op() {
            // x acts through N(x) and r(x), dr/dx = -r^2 N(x) / count
            let dnormal = project_grad_normal(g, &normal, &r, &scaled)?;
            let dr = (channel_dot(&scaled, &projected)? / &r)?;
            let factor = ((r.sqr()? * dr)? * (-1.0 / Split::of(x.shape())?.count() as f64))?;
            Some((project(&dnormal, &normal, &r)? + channel_scale(&normal, &factor)?)?)
        } else {
            None
        };
        let dgain = gain.track_op().then(|| channel_dot(h, &projected)).transpose()?;
        let dg = g.track_op().then(|| project(&scaled, &normal, &r)).transpose()?;
        Ok((dx, dgain, dg))
    }
}

/// `<g, N(x)>` of each channel, the gradient for the gain.
struct GradGain {
    shared: Shared,
    sums: Sums,
}

impl CustomOp2 for GradGain {
    fn name(&self) -> &'static str {
        "batch-norm-grad-gain"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l1.shape())?;
        dispatch!("batch-norm", s1, T => {
            let (x, g) = (contiguous::<T>("batch-norm", s1, l1)?, contiguous::<T>("batch-norm", s2, l2)?);
            let sums = self.sums.of(&self.shared, x, g, split)?;
            let out: Vec<T> = sums.iter().map(|s| T::from_f64(s[1])).collect();
            Ok((T::storage(out), Shape::from(split.channels)))
        })
    }
    fn bwd(&self, x: &Tensor, g: &Tensor, _: &Tensor, h: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (normal, r) = normal_and_inv_std(x, self.shared.eps)?;
        let dx = x.track_op().then(|| project(&channel_scale(g, h)?, &normal, &r)).transpose()?;
        let dg = g.track_op().then(|| channel_scale(&normal, h)).transpose()?;
        Ok((dx, dg))
    }
}

/// `gain (x - mean) / sqrt(var + eps) + bias` over the batch `(n, c, ...)`, then relu where asked, and the moments.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn batch_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, eps: f64, relu: bool) -> Result<(Tensor, Moments)> {
    let split = Split::of(x.shape())?;
    if !x.device().is_cpu() {
        let s = Standardized::new(x, split, eps)?;
        let y = channel_affine(&s.value, gain, bias)?;
        return Ok((if relu { super::activation::relu(&y)? } else { y }, s.moments));
    }
    let shared = Shared { eps, moments: Arc::new(OnceLock::new()) };
    let flat = x.contiguous()?.reshape((split.outer, split.channels, split.inner))?;
    let op = Forward { shared: shared.clone(), relu };
    let y = flat.apply_op3(&gain.contiguous()?, &bias.contiguous()?, op)?.reshape(x.shape())?;
    Ok((y, shared.moments()?.clone()))
}
