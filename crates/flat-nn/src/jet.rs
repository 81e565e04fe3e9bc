//! Second derivatives along a line: the first three Taylor coefficients of a value, carried through a model together.
//!
//! Where the parameters move to `theta + t v`, every value is `x_0 + x_1 t + x_2 t^2 + ...`. A bilinear layer needs five
//! products for three coefficients of its result. Twice the last coefficient of a loss is `<v, H v>`: the quadratic form of its
//! Hessian, without a backward pass and what it keeps.

use crate::ops::batch_norm::{Normed, Source};
use crate::ops::channel::channel_shift;
use crate::ops::norm_jet::norm_jet;
use crate::ops::{Conv2d, Pool2d, activation, cross_entropy, linear, softmax};
use crate::value::fixed;
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::{D, DType, Tensor};

/// A value that moves along a curve: its Taylor coefficients up to the second, of one shape, without graphs.
#[derive(Debug, Clone)]
pub(crate) struct Jet {
    /// The value.
    pub value: Tensor,
    /// The first coefficient: the derivative.
    pub first: Tensor,
    /// The second coefficient: half of the second derivative. `None` for zero, as of parameters.
    pub second: Option<Tensor>,
}

/// The sum of the terms that are there.
fn sum(terms: impl IntoIterator<Item = Result<Option<Tensor>>>) -> Result<Option<Tensor>> {
    let mut total: Option<Tensor> = None;
    for term in terms {
        total = match (total, term?) {
            (Some(sum), Some(term)) => Some(activation::plus(&sum, &term)?),
            (sum, term) => sum.or(term),
        };
    }
    Ok(total)
}

impl Jet {
    /// A value that moves along a straight line.
    pub(crate) fn line(value: Tensor, first: Tensor) -> Self {
        Self { value, first, second: None }
    }

    /// The same numbers in another element type.
    pub(crate) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        self.map(|x| Ok(x.to_dtype(dtype)?))
    }

    /// The same linear map of all coefficients.
    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let second = self.second.as_ref().map(&f).transpose()?;
        Ok(Self { value: f(&self.value)?, first: f(&self.first)?, second })
    }

    /// A bilinear map of two operands, with `bias` added to its value and its derivative and so on.
    fn bilinear(
        &self,
        w: &Self,
        bias: Option<&Self>,
        f: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>,
    ) -> Result<Self> {
        let value = f(&self.value, &w.value, bias.map(|b| &b.value))?;
        let along_w = f(&self.value, &w.first, bias.map(|b| &b.first))?;
        let first = activation::plus(&f(&self.first, &w.value, None)?, &along_w)?;
        let product = |x: &Option<Tensor>, w: &Option<Tensor>| match (x, w) {
            (Some(x), Some(w)) => Ok(Some(f(x, w, None)?)),
            _ => Ok(None),
        };
        let of = |x: &Tensor| Some(x.clone());
        let second = sum([
            product(&of(&self.first), &of(&w.first)),
            product(&self.second, &of(&w.value)),
            product(&of(&self.value), &w.second),
        ])?;
        Self { value, first, second }.shifted(bias)
    }

    /// A map linear in `w`, of a constant.
    fn linear_in(
        w: &Self,
        bias: Option<&Self>,
        f: impl Fn(&Tensor, Option<&Tensor>) -> Result<Tensor>,
    ) -> Result<Self> {
        let second = w.second.as_ref().map(|w| f(w, None)).transpose()?;
        let value = f(&w.value, bias.map(|b| &b.value))?;
        Self { value, first: f(&w.first, bias.map(|b| &b.first))?, second }.shifted(bias)
    }

    /// With the second coefficient of a bias a channel, whose others are in already.
    fn shifted(self, bias: Option<&Self>) -> Result<Self> {
        let Some(shift) = bias.and_then(|b| b.second.as_ref()) else { return Ok(self) };
        let second = match self.second {
            Some(second) => second,
            None => self.value.zeros_like()?,
        };
        Ok(Self { second: Some(channel_shift(&second, shift)?), ..self })
    }

    fn normalise(
        &self,
        gain: &Self,
        bias: &Self,
        source: &Source,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, Normed)> {
        let relu = then == Some(Activation::Relu);
        let (y, normed) = norm_jet(self, [gain, bias], source, skip, relu)?;
        Ok((y.finish(None, then.filter(|_| !relu))?, normed))
    }
}

impl Value for Jet {
    fn primal(&self) -> &Tensor {
        &self.value
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        if w.second.is_none() && bias.is_none_or(|b| b.second.is_none()) {
            let biases = bias.map(|b| [&b.value, &b.first]);
            let of = [&self.value, &self.first];
            if let Some(found) = conv.forward_jet(of, self.second.as_ref(), [&w.value, &w.first], biases)? {
                let [value, first, second] = found;
                return Ok(Self { value, first, second: Some(second) });
            }
        }
        self.bilinear(w, bias, |x, w, bias| Ok(conv.forward(x, w, bias)?))
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        Self::linear_in(w, bias, |w, bias| Ok(conv.forward(x, w, bias)?))
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        self.bilinear(w, bias, |x, w, bias| Ok(linear(x, w, bias)?))
    }

    /// Value and derivative are one product with the weights of both, which reads the inputs once.
    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        if w.second.is_some() {
            return Self::linear_in(w, bias, |w, bias| Ok(linear(x, w, bias)?));
        }
        let outputs = w.value.dim(0)?;
        let both = bias.map(|b| Tensor::cat(&[&b.value, &b.first], 0)).transpose()?;
        let y = linear(x, &Tensor::cat(&[&w.value, &w.first], 0)?, both.as_ref())?;
        let half = |start| y.narrow(1, start, outputs)?.contiguous();
        Self::line(half(0)?, half(outputs)?).shifted(bias)
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        let (value, pick) = pool.max_and_pick(&self.value)?;
        let second = self.second.as_ref().map(|s| pick.apply(s)).transpose()?;
        Ok(Self { value, first: pick.apply(&self.first)?, second })
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

    fn constant(&self, x: Tensor) -> Result<Self> {
        Ok(Self::line(x.clone(), x.zeros_like()?))
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        let (value, first, second) = activation.forward_jet(&self.value, &self.first, self.second.as_ref())?;
        Ok(Self { value, first, second })
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        self.plus(other)?.activate(activation)
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        let second = sum([Ok(self.second.clone()), Ok(other.second.clone())])?;
        Ok(Self { value: self.value.plus(&other.value)?, first: self.first.plus(&other.first)?, second })
    }

    fn batch_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        eps: f64,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, BatchMoments)> {
        let (y, normed) = self.normalise(gain, bias, &Source::Batch(eps), skip, then)?;
        Ok((y, normed.moments(&self.value)?))
    }

    fn fixed_norm_add(
        &self,
        gain: &Self,
        bias: &Self,
        statistics: (&Tensor, &Tensor),
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<Self> {
        Ok(self.normalise(gain, bias, &fixed(statistics), skip, then)?.0)
    }

    /// The second coefficient is `<p - t, z_2>` and half the variance of `z_1` under the probabilities p.
    fn cross_entropy(&self, targets: &Tensor) -> Result<Self> {
        let p = softmax(&self.value)?;
        let slope = (&p - targets)?;
        let mean = (&p * &self.first)?.sum_keepdim(D::Minus1)?;
        let spread = ((&p * self.first.broadcast_sub(&mean)?.sqr()?)?.sum(D::Minus1)? * 0.5)?;
        let second = match &self.second {
            Some(second) => ((&slope * second)?.sum(D::Minus1)? + spread)?,
            None => spread,
        };
        let first = (slope * &self.first)?.sum(D::Minus1)?;
        Ok(Self { value: cross_entropy(&self.value, targets)?, first, second: Some(second) })
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        let error = (&self.value - targets)?;
        let square = self.first.sqr()?.sum(D::Minus1)?;
        let second = match &self.second {
            Some(second) => (((&error * second)?.sum(D::Minus1)? * 2.0)? + square)?,
            None => square,
        };
        let first = ((&error * &self.first)?.sum(D::Minus1)? * 2.0)?;
        Ok(Self { value: error.sqr()?.sum(D::Minus1)?, first, second: Some(second) })
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        self.map(|x| x.scaled_mean(factor))
    }
}
