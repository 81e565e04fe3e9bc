//! Plain tensors as values, differentiable by candle's graph.

use super::{Value, fixed};
use crate::ops::batch_norm::{Normed, Source, norm};
use crate::ops::moments::BatchMoments;
use crate::ops::{self, Arrange, Conv2d, Pool2d, add_relu, cross_entropy};
use crate::{Activation, Result};
use candle_core::{D, Tensor};

/// Normalisation, the sum with `skip`, the nonlinearity; relu in the same pass.
fn norm_then(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    source: &Source,
    skip: Option<&Tensor>,
    then: Option<Activation>,
) -> Result<(Tensor, Normed)> {
    let relu = then == Some(Activation::Relu);
    let normed = norm(x, gain, bias, source, skip, relu)?;
    Ok((normed.y.clone().finish(None, then.filter(|_| !relu))?, normed))
}

impl Value for Tensor {
    fn primal(&self) -> &Tensor {
        self
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        Ok(conv.forward(self, w, bias)?)
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        Ok(conv.forward(&x.detach(), w, bias)?)
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        Ok(ops::linear(self, w, bias)?)
    }

    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        Ok(ops::linear(&x.detach(), w, bias)?)
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        Ok(pool.max(self)?)
    }

    fn mean_pool(&self, pool: Pool2d) -> Result<Self> {
        Ok(pool.mean(self)?)
    }

    fn global_mean(&self) -> Result<Self> {
        Ok(ops::global_mean(self)?)
    }

    fn reshape(&self, shape: &[usize]) -> Result<Self> {
        Ok(self.reshape(shape)?)
    }

    fn arrange(&self, by: &Arrange) -> Result<Self> {
        Ok(by.of(self)?)
    }

    fn products(&self, other: &Self) -> Result<Self> {
        Ok(ops::products(self, other)?)
    }

    fn softmax(&self, factor: f64) -> Result<Self> {
        let last = self.dim(D::Minus1)?;
        let rows = (self * factor)?.reshape((self.elem_count() / last.max(1), last))?;
        Ok(ops::softmax(&rows)?.reshape(self.shape())?)
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        Ok(x)
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        Ok(activation.forward(self)?)
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        match activation {
            Activation::Relu => Ok(add_relu(self, other)?),
            _ => self.plus(other)?.activate(activation),
        }
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        Ok(ops::activation::plus(self, other)?)
    }

    fn batch_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)> {
        let (y, normed) = norm_then(self, gain, bias, &Source::Batch(eps), skip, then)?;
        Ok((y, normed.moments(self)?))
    }

    fn fixed_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        statistics: (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        Ok(norm_then(self, gain, bias, &fixed(statistics), skip, then)?.0)
    }

    fn cross_entropy(&self, targets: &Tensor) -> Result<Self> {
        Ok(cross_entropy(self, targets)?)
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        Ok((self - targets)?.sqr()?.sum(D::Minus1)?)
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        Ok((self.mean_all()? * factor)?)
    }
}
