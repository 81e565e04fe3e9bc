//! Gradients of a convolution whose input, a normalisation's output, nobody keeps: the kernels make it again while they
//! read.

use super::batch_norm::Found;
use super::conv::Conv2d;
use crate::precision::Precision;
use candle_core::{DType, Result, Tensor, bail};
use flat_kernels::Geometry;
use flat_kernels::cpu::norm;
use flat_kernels::cpu::winograd::{Winograd, may_join};
use flat_kernels::host::with_slices;

const OP: &str = "conv2d";

/// What a normalisation without residual makes its output from, which the tape holds anyway.
#[derive(Clone)]
pub(crate) struct Again {
    /// Input, gain and bias of the normalisation.
    pub of: [Tensor; 3],
    pub found: Found,
    pub relu: bool,
}

impl Again {
    /// For the kernels, with the slices of gain and bias.
    fn for_kernels(&self, gain: &[f32], bias: &[f32]) -> Result<norm::Again> {
        match self.found.get() {
            Some(stats) => Ok(norm::Again::new(stats, gain, bias, self.relu)),
            None => bail!("{OP}: a normalisation without statistics"),
        }
    }
}

fn kernels(conv: Conv2d, x: &Tensor, w: &Tensor) -> Result<Option<(Geometry, Winograd)>> {
    if x.dtype() != DType::F32 || !x.device().is_cpu() || Precision::rounds(x.dtype()) {
        return Ok(None);
    }
    let geometry = conv.geometry(x.shape(), w.shape())?;
    Ok(Winograd::of(&geometry).map(|kernels| (geometry, kernels)))
}

impl Conv2d {
    /// Whether there are kernels that read a normalisation's input in place of its output.
    pub(crate) fn reads_again(self, again: &Again, w: &Tensor) -> Result<bool> {
        Ok(again.found.get().is_some() && kernels(self, &again.of[0], w)?.is_some())
    }

    /// The gradients for the input, where it is wanted, and for `w` of `<g, F(y, w)>` with the normalisation's output
    /// `y`.
    ///
    /// # Errors
    /// No kernels for it ([`Self::reads_again`]).
    pub(crate) fn gradients_again(
        self,
        again: &Again,
        w: &Tensor,
        g: &Tensor,
        with_input: bool,
    ) -> Result<(Option<Tensor>, Tensor)> {
        let [x, gain, bias] = &again.of;
        let Some((geometry, kernels)) = kernels(self, x, w)? else { bail!("{OP}: no kernels that read again") };
        let tensors = [x, w, g, gain, bias].map(Tensor::contiguous);
        let [x, w, g, gain, bias] = tensors;
        let (x, w, g, gain, bias) = (x?, w?, g?, gain?, bias?);
        let (dx, dw) = with_slices(OP, [&x, &w, &g, &gain, &bias], |[xs, ws, gs, gain, bias]| {
            let by = again.for_kernels(gain, bias)?;
            if with_input && may_join(&geometry) {
                let [dx, dw] = kernels.gradients_again(&geometry, &by, [xs, ws, gs]);
                return Result::Ok((Some(dx), dw));
            }
            let dw = kernels.grad_weight_again(&geometry, &by, xs, gs);
            Ok((with_input.then(|| kernels.grad_input(&geometry, gs, ws)), dw))
        })??;
        let tensor = |data, like: &Tensor| Tensor::from_vec(data, like.shape(), like.device());
        Ok((dx.map(|dx| tensor(dx, &x)).transpose()?, tensor(dw, &w)?))
    }
}
