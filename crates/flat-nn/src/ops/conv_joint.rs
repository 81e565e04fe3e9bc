//! Fused convolution passes: gradients or tangents that share their Winograd transforms, where there are kernels for them.

use super::conv::Conv2d;
use crate::precision::Precision;
use candle_core::{DType, Device, Result, Tensor};
use flat_kernels::Geometry;
use flat_kernels::cpu::winograd::{Winograd, may_join};
use flat_kernels::host::with_slices;

const OP: &str = "conv2d";

/// The kernels for this convolution in f32, if they are the ones to use.
fn kernels(conv: Conv2d, x: &Tensor, w: &Tensor) -> Result<Option<(Geometry, Winograd)>> {
    if Precision::rounds(x.dtype()) { Ok(None) } else { joint(conv, x, w) }
}

/// The same, in whatever precision.
fn joint(conv: Conv2d, x: &Tensor, w: &Tensor) -> Result<Option<(Geometry, Winograd)>> {
    if x.dtype() != DType::F32 || !x.device().is_cpu() {
        return Ok(None);
    }
    let geometry = conv.geometry(x.shape(), w.shape())?;
    Ok(Winograd::of(&geometry).filter(|_| may_join(&geometry)).map(|w| (geometry, w)))
}

fn contiguous<const N: usize>(tensors: [&Tensor; N]) -> Result<[Tensor; N]> {
    let mut out = tensors.map(Tensor::clone);
    for t in &mut out {
        *t = t.contiguous()?;
    }
    Ok(out)
}

fn exactly<const N: usize>(tensors: Vec<Tensor>) -> Result<[Tensor; N]> {
    tensors.try_into().map_err(|t: Vec<Tensor>| candle_core::Error::Msg(format!("{OP}: {} coefficients", t.len())))
}

fn tensor(data: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, like.shape().clone(), &Device::Cpu)
}

impl Conv2d {
    /// The gradients for `x` and `w` of `<g, F(x, w)>`; `None` where no kernel computes them together.
    pub(crate) fn gradients(self, x: &Tensor, w: &Tensor, g: &Tensor) -> Result<Option<[Tensor; 2]>> {
        let by = Precision::rounds_by(x.dtype());
        let Some((geometry, kernels)) = joint(self, x, w)? else { return Ok(None) };
        let operands = contiguous([x, w, g])?;
        let found = with_slices(OP, operands.each_ref(), |operands| match by {
            Some(by) => by.gradients(&geometry, operands),
            None => Some(kernels.gradients(&geometry, operands)),
        })?;
        let Some([dx, dw]) = found else { return Ok(None) };
        Ok(Some([tensor(dx, x)?, tensor(dw, w)?]))
    }

    /// `F(x, w) + bias` and its tangent; `None` where no kernel computes them together.
    pub(crate) fn forward_tangent(
        self,
        [x, w]: [&Tensor; 2],
        [x_dot, w_dot]: [&Tensor; 2],
        biases: Option<[&Tensor; 2]>,
    ) -> Result<Option<[Tensor; 2]>> {
        self.forward_taylor([x, x_dot], None, [w, w_dot], biases, 0)?.map(exactly).transpose()
    }

    /// The first and second coefficients of `F(x(t), w(t)) + bias(t)` for those of `x`, whose second may be zero, after the value
    /// where that is wanted; `None` where no kernel computes them together.
    pub(crate) fn forward_jet(
        self,
        x: [&Tensor; 2],
        second: Option<&Tensor>,
        w: [&Tensor; 2],
        biases: Option<[&Tensor; 2]>,
        with_value: bool,
    ) -> Result<Option<Vec<Tensor>>> {
        self.forward_taylor(x, Some(second), w, biases, usize::from(!with_value))
    }

    fn forward_taylor(
        self,
        [x, x_dot]: [&Tensor; 2],
        second: Option<Option<&Tensor>>,
        [w, w_dot]: [&Tensor; 2],
        biases: Option<[&Tensor; 2]>,
        from: usize,
    ) -> Result<Option<Vec<Tensor>>> {
        let Some((geometry, kernels)) = kernels(self, x, w)? else { return Ok(None) };
        let orders = if second.is_some() { 3 } else { 2 };
        // an operand in the place of each that is missing, which nobody reads
        let (second, [bias, bias_dot]) = (second.flatten(), biases.map_or([None; 2], |b| b.map(Some)));
        let all = [Some(x), Some(x_dot), second, Some(w), Some(w_dot), bias, bias_dot];
        let operands = contiguous(all.map(|t| t.unwrap_or(x)))?;
        let found = with_slices(OP, operands.each_ref(), |operands| {
            let mut of = [None; 7];
            for ((of, slice), given) in of.iter_mut().zip(operands).zip(&all) {
                *of = given.map(|_| slice);
            }
            let [_, _, _, _, _, bias, bias_dot] = of;
            kernels.taylor(&geometry, &of[..orders], [operands[3], operands[4]], [bias, bias_dot], from)
        })?;
        let out = |data| Tensor::from_vec(data, geometry.y_shape(), &Device::Cpu);
        Ok(Some(found.into_iter().map(out).collect::<Result<_>>()?))
    }

    /// The gradients for `x`, `x_dot` and `w` of `<g, F> + <g_dot, F_dot>`; `None` where no kernel computes them together.
    pub(crate) fn tangent_gradients(
        self,
        [x, w, g]: [&Tensor; 3],
        [x_dot, w_dot, g_dot]: [&Tensor; 3],
    ) -> Result<Option<[Tensor; 3]>> {
        let Some((geometry, kernels)) = kernels(self, x, w)? else { return Ok(None) };
        let operands = contiguous([x, w, g, x_dot, w_dot, g_dot])?;
        let [dx, dx_dot, dw] = with_slices(OP, operands.each_ref(), |[a, b, c, d, e, f]| {
            kernels.tangent_gradients(&geometry, [a, b, c], [d, e, f])
        })?;
        Ok(Some([tensor(dx, x)?, tensor(dx_dot, x)?, tensor(dw, w)?]))
    }
}
