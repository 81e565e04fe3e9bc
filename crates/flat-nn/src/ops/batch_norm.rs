//! Normalisation by channel, with gain, bias, a residual and relu, in one pass over the batch each way.
//!
//! `y = relu(gain n + bias + skip)` with `n = r (x - mean)`; mean and `r` are the batch's ([`super::standardize`]) or
//! constants. The backward pass is a kernel; where a second one will follow, it is written with the closed set of
//! `standardize` instead, so that any order of derivative is exact.

use super::activation::{mask, relu};
use super::backward_graph::keeps_graph;
use super::channel::{channel_affine, channel_dot, channel_scale, channel_shift, channel_sum};
use super::moments::{BatchMoments, Moments};
use super::standardize::{Standardized, normal_and_inv_std, project};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::norm::{self as kernel, Layer, Mask, Stats};
use flat_kernels::host::{contiguous, elements};
use flat_kernels::{Float, Split, dispatch, has_kernels};
use std::sync::{Arc, OnceLock};

/// The statistics that a forward pass found, on the host or on a device: there `(3, c)` in f64, mean, variance and `r`.
#[derive(Clone, Default)]
pub(crate) struct Found(Arc<(OnceLock<Vec<Stats>>, OnceLock<Tensor>)>);

impl Found {
    pub(crate) fn get(&self) -> Option<&Vec<Stats>> {
        self.0.0.get()
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn on_device(&self) -> Result<&Tensor> {
        self.0.1.get().ok_or_else(|| candle_core::Error::Msg("norm: no forward pass".into()))
    }
}

/// What a layer normalises by.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The batch's statistics, with this constant under the root.
    Batch(f64),
    /// Constants: a mean and an `r` a channel, on the layer's device.
    Fixed(Tensor, Tensor),
}

impl Source {
    /// For the kernels of the CPU, where tensors are at hand.
    #[expect(clippy::disallowed_methods, reason = "tensors of the CPU")]
    fn on_host(&self) -> Result<kernel::Source> {
        let host = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1();
        Ok(match self {
            Self::Batch(eps) => kernel::Source::Batch(*eps),
            Self::Fixed(mean, r) => kernel::Source::Fixed(host(mean)?, host(r)?),
        })
    }

    /// For the kernels of CUDA: the constant, or statistics `(3, c)` in f64, made without waiting.
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> Result<flat_kernels::cuda::layers::Statistics> {
        use flat_kernels::cuda::layers::Statistics;
        Ok(match self {
            Self::Batch(eps) => Statistics::Batch(*eps),
            Self::Fixed(mean, r) => {
                let (mean, r) = (mean.to_dtype(DType::F64)?.flatten_all()?, r.to_dtype(DType::F64)?.flatten_all()?);
                Statistics::Fixed(Tensor::stack(&[&mean, &mean.zeros_like()?, &r], 0)?)
            }
        })
    }
}

/// `(c), (c) -> (2, c)`: gain and bias as one operand.
struct Pack;

impl CustomOp2 for Pack {
    fn name(&self) -> &'static str {
        "norm-pack"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        dispatch!("norm", s1.dtype(), T => {
            let (gain, bias) = (contiguous::<T>("norm", s1, l1)?, contiguous::<T>("norm", s2, l2)?);
            if gain.len() != bias.len() {
                bail!("norm: {} gains and {} biases", gain.len(), bias.len());
            }
            Ok((T::storage([gain, bias].concat()), Shape::from((2, gain.len()))))
        })
    }
    fn bwd(&self, gain: &Tensor, bias: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let part = |i, wanted: &Tensor| wanted.track_op().then(|| g.get(i)).transpose();
        Ok((part(0, gain)?, part(1, bias)?))
    }
}

/// The layer; `x (n, c, ...)`, gain and bias `(2, c)`, and the residual as third operand.
struct Norm {
    source: Source,
    relu: bool,
    /// Set by the forward pass.
    found: Found,
}

/// The two rows of gains and biases.
fn halves<T>(packed: &[T], split: Split) -> Result<(&[T], &[T])> {
    if packed.len() != 2 * split.channels {
        bail!("norm: {} gains for {} channels", packed.len() / 2, split.channels);
    }
    Ok(packed.split_at(split.channels))
}

impl Norm {
    fn run(
        &self,
        (s1, l1): (&CpuStorage, &Layout),
        (s2, l2): (&CpuStorage, &Layout),
        skip: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let split = Split::of(l1.shape())?;
        if let Some((_, l)) = skip.filter(|(_, l)| l.shape() != l1.shape()) {
            bail!("norm: a residual {:?} for {:?}", l.shape(), l1.shape());
        }
        dispatch!("norm", s1.dtype(), T => {
            let x = contiguous::<T>("norm", s1, l1)?;
            let (gain, bias) = halves(contiguous::<T>("norm", s2, l2)?, split)?;
            let skip = skip.map(|(s, l)| contiguous::<T>("norm", s, l)).transpose()?;
            let layer = Layer { split, x, gain, bias, batch: matches!(self.source, Source::Batch(_)) };
            let (y, stats) = kernel::forward(layer, &self.source.on_host()?, skip, self.relu);
            let _ = self.found.0.0.set(stats);
            Ok((T::storage(y), l1.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn run_on_device(
        &self,
        x: (&CudaStorage, &Layout),
        packed: (&CudaStorage, &Layout),
        skip: Option<(&CudaStorage, &Layout)>,
    ) -> Result<(CudaStorage, Shape)> {
        let halves = [packed.1.narrow(0, 0, 1)?, packed.1.narrow(0, 1, 1)?];
        let gain_and_bias = [(packed.0, &halves[0]), (packed.0, &halves[1])];
        let (y, stats) =
            flat_kernels::cuda::layers::norm(&self.source.on_device()?, self.relu, x, gain_and_bias, skip)?;
        let _ = self.found.0.1.set(stats);
        Ok((y, x.1.shape().clone()))
    }

    /// Gradients of `x`, of gain and bias, and of the residual.
    fn gradients(
        &self,
        x: &Tensor,
        packed: &Tensor,
        skip: Option<&Tensor>,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        if keeps_graph()? {
            return self.differentiable(x, packed, skip, y, g);
        }
        let g = g.contiguous()?;
        let batch = matches!(self.source, Source::Batch(_));
        let wanted = skip.is_some_and(Tensor::track_op);
        let of = [x, &packed.get(0)?, &packed.get(1)?];
        let [dx, dgain, dbias, dskip] = norm_gradients(of, skip.map(|_| y), self.relu, batch, &self.found, &g, wanted)?;
        let dpacked = match (dgain, dbias) {
            (Some(gain), Some(bias)) if packed.track_op() => Some(Tensor::stack(&[gain, bias], 0)?),
            _ => None,
        };
        Ok([dx.filter(|_| x.track_op()), dpacked, dskip.or_else(|| wanted.then(|| g.clone()))])
    }

    /// The same as an expression with derivatives of its own.
    fn differentiable(
        &self,
        x: &Tensor,
        packed: &Tensor,
        skip: Option<&Tensor>,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let h = if self.relu { mask(g, y)? } else { g.contiguous()? };
        let gain = packed.get(0)?;
        let (normal, dx) = match &self.source {
            Source::Batch(eps) => {
                let (normal, r) = normal_and_inv_std(x, *eps)?;
                let dx = x.track_op().then(|| channel_scale(&project(&h, &normal, &r)?, &gain)).transpose()?;
                (normal, dx)
            }
            Source::Fixed(mean, r) => {
                let (mean, r) = (mean.to_dtype(x.dtype())?, r.to_dtype(x.dtype())?);
                let normal = channel_scale(&channel_shift(x, &mean.neg()?)?, &r)?;
                (normal, x.track_op().then(|| channel_scale(&h, &(gain * r)?)).transpose()?)
            }
        };
        let both = || Tensor::stack(&[channel_dot(&h, &normal)?, channel_sum(&h)?], 0);
        let dpacked = packed.track_op().then(both).transpose()?;
        Ok([dx, dpacked, skip.filter(|s| s.track_op()).map(|_| h)])
    }
}

/// Gradients of `x`, gain, bias and, where relu stands between and it is `wanted`, the residual, of a layer that found
/// `found`. `y` is the output where a residual went into it.
///
/// # Errors
/// Operands of another device or element type, no forward pass.
pub(crate) fn norm_gradients(
    of: [&Tensor; 3],
    y: Option<&Tensor>,
    relu: bool,
    batch: bool,
    found: &Found,
    g: &Tensor,
    wanted: bool,
) -> Result<[Option<Tensor>; 4]> {
    #[cfg(feature = "cuda")]
    if g.device().is_cuda() {
        return flat_kernels::cuda::layers::norm_gradients(of, y, relu, batch, found.on_device()?, g, wanted && relu);
    }
    dispatch!("norm", g.dtype(), T => gradients_of::<T>(of, y, relu, batch, found, g, wanted))
}

fn gradients_of<T: Float>(
    [x, gain, bias]: [&Tensor; 3],
    y: Option<&Tensor>,
    relu: bool,
    batch: bool,
    found: &Found,
    g: &Tensor,
    wanted: bool,
) -> Result<[Option<Tensor>; 4]> {
    let Some(stats) = found.get() else { bail!("norm: no forward pass") };
    let ((sx, lx), (sg, lg)) = (x.storage_and_layout(), g.storage_and_layout());
    let ((s1, l1), (s2, l2)) = (gain.storage_and_layout(), bias.storage_and_layout());
    let y = y.map(Tensor::storage_and_layout);
    let y = y.as_ref().map(|(s, l)| elements::<T>("norm", s, l)).transpose()?;
    let layer = Layer {
        split: Split::of(x.shape())?,
        x: elements::<T>("norm", &sx, lx)?,
        gain: elements::<T>("norm", &s1, l1)?,
        bias: elements::<T>("norm", &s2, l2)?,
        batch,
    };
    // without relu the residual's gradient is the one at hand
    let found = kernel::backward(layer, Mask::of(relu, y), elements::<T>("norm", &sg, lg)?, stats, wanted && relu);
    Ok([
        Some(T::tensor(found.x, x.shape())?),
        Some(T::tensor(found.gain, gain.shape())?),
        Some(T::tensor(found.bias, bias.shape())?),
        found.skip.map(|s| T::tensor(s, x.shape())).transpose()?,
    ])
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((s1, l1), (s2, l2), None)
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        self.run_on_device((s1, l1), (s2, l2), None)
    }
    fn bwd(&self, x: &Tensor, packed: &Tensor, y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dpacked, _] = self.gradients(x, packed, None, y, g)?;
        Ok((dx, dpacked))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm-add"
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
        self.run((s1, l1), (s2, l2), Some((s3, l3)))
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.run_on_device((s1, l1), (s2, l2), Some((s3, l3)))
    }
    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        skip: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dpacked, dskip] = self.gradients(x, packed, Some(skip), y, g)?;
        Ok((dx, dpacked, dskip))
    }
}

/// A normalised tensor with the statistics that it was made with.
pub(crate) struct Normed {
    /// The result.
    pub y: Tensor,
    /// What the kernels found, where there are any.
    pub found: Found,
    moments: Option<BatchMoments>,
}

impl Normed {
    /// The batch's moments of `x`, which was normalised by them.
    ///
    /// # Errors
    /// Statistics that are constants.
    pub(crate) fn moments(&self, x: &Tensor) -> Result<BatchMoments> {
        let moments = match (&self.moments, self.found.0.0.get(), self.found.0.1.get()) {
            (Some(moments), ..) => return Ok(moments.clone()),
            (None, Some(stats), _) => Moments::Host {
                mean: stats.iter().map(|s| s.mean).collect(),
                var: stats.iter().map(|s| s.var).collect(),
            },
            (None, None, Some(stats)) => Moments::Device(stats.clone()),
            (None, None, None) => bail!("norm: no forward pass"),
        };
        Ok(BatchMoments::new(Split::of(x.shape())?.count(), moments))
    }
}

/// `gain (x - mean) r + bias` for `x (n, c, ...)` and a gain and bias a channel, then `+ skip` and relu where asked.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn norm(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    source: &Source,
    skip: Option<&Tensor>,
    with_relu: bool,
) -> Result<Normed> {
    if !has_kernels(x.device()) {
        return elsewhere(x, gain, bias, source, skip, with_relu);
    }
    let found = Found::default();
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() && ![x, gain, bias].into_iter().chain(skip).any(Tensor::track_op) {
        let (y, stats) =
            flat_kernels::cuda::layers::norm_of_tensors(&source.on_device()?, with_relu, [x, gain, bias], skip)?;
        let _ = found.0.1.set(stats);
        return Ok(Normed { y, found, moments: None });
    }
    let op = Norm { source: source.clone(), relu: with_relu, found: found.clone() };
    let packed = match x.device().is_cpu() {
        true => gain.contiguous()?.apply_op2(&bias.contiguous()?, Pack)?,
        false => Tensor::stack(&[gain, bias], 0)?,
    };
    let y = match skip {
        Some(skip) => x.contiguous()?.apply_op3(&packed, &skip.contiguous()?, op)?,
        None => x.contiguous()?.apply_op2(&packed, op)?,
    };
    Ok(Normed { y, found, moments: None })
}

/// [`norm`] with candle's operations.
fn elsewhere(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    source: &Source,
    skip: Option<&Tensor>,
    with_relu: bool,
) -> Result<Normed> {
    let (normal, moments) = match source {
        Source::Batch(eps) => {
            let s = Standardized::new(x, Split::of(x.shape())?, *eps)?;
            (s.value.clone(), Some(s.moments()))
        }
        Source::Fixed(mean, r) => {
            let centred = channel_shift(x, &mean.to_dtype(x.dtype())?.neg()?)?;
            (channel_scale(&centred, &r.to_dtype(x.dtype())?)?, None)
        }
    };
    let y = channel_affine(&normal, gain, bias)?;
    let y = match skip {
        Some(skip) => (y + skip)?,
        None => y,
    };
    Ok(Normed { y: if with_relu { relu(&y)? } else { y }, found: Found::default(), moments })
}
