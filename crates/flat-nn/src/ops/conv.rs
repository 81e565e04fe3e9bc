//! 2-d convolution: three bilinear operations that are each other's derivatives.
//!
//! With `F(x, w)` the convolution, `X(g, w)` its gradient for the input and `W(x, g)` its gradient for the weight,
//! `<g, F(x, w)> = <x, X(g, w)> = <w, W(x, g)>`: the derivatives of each are given by the two others, so any order of
//! derivative is exact.

use super::backward_graph::released;
use super::channel::{channel_shift, channel_sum};
use super::conv_kernel::Kernel;
use crate::precision::{Precision, in_precision};
#[cfg(feature = "cudnn")]
use candle_core::CudaStorage;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::conv as kernel;
use flat_kernels::host::contiguous;
use flat_kernels::{Float, Geometry, Pass, dispatch};

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
    /// does not depend on the number of threads; on CUDA it is cuDNN's with the feature `cudnn`; elsewhere candle's convolution
    /// is used.
    ///
    /// # Errors
    /// Shapes that do not fit, a window larger than the padded input, stride 0.
    pub fn forward(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let geometry = self.geometry(x.shape(), w.shape())?;
        #[cfg(feature = "cudnn")]
        if x.device().is_cuda() {
            let y = self.pass(Pass::Forward, geometry, x, w)?;
            return match bias {
                Some(bias) => channel_shift(&y, bias),
                None => Ok(y),
            };
        }
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
    /// The sizes for an input and a weight.
    pub(crate) fn geometry(self, x: &Shape, w: &Shape) -> Result<Geometry> {
        Geometry::new(x, w, self.stride, self.padding)
    }

    /// A pass by the kernels, CPU's or cuDNN's.
    fn pass(self, pass: Pass, geometry: Geometry, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let run = |a: &Tensor, b: &Tensor| a.contiguous()?.apply_op2(&b.contiguous()?, Conv { pass, geometry });
        // the CPU's kernels round their operands themselves
        if a.device().is_cpu() { run(a, b) } else { in_precision(a, b, run) }
    }

    /// Whether the kernels are there: otherwise gradients are made of candle's convolutions.
    fn has_kernels(device: &Device) -> bool {
        device.is_cpu() || (cfg!(feature = "cudnn") && device.is_cuda())
    }

    /// The gradient for an `x` of the given shape of `<g, F(x, w)>`.
    pub(crate) fn grad_input(self, x: &Shape, w: &Tensor, g: &Tensor) -> Result<Tensor> {
        let geometry = self.geometry(x, w.shape())?;
        if !Self::has_kernels(g.device()) {
            return in_precision(g, w, |g, w| portable::grad_input(&geometry, g, w));
        }
        self.pass(Pass::GradInput, geometry, g, w)
    }

    /// The gradient for a `w` of the given shape of `<g, F(x, w)>`.
    pub(crate) fn grad_weight(self, x: &Tensor, w: &Shape, g: &Tensor) -> Result<Tensor> {
        let geometry = self.geometry(x.shape(), w)?;
        if !Self::has_kernels(g.device()) {
            return in_precision(x, g, |x, g| portable::grad_weight(&geometry, x, g));
        }
        self.pass(Pass::GradWeight, geometry, x, g)
    }
}

/// The gradients of a convolution as convolutions of candle, whose own backward pass computes that of the input element by
/// element on a device.
mod portable {
    use super::{Geometry, Result, Tensor};

    /// For stride 1 a convolution of `g` with the window turned around; otherwise candle's transposed convolution.
    pub(super) fn grad_input(s: &Geometry, g: &Tensor, w: &Tensor) -> Result<Tensor> {
        let (stride, padding) = (s.stride, s.padding);
        if stride == 1 && s.kh == s.kw && padding < s.kh {
            let turned = |w: &Tensor, dim: usize, k: usize| {
                let back: Vec<u32> = (0..k as u32).rev().collect();
                w.contiguous()?.index_select(&Tensor::from_vec(back, k, w.device())?, dim)
            };
            let w = turned(&turned(w, 2, s.kh)?, 3, s.kw)?.transpose(0, 1)?.contiguous()?;
            return g.contiguous()?.conv2d(&w, s.kh - 1 - padding, 1, 1, 1);
        }
        // rows and columns that no window reaches
        let rest = |len: usize, k: usize, out: usize| (len + 2 * padding) - ((out - 1) * stride + k);
        let more = rest(s.h, s.kh, s.oh).max(rest(s.w, s.kw, s.ow));
        let x = g.contiguous()?.conv_transpose2d(&w.contiguous()?, padding, more, stride, 1)?;
        x.narrow(2, 0, s.h)?.narrow(3, 0, s.w)?.contiguous()
    }

    /// The convolution of `x` with `g` as a window, examples and channels exchanged.
    pub(super) fn grad_weight(s: &Geometry, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        let (x, g) = (x.transpose(0, 1)?.contiguous()?, g.transpose(0, 1)?.contiguous()?);
        let w = x.conv2d(&g, s.padding, 1, s.stride, 1)?;
        w.narrow(2, 0, s.kh)?.narrow(3, 0, s.kw)?.transpose(0, 1)?.contiguous()
    }
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

    /// The result's shape, for operands that fit.
    fn shape(&self, a: &Shape, b: &Shape) -> Result<Shape> {
        let (g, name) = (&self.geometry, self.name());
        let (first, second, out) = match self.pass {
            Pass::Forward => (g.x_shape(), g.w_shape(), g.y_shape()),
            Pass::GradInput => (g.y_shape(), g.w_shape(), g.x_shape()),
            Pass::GradWeight => (g.x_shape(), g.y_shape(), g.w_shape()),
        };
        if a != &first || b != &second {
            bail!("{name}: shapes {a:?} and {b:?} instead of {first:?} and {second:?}");
        }
        Ok(out)
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
        match Kernel::of(s1.dtype(), g) {
            // the bias is no part of a rounded product: `forward` adds it
            Kernel::Rounded(by) => {
                let (a, b) = (contiguous(name, s1, l1)?, contiguous(name, s2, l2)?);
                return Ok(CpuStorage::F32(by.convolve(self.pass, g, a, b)));
            }
            Kernel::Winograd(winograd) => {
                let (a, b) = (contiguous(name, s1, l1)?, contiguous(name, s2, l2)?);
                let bias = bias.map(|(s, l)| contiguous(name, s, l)).transpose()?;
                return Ok(CpuStorage::F32(match self.pass {
                    Pass::Forward => winograd.forward(g, a, b, bias),
                    Pass::GradInput => winograd.grad_input(g, a, b),
                    Pass::GradWeight => winograd.grad_weight(g, a, b),
                }));
            }
            Kernel::Direct(direct) => {
                let (a, b) = (contiguous(name, s1, l1)?, contiguous(name, s2, l2)?);
                let bias = bias.map(|(s, l)| contiguous(name, s, l)).transpose()?;
                return Ok(CpuStorage::F32(direct.convolve(self.pass, a, b, bias)));
            }
            Kernel::Windows => {}
        }
        dispatch!(name, s1.dtype(), T => {
            let (a, b) = (contiguous::<T>(name, s1, l1)?, contiguous::<T>(name, s2, l2)?);
            let bias = bias.map(|(s, l)| contiguous::<T>(name, s, l)).transpose()?;
            Ok(T::storage(match self.pass {
                Pass::Forward => kernel::forward(g, a, b, bias),
                Pass::GradInput => kernel::grad_input(g, a, b),
                Pass::GradWeight => kernel::grad_weight(g, a, b),
            }))
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
        let out = self.shape(l1.shape(), l2.shape())?;
        Ok((self.run((s1, l1), (s2, l2), None)?, out))
    }
    #[cfg(feature = "cudnn")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        let out = self.shape(l1.shape(), l2.shape())?;
        let tf32 = Precision::current() == Precision::Tf32;
        Ok((flat_kernels::cuda::conv::run(self.pass, &self.geometry, tf32, (s1, l1), (s2, l2))?, out))
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use flat_core::{Purpose, Streams};

    #[test]
    fn gradients_made_of_candles_convolutions_are_those_of_the_kernels() -> Result<()> {
        // stride 1 by a turned window, with and without border; stride 2 where rows and columns are left over differently;
        // a window of one pixel; a border as wide as the window
        for (h, w, k, stride, padding) in [
            (6, 7, 3, 1, 1),
            (5, 5, 3, 1, 0),
            (8, 7, 3, 2, 1),
            (7, 10, 2, 3, 0),
            (4, 4, 1, 1, 0),
            (4, 5, 2, 1, 2),
            (8, 8, 1, 2, 0),
        ] {
            let numbers = |i, shape: &[usize]| {
                let x = Streams::new(1).at(Purpose::Test, i).normals(shape.iter().product());
                Tensor::from_vec(x, shape, &Device::Cpu)
            };
            let (x, weight) = (numbers(0, &[2, 3, h, w])?, numbers(1, &[4, 3, k, k])?);
            let conv = Conv2d { stride, padding };
            let geometry = conv.geometry(x.shape(), weight.shape())?;
            let g = numbers(2, geometry.y_shape().dims())?;
            let apart = |a: Tensor, b: Tensor| (a - b)?.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>();
            let dx = apart(portable::grad_input(&geometry, &g, &weight)?, conv.grad_input(x.shape(), &weight, &g)?)?;
            let dw = apart(portable::grad_weight(&geometry, &x, &g)?, conv.grad_weight(&x, weight.shape(), &g)?)?;
            // sums of at most 100 products in f64
            assert!(
                dx < 1e-12 && dw < 1e-12,
                "{dx} and {dw} for {h}x{w}, window {k}, stride {stride}, border {padding}"
            );
        }
        Ok(())
    }
}
