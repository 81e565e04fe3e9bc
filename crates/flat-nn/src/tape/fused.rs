//! Layers of a CUDA device that take a launch each way where their parts would take several.

use crate::ops::{self, Pool2d};
use crate::tape::TapeTensor;
use crate::{Activation, Result};
use candle_core::Tensor;
use flat_kernels::Split;
use flat_kernels::cuda::fused::{self as kernel, fits, shift_pool_relu_gradient, shift_relu_gradient};

/// Whether these layers take it.
pub(super) fn takes(x: &Tensor, then: Activation) -> bool {
    x.device().is_cuda() && then == Activation::Relu
}

/// `max(x + bias, 0)`, a bias a channel.
pub(super) fn shift_relu(x: &TapeTensor, bias: &TapeTensor) -> Result<TapeTensor> {
    let y = kernel::shift_relu(&x.value, &bias.value)?;
    let (result, at) = (y.clone(), (x.at, bias.at));
    Ok(x.step(y, &[bias], move |g, out| {
        let [dx, dbias] = match fits(Split::of(g.shape())?) {
            true => shift_relu_gradient(g, &result)?,
            false => {
                let dx = ops::mask(g, &result)?;
                [dx.clone(), ops::channel::channel_sum(&dx)?]
            }
        };
        out.add(at.1, || Ok(dbias))?;
        out.add(at.0, || Ok(dx))
    }))
}

/// `max(maximum of x + bias, 0)` over windows, a bias a channel.
pub(super) fn shift_pool_relu(x: &TapeTensor, bias: &TapeTensor, pool: Pool2d) -> Result<TapeTensor> {
    let windows = pool.windows(x.value.dims4()?, None)?;
    let [y, places] = kernel::shift_pool_relu(windows, &x.value, &bias.value)?;
    let (result, at) = (y.clone(), (x.at, bias.at));
    Ok(x.step(y, &[bias], move |g, out| {
        let [dx, dbias] = match fits(Split::of(g.shape())?) {
            true => shift_pool_relu_gradient(windows, g, &result, &places)?,
            false => {
                let h = ops::mask(g, &result)?;
                let dx = ops::Pick::Places(places, pool)
                    .transpose(&h, &(windows.planes / h.dim(1)?, h.dim(1)?, windows.h, windows.w).into())?;
                [dx, ops::channel::channel_sum(&h)?]
            }
        };
        out.add(at.1, || Ok(dbias))?;
        out.add(at.0, || Ok(dx))
    }))
}
