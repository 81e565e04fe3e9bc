//! Nonlinearities, element by element.

use crate::kinds::Activation;
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use flat_kernels::cpu::pointwise::{clip, masked, zip};
use flat_kernels::host::contiguous;
use flat_kernels::{Float, dispatch, has_kernels};

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        dispatch!("relu", s.dtype(), T => {
            let x = contiguous::<T>("relu", s, l)?;
            Ok((T::storage(zip(x, x, |x, _| clip(x))), l.shape().clone()))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((flat_kernels::cuda::elements::relu((s, l))?, l.shape().clone()))
    }
    fn bwd(&self, _: &Tensor, res: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(mask(g, res)?))
    }
}

/// `a + b`, then `max(., 0)`.
struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add-relu"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        if l1.shape() != l2.shape() {
            bail!("add-relu: shapes {:?} and {:?} differ", l1.shape(), l2.shape());
        }
        dispatch!("add-relu", s1.dtype(), T => {
            let (a, b) = (contiguous::<T>("add-relu", s1, l1)?, contiguous::<T>("add-relu", s2, l2)?);
            Ok((T::storage(zip(a, b, |a, b| clip(a + b))), l1.shape().clone()))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((flat_kernels::cuda::elements::add_relu((s1, l1), (s2, l2))?, l1.shape().clone()))
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, res: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = mask(g, res)?;
        Ok((a.track_op().then(|| g.clone()), b.track_op().then_some(g)))
    }
}

/// `a + b`.
struct Plus;

impl CustomOp2 for Plus {
    fn name(&self) -> &'static str {
        "plus"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        if l1.shape() != l2.shape() {
            bail!("plus: shapes {:?} and {:?} differ", l1.shape(), l2.shape());
        }
        dispatch!("plus", s1.dtype(), T => {
            let (a, b) = (contiguous::<T>("plus", s1, l1)?, contiguous::<T>("plus", s2, l2)?);
            Ok((T::storage(zip(a, b, |a, b| a + b)), l1.shape().clone()))
        })
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((a.track_op().then(|| g.clone()), b.track_op().then(|| g.clone())))
    }
}

/// The sum of two tensors.
///
/// # Errors
/// Different shapes.
pub(crate) fn plus(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.device().is_cpu() { a.contiguous()?.apply_op2(&b.contiguous()?, Plus) } else { a + b }
}

/// `g` where the second operand is positive, else 0: linear in `g`, constant in the other.
struct Mask;

impl CustomOp2 for Mask {
    fn name(&self) -> &'static str {
        "relu-mask"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        if l1.shape() != l2.shape() {
            bail!("relu-mask: shapes {:?} and {:?} differ", l1.shape(), l2.shape());
        }
        dispatch!("relu-mask", s1.dtype(), T => {
            let (g, y) = (contiguous::<T>("relu-mask", s1, l1)?, contiguous::<T>("relu-mask", s2, l2)?);
            Ok((T::storage(zip(g, y, masked)), l1.shape().clone()))
        })
    }
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, s1: &CudaStorage, l1: &Layout, s2: &CudaStorage, l2: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((flat_kernels::cuda::elements::relu_mask((s1, l1), (s2, l2))?, l1.shape().clone()))
    }
    fn bwd(&self, g: &Tensor, y: &Tensor, _: &Tensor, h: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((g.track_op().then(|| mask(h, y)).transpose()?, None))
    }
}

/// The derivative of relu, applied to `g`, where relu gave `y`.
///
/// # Errors
/// Different shapes.
pub(crate) fn mask(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    let y = y.detach();
    if has_kernels(g.device()) {
        return g.contiguous()?.apply_op2(&y.contiguous()?, Mask);
    }
    // chosen rather than multiplied: what is not finite stays out where relu gave zero, and a NaN of y keeps g
    y.le(0.0)?.where_cond(&g.zeros_like()?, g)
}

/// `max(x, 0)`, with derivative 0 at 0.
///
/// # Errors
/// candle's.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if has_kernels(x.device()) {
        return x.contiguous()?.apply_op1(Relu);
    }
    mask(x, x)
}

/// `max(a + b, 0)` in one pass.
///
/// # Errors
/// Different shapes.
pub(crate) fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if has_kernels(a.device()) {
        return a.contiguous()?.apply_op2(&b.contiguous()?, AddRelu);
    }
    relu(&(a + b)?)
}

/// `Phi(x)`, the standard normal distribution function.
fn phi(x: &Tensor) -> Result<Tensor> {
    (x * std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)
}

/// The standard normal density.
fn density(x: &Tensor) -> Result<Tensor> {
    (x.sqr()? * -0.5)?.exp()?.affine(1.0 / (2.0 * std::f64::consts::PI).sqrt(), 0.0)
}

/// `x Phi(x)`, exact: the derivative of candle's own carries a constant of six digits.
///
/// # Errors
/// candle's.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x * phi(x)?
}

impl Activation {
    /// The nonlinearity of every element.
    ///
    /// # Errors
    /// candle's.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => relu(x),
            Self::Tanh => x.tanh(),
            Self::Gelu => gelu(x),
        }
    }

    /// The nonlinearity of `x`, and its directional derivative along `tangent`.
    pub(crate) fn forward_tangent(self, x: &Tensor, tangent: &Tensor) -> Result<(Tensor, Tensor)> {
        match self {
            Self::Relu => {
                let y = relu(x)?;
                let t = mask(tangent, &y)?;
                Ok((y, t))
            }
            Self::Tanh => {
                let y = x.tanh()?;
                let t = (tangent * y.sqr()?.affine(-1.0, 1.0)?)?;
                Ok((y, t))
            }
            Self::Gelu => {
                let cdf = phi(x)?;
                let slope = (&cdf + (x * density(x)?)?)?;
                Ok(((x * cdf)?, (tangent * slope)?))
            }
        }
    }

    /// The nonlinearity of `x` with its derivatives there.
    pub(crate) fn curve(self, x: &Tensor) -> Result<Curve> {
        let value = self.forward(x)?;
        let derivatives = match self {
            Self::Relu => None,
            Self::Tanh => {
                let slope = value.sqr()?.affine(-1.0, 1.0)?;
                let half = (&slope * &value)?.neg()?;
                Some([slope, half])
            }
            Self::Gelu => {
                let density = density(x)?;
                let half = (&density * x.sqr()?.affine(-0.5, 1.0)?)?;
                Some([(phi(x)? + (x * density)?)?, half])
            }
        };
        Ok(Curve { value, derivatives })
    }
}

/// The values of a nonlinearity, and its derivatives there.
pub(crate) struct Curve {
    pub value: Tensor,
    /// The first, and half of the second; `None` for relu, which masks.
    derivatives: Option<[Tensor; 2]>,
}

impl Curve {
    /// The first and second Taylor coefficients for those of the argument, whose second may be zero.
    pub(crate) fn along(&self, first: &Tensor, second: Option<&Tensor>) -> Result<(Tensor, Option<Tensor>)> {
        let Some([slope, half]) = &self.derivatives else {
            return Ok((mask(first, &self.value)?, second.map(|s| mask(s, &self.value)).transpose()?));
        };
        let bent = (first.sqr()? * half)?;
        let second = match second {
            Some(second) => ((second * slope)? + bent)?,
            None => bent,
        };
        Ok(((first * slope)?, Some(second)))
    }
}
