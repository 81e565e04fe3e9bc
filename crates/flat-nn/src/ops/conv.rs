//! 2-d convolution: three bilinear operations that are each other's derivatives.
//!
//! With `F(x, w)` the convolution, `X(g, w)` its gradient for the input and `W(x, g)` its gradient for the weight,
//! `<g, F(x, w)> = <x, X(g, w)> = <w, W(x, g)>`: the derivatives of each are given by the two others, so any order of
//! derivative is exact.

use super::channel::{channel_shift, channel_sum};
use super::conv_kernel::{self, Geometry};
use super::float::{Float, contiguous, dispatch, operand, result};
use super::tape::released;
use super::winograd::Winograd;
use crate::precision::{Precision, in_precision};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Stride and zero padding of a convolution, the same for rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Distance of neighbouring windows, at least 1.
    pub stride: usize,
    /// Zeros added at each border.
    pub padding: usize,
}

impl Conv2d {
    /// `y (n, o, h', w') = x (n, c, h, w) * w (o, c, kh, kw) + bias (o)`, cross-correlation as in PyTorch, with
    /// `h' = (h + 2 padding - kh) / stride + 1`.
    ///
    /// No gradient is computed for an operand that depends on no variable, such as a batch of images. On CPU the result
    /// does not depend on the number of threads; elsewhere candle's convolution is used.
    ///
    /// # Errors
    /// Shapes that do not fit, a window larger than the padded input, stride 0.
    pub fn forward(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let geometry = Geometry::new(x.shape(), w.shape(), *self)?;
        if !x.device().is_cpu() {
            let y = in_precision(x, w, |x, w| x.conv2d(w, self.padding, self.stride, 1, 1))?;
            return match bias {
                Some(bias) => channel_shift(&y, bias),
                None => Ok(y),
            };
        }
        let (x, w) = (x.contiguous()?, w.contiguous()?);
        match bias {
            // the bias is no part of a rounded product
            Some(bias) if Precision::rounds(x.dtype()) => channel_shift(&self.forward(&x, &w, None)?, bias),
            Some(bias) => x.apply_op3(&w, &bias.contiguous()?, Biased(geometry)),
            None => x.apply_op2(&w, Conv { pass: Pass::Forward, geometry }),
        }
    }
}

impl Conv2d {
    /// The gradient for an `x` of the given shape of `<g, F(x, w)>`; on CPU.
    pub(crate) fn grad_input(self, x: &Shape, w: &Tensor, g: &Tensor) -> Result<Tensor> {
        let geometry = Geometry::new(x, w.shape(), self)?;
        g.contiguous()?.apply_op2(&w.contiguous()?, Conv { pass: Pass::GradInput, geometry })
    }

    /// The gradient for a `w` of the given shape of `<g, F(x, w)>`; on CPU.
    pub(crate) fn grad_weight(self, x: &Tensor, w: &Shape, g: &Tensor) -> Result<Tensor> {
        let geometry = Geometry::new(x.shape(), w, self)?;
        x.contiguous()?.apply_op2(&g.contiguous()?, Conv { pass: Pass::GradWeight, geometry })
    }
}

/// Which of the three bilinear operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// `F(x, w)`.
    Forward,
    /// `X(g, w)`.
    GradInput,
    /// `W(x, g)`.
    GradWeight,
}

struct Conv {
    pass: Pass,
    geometry: Geometry,
}

impl Conv {
    /// Another of the three with the same geometry.
    fn then(&self, pass: Pass, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.contiguous()?.apply_op2(&b.contiguous()?, Conv { pass, geometry: self.geometry })
    }
}

impl Conv {
    /// The pass, by the kernels for its geometry; a bias goes with the forward pass.
    fn run(
        &self,
        (s1, l1): (&CpuStorage, &Layout),
        (s2, l2): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<CpuStorage> {
        let (g, name) = (&self.geometry, self.name());
        if let (CpuStorage::F32(_), Some(winograd)) = (s1, Winograd::of(g)) {
            let (a, b) = (operand(name, s1, l1)?, operand(name, s2, l2)?);
            let bias = bias.map(|(s, l)| contiguous(name, s, l)).transpose()?;
            return Ok(CpuStorage::F32(result(match self.pass {
                Pass::Forward => winograd.forward(g, &a, &b, bias),
                Pass::GradInput => winograd.grad_input(g, &a, &b),
                Pass::GradWeight => winograd.grad_weight(g, &a, &b),
            })));
        }
        dispatch!(name, s1, T => {
            let (a, b) = (operand::<T>(name, s1, l1)?, operand::<T>(name, s2, l2)?);
            let bias = bias.map(|(s, l)| contiguous::<T>(name, s, l)).transpose()?;
            Ok(T::storage(result(match self.pass {
                Pass::Forward => conv_kernel::forward(g, &a, &b, bias),
                Pass::GradInput => conv_kernel::grad_input(g, &a, &b),
                Pass::GradWeight => conv_kernel::grad_weight(g, &a, &b),
            })))
        })
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        match self.pass {
            Pass::Forward => "conv2d",
            Pass::GradInput => "conv2d-grad-input",
            Pass::GradWeight => "conv2d-grad-weight",
        }
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (g, name) = (&self.geometry, self.name());
        let (first, second, out) = match self.pass {
            Pass::Forward => (g.x_shape(), g.w_shape(), g.y_shape()),
            Pass::GradInput => (g.y_shape(), g.w_shape(), g.x_shape()),
            Pass::GradWeight => (g.x_shape(), g.y_shape(), g.w_shape()),
        };
        if l1.shape() != &first || l2.shape() != &second {
            bail!("{name}: shapes {:?} and {:?} instead of {first:?} and {second:?}", l1.shape(), l2.shape());
        }
        Ok((self.run((s1, l1), (s2, l2), None)?, out))
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (da, db) = match self.pass {
            // a = x, b = w, g like y
            Pass::Forward => ((Pass::GradInput, g, b), (Pass::GradWeight, a, g)),
            // a = g_y, b = w, g like x
            Pass::GradInput => ((Pass::Forward, g, b), (Pass::GradWeight, g, a)),
            // a = x, b = g_y, g like w
            Pass::GradWeight => ((Pass::GradInput, b, g), (Pass::Forward, a, g)),
        };
        let grad =
            |wanted: &Tensor, (pass, x, y)| wanted.track_op().then(|| released(self.then(pass, x, y)?)).transpose();
        Ok((grad(a, da)?, grad(b, db)?))
    }
}

/// `F(x, w) + bias` in one pass.
struct Biased(Geometry);

impl CustomOp3 for Biased {
    fn name(&self) -> &'static str {
        "conv2d-bias"
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
        let (g, name) = (&self.0, self.name());
        if l3.shape().elem_count() != g.out_channels {
            bail!("{name}: a bias of {} for {} channels", l3.shape().elem_count(), g.out_channels);
        }
        let data = Conv { pass: Pass::Forward, geometry: self.0 }.run((s1, l1), (s2, l2), Some((s3, l3)))?;
        Ok((data, g.y_shape()))
    }
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        res: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = Conv { pass: Pass::Forward, geometry: self.0 }.bwd(x, w, res, g)?;
        let db = bias.track_op().then(|| channel_sum(g)).transpose()?;
        Ok((dx, dw, db))
    }
}
