//! The tangent of a normalisation layer as one operation, whose gradient is one kernel.
//!
//! The tangent depends on `x`, its direction, the gain and the residual's direction. An operation of candle's has at most
//! three operands, so the last two hang on an operand of one element, which passes their gradients on.

use super::batch_norm::{Found, Normed};
use super::channel::Split;
use super::float::{Float, contiguous, dispatch, elements};
use super::norm_kernel::{self as kernel, Along, Direction, Layer, Mask, Source, TangentGradients};
use super::tape::keeps_graph;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, bail};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Gradients of gain and residual, from the backward pass of the tangent to that of [`Attached`].
type Slot = Arc<Mutex<[Option<Tensor>; 2]>>;

/// One element, through which gradients reach the gain and, as second operand, the residual's direction.
struct Attached(Slot);

impl Attached {
    fn forward(s: &CpuStorage) -> Result<(CpuStorage, Shape)> {
        dispatch!("norm-tangent", s, T => Ok((T::storage(vec![T::default()]), Shape::from(1))))
    }

    fn take(&self) -> [Option<Tensor>; 2] {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CustomOp1 for Attached {
    fn name(&self) -> &'static str {
        "norm-tangent-gain"
    }
    fn cpu_fwd(&self, s: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Self::forward(s)
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let [gain, _] = self.take();
        Ok(gain)
    }
}

impl CustomOp2 for Attached {
    fn name(&self) -> &'static str {
        "norm-tangent-gain-and-residual"
    }
    fn cpu_fwd(&self, s: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Self::forward(s)
    }
    fn bwd(&self, gain: &Tensor, skip: &Tensor, _: &Tensor, _: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dgain, dskip] = self.take();
        Ok((dgain.filter(|_| gain.track_op()), dskip.filter(|_| skip.track_op())))
    }
}

/// A gradient as an operation on what it depends on, which refuses to be differentiated again.
struct Last(Tensor);

impl CustomOp1 for Last {
    fn name(&self) -> &'static str {
        "norm-tangent-gradient"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (storage, _) = self.0.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.clone(), self.0.shape().clone())),
            _ => bail!("norm-tangent: a gradient on another device"),
        }
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        bail!(
            "the gradient of a tangent through batch normalisation has no derivative: for third derivatives \
             differentiate the loss of plain tensors three times"
        )
    }
}

/// The operands of the tangent that are not operands of the operation, all without graph.
struct Captured {
    gain: Tensor,
    bias: Tensor,
    gain_dot: Tensor,
    bias_dot: Tensor,
    skip_dot: Option<Tensor>,
    /// The value, where relu and a residual went into it.
    y: Option<Tensor>,
}

/// `x, x_dot (n, c, ...)` and the attached element.
struct TangentNorm {
    captured: Captured,
    relu: bool,
    batch: bool,
    found: Found,
    /// Set by the forward pass.
    along: OnceLock<Vec<Along>>,
    slot: Slot,
}

impl TangentNorm {
    /// Calls `f` with the layer, its mask and direction, for operands `x` and `x_dot`.
    fn with<T: Float, R>(
        &self,
        split: Split,
        x: &[T],
        x_dot: &[T],
        f: impl FnOnce(Layer<'_, T>, Mask<'_, T>, Direction<'_, T>) -> R,
    ) -> Result<R> {
        const OP: &str = "norm-tangent";
        let k = &self.captured;
        let ((s1, l1), (s2, l2)) = (k.gain.storage_and_layout(), k.bias.storage_and_layout());
        let ((s3, l3), (s4, l4)) = (k.gain_dot.storage_and_layout(), k.bias_dot.storage_and_layout());
        let (y, skip) =
            (k.y.as_ref().map(Tensor::storage_and_layout), k.skip_dot.as_ref().map(Tensor::storage_and_layout));
        let (gain, bias) = (elements::<T>(OP, &s1, l1)?, elements::<T>(OP, &s2, l2)?);
        let dot = Direction {
            x: x_dot,
            gain: elements::<T>(OP, &s3, l3)?,
            bias: elements::<T>(OP, &s4, l4)?,
            skip: skip.as_ref().map(|(s, l)| elements::<T>(OP, s, l)).transpose()?,
        };
        let y = y.as_ref().map(|(s, l)| elements::<T>(OP, s, l)).transpose()?;
        let mask = match (self.relu, y) {
            (false, _) => Mask::All,
            (true, None) => Mask::Again,
            (true, Some(y)) => Mask::Output(y),
        };
        let channels = [gain.len(), bias.len(), dot.gain.len(), dot.bias.len()];
        if channels != [split.channels; 4] || x_dot.len() != x.len() || dot.skip.is_some_and(|s| s.len() != x.len()) {
            bail!("{OP}: directions that do not fit their values");
        }
        Ok(f(Layer { split, x, gain, bias, batch: self.batch }, mask, dot))
    }

    fn gradients<T: Float>(&self, x: &Tensor, x_dot: &Tensor, g: &Tensor) -> Result<[Option<Tensor>; 4]> {
        let (Some(stats), Some(along)) = (self.found.get(), self.along.get()) else {
            bail!("norm-tangent: no forward pass")
        };
        let split = Split::of(x.shape())?;
        let ((sx, lx), (sd, ld), (sg, lg)) =
            (x.storage_and_layout(), x_dot.storage_and_layout(), g.storage_and_layout());
        let (x_, d_) = (elements::<T>("norm-tangent", &sx, lx)?, elements::<T>("norm-tangent", &sd, ld)?);
        let g_ = elements::<T>("norm-tangent", &sg, lg)?;
        let found =
            self.with(split, x_, d_, |layer, mask, dot| kernel::tangent_backward(layer, mask, dot, g_, stats, along))?;
        let TangentGradients { x: dx, gain, x_dot: dx_dot, skip_dot } = found;
        Ok([
            Some(T::tensor(dx, x.shape())?),
            Some(T::tensor(dx_dot, x.shape())?),
            Some(T::tensor(gain, self.captured.gain.shape())?),
            skip_dot.map(|s| T::tensor(s, x.shape())).transpose()?,
        ])
    }
}

impl CustomOp3 for TangentNorm {
    fn name(&self) -> &'static str {
        "norm-tangent"
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Some(stats) = self.found.get() else { bail!("norm-tangent: the value comes first") };
        let split = Split::of(l1.shape())?;
        dispatch!("norm-tangent", s1, T => {
            let (x, x_dot) = (contiguous::<T>("norm-tangent", s1, l1)?, contiguous::<T>("norm-tangent", s2, l2)?);
            let (t, along) = self.with(split, x, x_dot, |layer, mask, dot| kernel::tangent(layer, mask, dot, stats))?;
            let _ = self.along.set(along);
            Ok((T::storage(t), l1.shape().clone()))
        })
    }
    fn bwd(
        &self,
        x: &Tensor,
        x_dot: &Tensor,
        attached: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let mut all = match x.dtype() {
            DType::F32 => self.gradients::<f32>(x, x_dot, &g)?,
            _ => self.gradients::<f64>(x, x_dot, &g)?,
        };
        if keeps_graph()? {
            let Some(of) = [x, x_dot, attached].into_iter().find(|t| t.track_op()) else {
                bail!("norm-tangent: a gradient of constants")
            };
            for gradient in all.iter_mut().flatten() {
                *gradient = of.contiguous()?.apply_op1(Last(gradient.clone()))?;
            }
        }
        let [dx, dx_dot, dgain, dskip] = all;
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = [dgain, dskip];
        let dattached = attached.track_op().then(|| attached.zeros_like()).transpose()?;
        Ok((dx.filter(|_| x.track_op()), dx_dot.filter(|_| x_dot.track_op()), dattached))
    }
}

/// The operands of a normalisation layer, or their directions.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub x: &'a Tensor,
    pub gain: &'a Tensor,
    pub bias: &'a Tensor,
    pub skip: Option<&'a Tensor>,
}

/// The derivative of [`super::batch_norm::norm`], which gave `normed`, along `dot`; on CPU, for constant directions of
/// gain and bias.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn norm_tangent(
    of: Operands<'_>,
    dot: Operands<'_>,
    source: &Source,
    relu: bool,
    normed: &Normed,
) -> Result<Tensor> {
    let plain = |t: &Tensor| t.detach().contiguous();
    let captured = Captured {
        gain: plain(of.gain)?,
        bias: plain(of.bias)?,
        gain_dot: plain(dot.gain)?,
        bias_dot: plain(dot.bias)?,
        skip_dot: dot.skip.map(plain).transpose()?,
        y: dot.skip.filter(|_| relu).map(|_| plain(&normed.y)).transpose()?,
    };
    let slot = Slot::default();
    let attached = match dot.skip {
        None => of.gain.contiguous()?.apply_op1(Attached(slot.clone()))?,
        Some(skip) => of.gain.contiguous()?.apply_op2(&skip.contiguous()?, Attached(slot.clone()))?,
    };
    let op = TangentNorm {
        captured,
        relu,
        batch: matches!(source, Source::Batch(_)),
        found: normed.found.clone(),
        along: OnceLock::new(),
        slot,
    };
    of.x.contiguous()?.apply_op3(&dot.x.contiguous()?, &attached, op)
}
