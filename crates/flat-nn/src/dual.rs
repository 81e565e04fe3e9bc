//! Forward-mode derivatives: a value and its directional derivative, carried through a model together.
//!
//! Every tangent is an expression of first-order differentiable operations. The tangent of a loss along `v` is the number
//! `<grad L, v>`, and one `backward` of it gives the exact product of the Hessian with `v` (Pearlmutter 1994), without
//! a second backward pass.

use crate::ops::batch_norm::{Normed, norm};
use crate::ops::bilinear_tangent::{Bilinear, bilinear_tangent};
use crate::ops::channel::{Split, channel_affine, channel_scale, channel_shift};
use crate::ops::norm_kernel::Source;
use crate::ops::standardize::Standardized;
use crate::ops::tangent_norm::{Operands, norm_tangent};
use crate::ops::{Conv2d, Pool2d, cross_entropy, linear, mask, softmax};
use crate::value::{fixed, group_split};
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::{D, Tensor};

/// A value and its directional derivative, of one shape.
#[derive(Debug, Clone)]
pub struct Dual {
    /// The value.
    pub value: Tensor,
    /// Its derivative along the direction.
    pub tangent: Tensor,
}

impl Dual {
    /// A value that changes along `tangent`.
    pub fn new(value: Tensor, tangent: Tensor) -> Self {
        Self { value, tangent }
    }

    /// The same linear map of both.
    fn map(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        Ok(Self { value: f(&self.value)?, tangent: f(&self.tangent)? })
    }

    /// `gain * normal + bias` and its tangent, given those of `normal`.
    fn affine(normal: &Tensor, tangent: &Tensor, gain: &Self, bias: &Self) -> Result<Self> {
        let value = channel_affine(normal, &gain.value, &bias.value)?;
        let from_gain = channel_affine(normal, &gain.tangent, &bias.tangent)?;
        Ok(Self { value, tangent: (channel_scale(tangent, &gain.value)? + from_gain)? })
    }

    /// Whether tangents are operations of their own: on CPU, along constant directions of the parameters.
    fn has_kernel(&self, weight: &Self, bias: &Self) -> bool {
        self.value.device().is_cpu() && !weight.tangent.track_op() && !bias.tangent.track_op()
    }

    /// The tangent of a bilinear layer as one operation.
    fn bilinear(&self, layer: Bilinear, w: &Self, bias: Option<&Self>) -> Result<Tensor> {
        let bias_dot = bias.map(|b| &b.tangent);
        Ok(bilinear_tangent(layer, (&self.value, &self.tangent), (&w.value, &w.tangent), bias_dot)?)
    }

    /// Normalisation, sum with `skip` and relu as one operation each for value and tangent; another nonlinearity follows.
    fn norm(
        &self,
        gain: &Self,
        bias: &Self,
        source: &Source,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, Normed)> {
        let relu = then == Some(Activation::Relu);
        let (of, dot) = (
            Operands { x: &self.value, gain: &gain.value, bias: &bias.value, skip: skip.map(|s| &s.value) },
            Operands { x: &self.tangent, gain: &gain.tangent, bias: &bias.tangent, skip: skip.map(|s| &s.tangent) },
        );
        let normed = norm(of.x, of.gain, of.bias, source, of.skip, relu)?;
        let y = Self { value: normed.y.clone(), tangent: norm_tangent(of, dot, source, relu, &normed)? };
        Ok((y.finish(None, then.filter(|_| !relu))?, normed))
    }

    /// The sum with `skip`, then the nonlinearity, where they are given.
    fn finish(self, skip: Option<&Self>, then: Option<Activation>) -> Result<Self> {
        match (skip, then) {
            (None, None) => Ok(self),
            (None, Some(activation)) => self.activate(activation),
            (Some(skip), None) => self.plus(skip),
            (Some(skip), Some(activation)) => self.add_activate(skip, activation),
        }
    }
}

impl Value for Dual {
    fn primal(&self) -> &Tensor {
        &self.value
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        if self.has_kernel(w, bias.unwrap_or(w)) {
            return Ok(Self {
                value: conv.forward(&self.value, &w.value, bias.map(|b| &b.value))?,
                tangent: self.bilinear(Bilinear::Conv(conv), w, bias)?,
            });
        }
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
        if self.has_kernel(w, bias.unwrap_or(w)) {
            return Ok(Self {
                value: linear(&self.value, &w.value, bias.map(|b| &b.value))?,
                tangent: self.bilinear(Bilinear::Linear, w, bias)?,
            });
        }
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
        self.map(|x| pool.mean(x))
    }

    fn global_mean(&self) -> Result<Self> {
        Ok(Self { value: self.value.global_mean()?, tangent: self.tangent.global_mean()? })
    }

    fn flatten(&self) -> Result<Self> {
        self.map(|x| x.flatten_from(1))
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
        Ok(Self { value: (&self.value + &other.value)?, tangent: (&self.tangent + &other.tangent)? })
    }

    fn batch_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)> {
        if self.has_kernel(gain, bias) {
            let (y, normed) = self.norm(gain, bias, &Source::Batch(eps), skip, then)?;
            return Ok((y, normed.moments(&self.value)?.into()));
        }
        let s = Standardized::new(&self.value, Split::of(self.value.shape())?, eps)?;
        let y = Self::affine(&s.value, &s.tangent(&self.tangent)?, gain, bias)?.finish(skip, then)?;
        Ok((y, s.moments.into()))
    }

    fn group_norm(&self, groups: usize, gain: &Self, bias: &Self, eps: f64) -> Result<Self> {
        let s = Standardized::new(&self.value, group_split(&self.value, groups)?, eps)?;
        Self::affine(&s.value, &s.tangent(&self.tangent)?, gain, bias)
    }

    fn fixed_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        (mean, inv_std): (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        if self.has_kernel(gain, bias) {
            return Ok(self.norm(gain, bias, &fixed((mean, inv_std))?, skip, then)?.0);
        }
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
        self.map(|x| x.mean_all()? * factor)
    }
}
