//! Fused convolution passes: gradients or tangents that share their Winograd transforms, where there are kernels for them.

use super::conv::Conv2d;
use crate::precision::Precision;
use candle_core::{DType, Device, Result, Tensor};
use flat_kernels::Geometry;
use flat_kernels::cpu::winograd::{Winograd, may_join};
use flat_kernels::host::{with_all_slices, with_slices};

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

fn all_contiguous<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<Vec<Tensor>> {
    tensors.map(Tensor::contiguous).collect()
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

    /// The first and second coefficients of `F(x(t), w(t)) + bias(t)` for those of `x`, whose second may be zero, after the value
    /// where that is wanted; `None` where no kernel computes them together.
    pub(crate) fn forward_jet(
        self,
        [x, first]: [&Tensor; 2],
        second: Option<&Tensor>,
        [w, w_dot]: [&Tensor; 2],
        biases: Option<[&Tensor; 2]>,
        with_value: bool,
    ) -> Result<Option<Vec<Tensor>>> {
        let Some((geometry, kernels)) = kernels(self, x, w)? else { return Ok(None) };
        // an operand in the place of each that is missing, which nobody reads
        let [bias, bias_dot] = biases.map_or([None; 2], |b| b.map(Some));
        let all = [Some(x), Some(first), second, Some(w), Some(w_dot), bias, bias_dot];
        let operands = contiguous(all.map(|t| t.unwrap_or(x)))?;
        let found = with_slices(OP, operands.each_ref(), |operands| {
            let mut of = [None; 7];
            for ((of, slice), given) in of.iter_mut().zip(operands).zip(&all) {
                *of = given.map(|_| slice);
            }
            let ([_, _, _, _, _, bias, bias_dot], from) = (of, usize::from(!with_value));
            kernels.taylor(&geometry, &of[..3], [operands[3], operands[4]], [bias, bias_dot], from)
        })?;
        let out = |data| Tensor::from_vec(data, geometry.y_shape(), &Device::Cpu);
        Ok(Some(found.into_iter().map(out).collect::<Result<_>>()?))
    }

    /// `F(x, w) + bias`, then its derivatives along directions `[x_k, w_k]`; a bias for each, where there are any. `None` where no
    /// kernel computes them together.
    pub(crate) fn forward_along(
        self,
        [x, w]: [&Tensor; 2],
        dots: &[[&Tensor; 2]],
        biases: &[&Tensor],
    ) -> Result<Option<Vec<Tensor>>> {
        let Some((geometry, kernels)) = kernels(self, x, w)? else { return Ok(None) };
        let all =
            all_contiguous([x, w].into_iter().chain(dots.iter().flatten().copied()).chain(biases.iter().copied()))?;
        let found = with_all_slices(OP, &all.iter().collect::<Vec<_>>(), |all: &[&[f32]]| {
            let (of, biases) = all.split_at(2 + 2 * dots.len());
            let (of, dots) = of.split_at(2);
            let dots: Vec<_> = dots.chunks_exact(2).map(|dot| [dot[0], dot[1]]).collect();
            let biases: Vec<_> = biases.iter().copied().map(Some).collect();
            kernels.forward_along(&geometry, [of[0], of[1]], &dots, &biases)
        })?;
        let out = |data| Tensor::from_vec(data, geometry.y_shape(), &Device::Cpu);
        Ok(Some(found.into_iter().map(out).collect::<Result<_>>()?))
    }

    /// The gradient for `x` of `<g, F(x, w)>`, and along directions `[x_k, w_k, g_k]` the derivatives of the gradients for `x` and
    /// `w`; `None` where no kernel computes them together.
    pub(crate) fn gradients_along(
        self,
        [x, w, g]: [&Tensor; 3],
        dots: &[[&Tensor; 3]],
    ) -> Result<Option<(Tensor, Vec<[Tensor; 2]>)>> {
        let Some((geometry, kernels)) = kernels(self, x, w)? else { return Ok(None) };
        let all = all_contiguous([x, w, g].into_iter().chain(dots.iter().flatten().copied()))?;
        let (dx, along) = with_all_slices(OP, &all.iter().collect::<Vec<_>>(), |all: &[&[f32]]| {
            let (of, dots) = all.split_at(3);
            let dots: Vec<_> = dots.chunks_exact(3).map(|dot| [dot[0], dot[1], dot[2]]).collect();
            kernels.gradients_along(&geometry, [of[0], of[1], of[2]], &dots)
        })?;
        let pair = |[dx, dw]: [Vec<f32>; 2]| Ok([tensor(dx, x)?, tensor(dw, w)?]);
        Ok(Some((tensor(dx, x)?, along.into_iter().map(pair).collect::<Result<_>>()?)))
    }
}
