//! The VJP of every layer.

use crate::ops::activation::{mask, plus};
use crate::ops::batch_norm::Source;
use crate::ops::batch_norm::{Normed, norm, norm_gradients};
use crate::ops::{self, Again, Arrange, Conv2d, Pool2d, add_relu};
use crate::precision::operand;
#[cfg(feature = "cuda")]
use crate::tape::fused;
use crate::tape::{Gradients, TapeTensor};
use crate::value::fixed;
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::{D, Tensor};
use std::rc::Rc;

/// `F(x, w) + bias` for a traced or constant input.
pub(super) fn conv(x: &TapeTensor, w: &TapeTensor, bias: Option<&TapeTensor>, conv: Conv2d) -> Result<TapeTensor> {
    let (xv, wv, at) = (operand(&x.value)?, operand(&w.value)?, (x.at, w.at, bias.and_then(|b| b.at)));
    let y = product(&x.value, &xv, bias, |bias| conv.forward(&xv, &wv, bias))?;
    let operands: Vec<&TapeTensor> = [w].into_iter().chain(bias).collect();
    if let Some(again) = x.again.clone().filter(|_| at.1.is_some())
        && conv.reads_again(&again, &wv)?
    {
        return Ok(x.step(y, &operands, move |g, out| {
            out.add(at.2, || Ok(ops::channel::channel_sum(g)?))?;
            let (dx, dw) = conv.gradients_again(&again, &wv, g, at.0.is_some())?;
            out.add(at.1, || Ok(dw))?;
            out.add(at.0, || dx.ok_or_else(missing))
        }));
    }
    Ok(x.step(y, &operands, move |g, out| conv_back(conv, [&xv, &wv], at, g, out)))
}

/// A product of operands that may be rounded, in the type of `x`. The bias, a number a channel, is no part of a rounded one.
fn product(
    x: &Tensor,
    rounded: &Tensor,
    bias: Option<&TapeTensor>,
    f: impl Fn(Option<&Tensor>) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    let bias = bias.map(|b| &b.value);
    if rounded.dtype() == x.dtype() {
        return Ok(f(bias)?);
    }
    let y = f(None)?.to_dtype(x.dtype())?;
    Ok(match bias {
        Some(bias) => ops::channel::channel_shift(&y, bias)?,
        None => y,
    })
}

/// The way back from `F(x, w) + bias` to the places of `x`, `w` and the bias, from the operands of its product.
pub(super) fn conv_back(
    conv: Conv2d,
    [x, w]: [&Tensor; 2],
    at: (Option<usize>, Option<usize>, Option<usize>),
    g: &Tensor,
    out: &mut Gradients,
) -> Result<()> {
    out.add(at.2, || Ok(ops::channel::channel_sum(g)?))?;
    if at.0.is_some()
        && at.1.is_some()
        && let Some([dx, dw]) = conv.gradients(x, w, g)?
    {
        out.add(at.1, || Ok(dw))?;
        return out.add(at.0, || Ok(dx));
    }
    let (of, g) = (g.dtype(), operand(g)?);
    out.add(at.1, || Ok(conv.grad_weight(x, w.shape(), &g)?.to_dtype(of)?))?;
    out.add(at.0, || Ok(conv.grad_input(x.shape(), w, &g)?.to_dtype(of)?))
}

/// `x w^T + bias` for a traced or constant input.
pub(super) fn linear(x: &TapeTensor, w: &TapeTensor, bias: Option<&TapeTensor>) -> Result<TapeTensor> {
    let (xv, wv, at) = (operand(&x.value)?, operand(&w.value)?, (x.at, w.at, bias.and_then(|b| b.at)));
    let y = product(&x.value, &xv, bias, |bias| ops::linear(&xv, &wv, bias))?;
    let operands: Vec<&TapeTensor> = [w].into_iter().chain(bias).collect();
    Ok(x.step(y, &operands, move |g, out| {
        out.add(at.2, || Ok(ops::channel::channel_sum(g)?))?;
        let (of, g) = (g.dtype(), operand(g)?);
        out.add(at.1, || Ok(ops::linear_grad_weight(&xv, &g)?.to_dtype(of)?))?;
        out.add(at.0, || Ok(ops::linear_grad_input(&wv, &g)?.to_dtype(of)?))
    }))
}

/// relu's gradient where it gave `y`.
pub(super) fn masked(x: &TapeTensor, value: Tensor, y: Tensor) -> TapeTensor {
    x.linear_map(value, move |g| Ok(mask(g, &y)?))
}

/// Normalisation, the sum with `skip` and relu in one step.
pub(super) fn normalise(
    x: &TapeTensor,
    gain: &TapeTensor,
    bias: &TapeTensor,
    source: &Source,
    skip: Option<&TapeTensor>,
    relu: bool,
) -> Result<(TapeTensor, Normed)> {
    let normed = norm(&x.value, &gain.value, &bias.value, source, skip.map(|s| &s.value), relu)?;
    let (xv, gv, bv) = (x.value.clone(), gain.value.clone(), bias.value.clone());
    let at = (x.at, gain.at, bias.at, skip.and_then(|s| s.at));
    // the output is needed where relu's place cannot be found from `x` alone
    let (y, batch) = (skip.filter(|_| relu).map(|_| normed.y.clone()), matches!(source, Source::Batch(_)));
    let found = normed.found.clone();
    let operands: Vec<&TapeTensor> = [gain, bias].into_iter().chain(skip).collect();
    let of = [&xv, &gv, &bv].map(Tensor::clone);
    let again = skip.is_none().then(|| Rc::new(Again { of, found: found.clone(), relu }));
    let mut out = x.step(normed.y.clone(), &operands, move |g, out| {
        let [dx, dgain, dbias, dskip] =
            norm_gradients([&xv, &gv, &bv], y.as_ref(), relu, batch, &found, g, at.3.is_some())?;
        out.add(at.3, || Ok(dskip.unwrap_or_else(|| g.clone())))?;
        out.add(at.1, || dgain.ok_or_else(missing))?;
        out.add(at.2, || dbias.ok_or_else(missing))?;
        out.add(at.0, || dx.ok_or_else(missing))
    });
    out.again = again;
    Ok((out, normed))
}

pub(super) fn missing() -> crate::Error {
    crate::Error::BadInput("a kernel without its gradient".into())
}

/// The transpose of the mean over rows and columns of `(n, c, h, w)`.
pub(super) fn spread(g: &Tensor, (n, c, h, w): (usize, usize, usize, usize)) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if g.device().is_cuda() {
        return Ok(ops::global_mean_share(g, (h, w))?);
    }
    Ok((g.reshape((n, c, 1, 1))? * (1.0 / (h * w) as f64))?.broadcast_as((n, c, h, w))?.contiguous()?)
}

impl Value for TapeTensor {
    fn primal(&self) -> &Tensor {
        &self.value
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, c: Conv2d) -> Result<Self> {
        conv(self, w, bias, c)
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, c: Conv2d) -> Result<Self> {
        conv(&w.tape.constant(x), w, bias, c)
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        linear(self, w, bias)
    }

    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        linear(&w.tape.constant(x), w, bias)
    }

    #[cfg(feature = "cuda")]
    fn conv2d_pool(&self, w: &Self, bias: Option<&Self>, c: Conv2d, pool: Pool2d, then: Activation) -> Result<Self> {
        match bias.filter(|_| fused::takes(&self.value, then)) {
            Some(bias) => fused::shift_pool_relu(&conv(self, w, None, c)?, bias, pool),
            None => conv(self, w, bias, c)?.max_pool(pool)?.activate(then),
        }
    }

    #[cfg(feature = "cuda")]
    fn conv2d_pool_of(
        x: &Tensor,
        w: &Self,
        bias: Option<&Self>,
        c: Conv2d,
        pool: Pool2d,
        then: Activation,
    ) -> Result<Self> {
        w.tape.constant(x).conv2d_pool(w, bias, c, pool, then)
    }

    #[cfg(feature = "cuda")]
    fn linear_activate(&self, w: &Self, bias: Option<&Self>, then: Activation) -> Result<Self> {
        match bias.filter(|_| fused::takes(&self.value, then)) {
            Some(bias) => fused::shift_relu(&linear(self, w, None)?, bias),
            None => linear(self, w, bias)?.activate(then),
        }
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        let (y, pick) = pool.max_and_pick(&self.value)?;
        let shape = self.value.shape().clone();
        Ok(self.linear_map(y, move |g| Ok(pick.transpose(g, &shape)?)))
    }

    fn mean_pool(&self, pool: Pool2d) -> Result<Self> {
        Self::function(&[self], move |x| Ok(pool.mean(&x[0])?))
    }

    fn global_mean(&self) -> Result<Self> {
        let (n, c, h, w) = self.value.dims4()?;
        Ok(self.linear_map(self.value.global_mean()?, move |g| spread(g, (n, c, h, w))))
    }

    fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let before = self.value.shape().clone();
        Ok(self.linear_map(self.value.reshape(shape)?, move |g| Ok(g.reshape(&before)?)))
    }

    fn arrange(&self, by: &Arrange) -> Result<Self> {
        let (before, map) = (self.value.shape().clone(), by.clone());
        Ok(self.linear_map(by.of(&self.value)?, move |g| Ok(map.transpose(g, &before)?)))
    }

    fn products(&self, other: &Self) -> Result<Self> {
        let (a, b, at) = (self.value.clone(), other.value.clone(), (self.at, other.at));
        Ok(self.step(ops::products(&a, &b)?, &[other], move |g, out| {
            out.add(at.0, || Ok(ops::products(g, &b.transpose(1, 2)?)?))?;
            out.add(at.1, || Ok(ops::products(&a.transpose(1, 2)?, g)?))
        }))
    }

    fn softmax(&self, factor: f64) -> Result<Self> {
        let p = Value::softmax(&self.value, factor)?;
        Ok(self.linear_map(p.clone(), move |g| {
            let mean = (&p * g)?.sum_keepdim(D::Minus1)?;
            Ok(((&p * g.broadcast_sub(&mean)?)? * factor)?)
        }))
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        Ok(self.tape.constant(&x))
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        let y = activation.forward(&self.value)?;
        if activation == Activation::Relu {
            return Ok(masked(self, y.clone(), y));
        }
        let x = self.value.clone();
        Ok(self.linear_map(y, move |g| Ok(activation.forward_tangent(&x, g)?.1)))
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        if activation != Activation::Relu {
            return self.plus(other)?.activate(activation);
        }
        let y = add_relu(&self.value, &other.value)?;
        let (result, at) = (y.clone(), (self.at, other.at));
        Ok(self.step(y, &[other], move |g, out| {
            let g = mask(g, &result)?;
            out.add(at.0, || Ok(g.clone()))?;
            out.add(at.1, || Ok(g))
        }))
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        let at = (self.at, other.at);
        Ok(self.step(plus(&self.value, &other.value)?, &[other], move |g, out| {
            out.add(at.0, || Ok(g.clone()))?;
            out.add(at.1, || Ok(g.clone()))
        }))
    }

    fn batch_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)> {
        let relu = then == Some(Activation::Relu);
        let (y, normed) = normalise(self, gain, bias, &Source::Batch(eps), skip, relu)?;
        let moments = normed.moments(&self.value)?;
        Ok((y.finish(None, then.filter(|_| !relu))?, moments))
    }

    fn fixed_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        statistics: (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        let relu = then == Some(Activation::Relu);
        let (y, _) = normalise(self, gain, bias, &fixed(statistics), skip, relu)?;
        y.finish(None, then.filter(|_| !relu))
    }

    fn cross_entropy(&self, targets: &Tensor) -> Result<Self> {
        let targets = targets.clone();
        Self::function(&[self], move |z| z[0].cross_entropy(&targets))
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        let targets = targets.clone();
        Self::function(&[self], move |z| z[0].squared_error(&targets))
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        Self::function(&[self], move |x| x[0].scaled_mean(factor))
    }
}
