//! The tangent of a convolution or a fully connected layer as one operation.
//!
//! Both are bilinear: with `B(x, w)` the layer, its tangent is `B(x_dot, w) + B(x, w_dot) + bias_dot`, with the gradients
//! `B_x(g, w_dot)` for `x`, `B_x(g, w)` for `x_dot` and `B_w(x_dot, g)` for `w`. Written as a sum of two layers, candle would
//! copy the gradient for each of them.

use super::buffer::{Buffer, kernel, vectorized, write};
use super::conv::{Conv, Conv2d, Pass};
use super::conv_kernel::Geometry;
use super::float::{Float, dispatch, elements};
use super::linear::{self, Kind};
use super::tape::released;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Which layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bilinear {
    /// `x (n, c, h, w)`, `w (o, c, kh, kw)`.
    Conv(Conv2d),
    /// `x (n, in)`, `w (out, in)`.
    Linear,
}

impl Bilinear {
    fn forward(self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => conv.forward(x, w, bias),
            Self::Linear => linear::linear(x, w, bias),
        }
    }

    /// `B_x(g, w)`, in the shape of `x`.
    fn grad_input(self, x: &Tensor, g: &Tensor, w: &Tensor) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => Conv::new(Geometry::new(x.shape(), w.shape(), conv)?).then(Pass::GradInput, g, w),
            Self::Linear => linear::apply(Kind::NN, g, w),
        }
    }

    /// `B_w(x, g)`, in the shape of `w`.
    fn grad_weight(self, w: &Tensor, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => Conv::new(Geometry::new(x.shape(), w.shape(), conv)?).then(Pass::GradWeight, x, g),
            Self::Linear => linear::apply(Kind::TN, g, x),
        }
    }
}

const CHUNK: usize = 1 << 14;

kernel! {
    Sum<'a, T> { out: &'a mut [MaybeUninit<T>], a: &'a [T], b: &'a [T] } -> (), |k| {
        write(k.out, [k.a, k.b], |[a, b]| a + b)
    }
}

fn sum<T: Float>(a: &Tensor, b: &Tensor) -> Result<Vec<T>> {
    let ((sa, la), (sb, lb)) = (a.storage_and_layout(), b.storage_and_layout());
    let (a, b) = (elements::<T>("tangent", &sa, la)?, elements::<T>("tangent", &sb, lb)?);
    let mut out = Buffer::new(a.len());
    let runs = out.runs();
    a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).enumerate().for_each(|(i, (a, b))| {
        // SAFETY: every chunk has a run of its own.
        vectorized(Sum { out: unsafe { runs.run(i * CHUNK, a.len()) }, a, b });
    });
    // SAFETY: every chunk was written, and both operands have the shape of the layer's output.
    Ok(unsafe { out.finish() })
}

/// Operands `x`, `x_dot`, `w`, which are here without their graph, too.
struct Tangent {
    layer: Bilinear,
    x: Tensor,
    x_dot: Tensor,
    w: Tensor,
    w_dot: Tensor,
    bias_dot: Option<Tensor>,
}

impl CustomOp3 for Tangent {
    fn name(&self) -> &'static str {
        "bilinear-tangent"
    }
    fn cpu_fwd(
        &self,
        s: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let a = self.layer.forward(&self.x_dot, &self.w, None)?;
        let b = self.layer.forward(&self.x, &self.w_dot, self.bias_dot.as_ref())?;
        dispatch!("tangent", s, T => Ok((T::storage(sum::<T>(&a, &b)?), a.shape().clone())))
    }
    fn bwd(
        &self,
        x: &Tensor,
        x_dot: &Tensor,
        w: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let layer = self.layer;
        let dx = x.track_op().then(|| released(layer.grad_input(x, g, &self.w_dot)?)).transpose()?;
        let dx_dot = x_dot.track_op().then(|| released(layer.grad_input(x, g, w)?)).transpose()?;
        let dw = w.track_op().then(|| released(layer.grad_weight(w, x_dot, g)?)).transpose()?;
        Ok((dx, dx_dot, dw))
    }
}

/// The derivative of `B(x, w) + bias` along `(x_dot, w_dot, bias_dot)`, the last two of which are constants; on CPU.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn bilinear_tangent(
    layer: Bilinear,
    (x, x_dot): (&Tensor, &Tensor),
    (w, w_dot): (&Tensor, &Tensor),
    bias_dot: Option<&Tensor>,
) -> Result<Tensor> {
    let (x, x_dot, w) = (x.contiguous()?, x_dot.contiguous()?, w.contiguous()?);
    let op = Tangent {
        layer,
        x: x.detach(),
        x_dot: x_dot.detach(),
        w: w.detach(),
        w_dot: w_dot.detach(),
        bias_dot: bias_dot.map(Tensor::detach),
    };
    x.apply_op3(&x_dot, &w, op)
}
