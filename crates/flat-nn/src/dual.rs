//! Forward-mode derivatives: a value and its directional derivative, carried through a model together.
//!
//! Every tangent is an expression of first-order differentiable operations. The tangent of a loss along `v` is the number
//! `<grad L, v>`, and one `backward` of it gives the exact product of the Hessian with `v` (Pearlmutter 1994), without
//! a second backward pass.

use crate::ops::channel::{channel_affine, channel_scale, channel_shift};
use crate::ops::standardize::Standardized;
use crate::ops::{Arrange, Conv2d, Pool2d, cross_entropy, linear, mask, softmax};
use crate::value::group_split;
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::{D, Tensor};
use flat_kernels::Split;

/// A value and its directional derivative, of one shape.
#[derive(Debug, Clone)]
pub struct Dual<V = Tensor> {
    /// The value.
    pub value: V,
    /// Its derivative along the direction.
    pub tangent: V,
}

impl<V> Dual<V> {
    /// A value that changes along `tangent`.
    pub fn new(value: V, tangent: V) -> Self {
        Self { value, tangent }
    }

    /// The same linear map of both.
    pub(crate) fn map(&self, f: impl Fn(&V) -> Result<V>) -> Result<Self> {
        Ok(Self { value: f(&self.value)?, tangent: f(&self.tangent)? })
    }

    /// A linear map of two operands, of both.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(&V, &V) -> Result<V>) -> Result<Self> {
        Ok(Self { value: f(&self.value, &other.value)?, tangent: f(&self.tangent, &other.tangent)? })
    }
}

impl Dual {
    /// `gain * normal + bias` and its tangent, given those of `normal`.
    fn affine(normal: &Tensor, tangent: &Tensor, gain: &Self, bias: &Self) -> Result<Self> {
        let value = channel_affine(normal, &gain.value, &bias.value)?;
        let from_gain = channel_affine(normal, &gain.tangent, &bias.tangent)?;
        Ok(Self { value, tangent: (channel_scale(tangent, &gain.value)? + from_gain)? })
    }
}

impl Value for Dual {
    fn primal(&self) -> &Tensor {
        &self.value
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        let from_w = Self::conv2d_of(&self.value, w, bias, conv)?;
        let value = conv.forward(&self.value, &w.value, bias.map(|b| &b.value))?;
        let tangent = (conv.forward(&self.tangent, &w.value, None)? + from_w.tangent)?;
        Ok(Self { value, tangent })
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        Ok(Self {
            value: conv.forward(x, &w.value, bias.map(|b| &b.value))?,
            tangent: conv.forward(x, &w.tangent, bias.map(|b| &b.tangent))?,
        })
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        let from_w = Self::linear_of(&self.value, w, bias)?;
        Ok(Self { value: from_w.value, tangent: (linear(&self.tangent, &w.value, None)? + from_w.tangent)? })
    }

    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        Ok(Self {
            value: linear(x, &w.value, bias.map(|b| &b.value))?,
            tangent: linear(x, &w.tangent, bias.map(|b| &b.tangent))?,
        })
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        let (value, pick) = pool.max_and_pick(&self.value)?;
        Ok(Self { value, tangent: pick.apply(&self.tangent)? })
    }

    fn mean_pool(&self, pool: Pool2d) -> Result<Self> {
        self.map(|x| x.mean_pool(pool))
    }

    fn global_mean(&self) -> Result<Self> {
        self.map(Value::global_mean)
    }

    fn reshape(&self, shape: &[usize]) -> Result<Self> {
        self.map(|x| Value::reshape(x, shape))
    }

    fn arrange(&self, by: &Arrange) -> Result<Self> {
        self.map(|x| x.arrange(by))
    }

    fn products(&self, other: &Self) -> Result<Self> {
        let value = self.value.products(&other.value)?;
        let tangent = (self.tangent.products(&other.value)? + self.value.products(&other.tangent)?)?;
        Ok(Self { value, tangent })
    }

    /// The tangent is `p (z' - <p, z'>)` with the probabilities p.
    fn softmax(&self, factor: f64) -> Result<Self> {
        let p = Value::softmax(&self.value, factor)?;
        let along = (&self.tangent * factor)?;
        let mean = (&p * &along)?.sum_keepdim(D::Minus1)?;
        Ok(Self { tangent: (&p * along.broadcast_sub(&mean)?)?, value: p })
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        Ok(Self { tangent: x.zeros_like()?, value: x })
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        let (value, tangent) = activation.forward_tangent(&self.value, &self.tangent)?;
        Ok(Self { value, tangent })
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        match activation {
            Activation::Relu => {
                let value = self.value.add_activate(&other.value, activation)?;
                let tangent = mask(&(&self.tangent + &other.tangent)?, &value)?;
                Ok(Self { value, tangent })
            }
            _ => self.plus(other)?.activate(activation),
        }
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        self.zip(other, Value::plus)
    }

    fn batch_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)> {
        let s = Standardized::new(&self.value, Split::of(self.value.shape())?, eps)?;
        let y = Self::affine(&s.value, &s.tangent(&self.tangent)?, gain, bias)?.finish(skip, then)?;
        Ok((y, s.moments()))
    }

    fn group_norm_add(
        &self,
        groups: usize,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        // without the passes by ones and zeros, which would all be on candle's graph here
        let s = Standardized::new(&self.value, group_split(&self.value, groups)?, eps)?;
        Self::affine(&s.value, &s.tangent(&self.tangent)?, gain, bias)?.finish(skip, then)
    }

    fn fixed_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        (mean, inv_std): (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        let centred = channel_shift(&self.value, &mean.neg()?)?;
        let normal = channel_scale(&centred, inv_std)?;
        Self::affine(&normal, &channel_scale(&self.tangent, inv_std)?, gain, bias)?.finish(skip, then)
    }

    fn cross_entropy(&self, targets: &Tensor) -> Result<Self> {
        let slope = (softmax(&self.value)? - targets)?;
        Ok(Self { value: cross_entropy(&self.value, targets)?, tangent: (slope * &self.tangent)?.sum(D::Minus1)? })
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        let error = (&self.value - targets)?;
        Ok(Self { value: error.sqr()?.sum(D::Minus1)?, tangent: ((error * &self.tangent)?.sum(D::Minus1)? * 2.0)? })
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        self.map(|x| x.scaled_mean(factor))
    }
}
