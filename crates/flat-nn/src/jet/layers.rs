//! The layers over jets.

use super::{Jet, Line};
use crate::ops::batch_norm::{Normed, Source};
use crate::ops::channel::channel_shift;
use crate::ops::norm_jet::norm_jet;
use crate::ops::{Arrange, Conv2d, Pool2d, activation, cross_entropy, linear, softmax};
use crate::value::fixed;
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::{D, DType, Tensor};

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

impl Line {
    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { first: f(&self.first)?, second: self.second.as_ref().map(f).transpose()? })
    }

    /// With the second coefficient of a bias a channel, whose first is in already.
    fn shifted(self, bias: Option<&Self>) -> Result<Self> {
        let Some(shift) = bias.and_then(|b| b.second.as_ref()) else { return Ok(self) };
        let second = match self.second {
            Some(second) => second,
            None => self.first.zeros_like()?,
        };
        Ok(Self { second: Some(channel_shift(&second, shift)?), ..self })
    }
}

impl Jet {
    /// The value and the first coefficients.
    fn terms(&self) -> Vec<&Tensor> {
        [&self.value].into_iter().chain(self.along.iter().map(|line| &line.first)).collect()
    }

    /// The same numbers in another element type.
    pub(crate) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        self.map(|x| Ok(x.to_dtype(dtype)?))
    }

    /// The same linear map of all coefficients.
    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let along = self.along.iter().map(|line| line.map(&f)).collect::<Result<_>>()?;
        Ok(Self { value: f(&self.value)?, along })
    }

    /// The lines of a bilinear map of two operands, with those of `bias` added.
    fn bilinear(
        &self,
        w: &Self,
        bias: Option<&Self>,
        f: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>,
    ) -> Result<Self> {
        let line = |(i, (x, w_line)): (usize, (&Line, &Line))| {
            let bias = bias.map(|b| &b.along[i]);
            let along_w = f(&self.value, &w_line.first, bias.map(|b| &b.first))?;
            let first = activation::plus(&f(&x.first, &w.value, None)?, &along_w)?;
            let second = sum([
                f(&x.first, &w_line.first, None).map(Some),
                x.second.as_ref().map(|x| f(x, &w.value, None)).transpose(),
                w_line.second.as_ref().map(|w| f(&self.value, w, None)).transpose(),
            ])?;
            Line { first, second }.shifted(bias)
        };
        let along = self.along.iter().zip(&w.along).enumerate().map(line).collect::<Result<_>>()?;
        Ok(Self { value: f(&self.value, &w.value, bias.map(|b| &b.value))?, along })
    }

    /// A map linear in `w`, of a constant.
    fn linear_in(
        w: &Self,
        bias: Option<&Self>,
        f: impl Fn(&Tensor, Option<&Tensor>) -> Result<Tensor>,
    ) -> Result<Self> {
        let line = |(i, w): (usize, &Line)| {
            let bias = bias.map(|b| &b.along[i]);
            let second = w.second.as_ref().map(|w| f(w, None)).transpose()?;
            Line { first: f(&w.first, bias.map(|b| &b.first))?, second }.shifted(bias)
        };
        let along = w.along.iter().enumerate().map(line).collect::<Result<_>>()?;
        Ok(Self { value: f(&w.value, bias.map(|b| &b.value))?, along })
    }

    /// [`Conv2d::forward_jet`] line by line, the value with the first of them.
    fn joint_conv(&self, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Option<Self>> {
        let (mut value, mut along) = (None, Vec::with_capacity(self.along.len()));
        for (i, (x, w_line)) in self.along.iter().zip(&w.along).enumerate() {
            let (of, weights) = ([&self.value, &x.first], [&w.value, &w_line.first]);
            let biases = bias.map(|b| [&b.value, &b.along[i].first]);
            let found = conv.forward_jet(of, x.second.as_ref(), weights, biases, i == 0)?;
            let Some(mut found) = found.map(Vec::into_iter) else { return Ok(None) };
            value = value.or_else(|| found.next());
            let (Some(first), second) = (found.next(), found.next()) else { return Ok(None) };
            along.push(Line { first, second });
        }
        Ok(value.map(|value| Self { value, along }))
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
        let straight = w.is_straight() && bias.is_none_or(Self::is_straight);
        if let Some(joint) = straight.then(|| self.joint_conv(w, bias, conv)).transpose()?.flatten() {
            return Ok(joint);
        }
        self.bilinear(w, bias, |x, w, bias| Ok(conv.forward(x, w, bias)?))
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, conv: Conv2d) -> Result<Self> {
        Self::linear_in(w, bias, |w, bias| Ok(conv.forward(x, w, bias)?))
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        self.bilinear(w, bias, |x, w, bias| Ok(linear(x, w, bias)?))
    }

    /// Value and derivatives are one product with the weights of all, which reads the inputs once.
    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        if !(w.is_straight() && bias.is_none_or(Self::is_straight)) {
            return Self::linear_in(w, bias, |w, bias| Ok(linear(x, w, bias)?));
        }
        let all = |p: &Self| Tensor::cat(&p.terms(), 0);
        let y = linear(x, &all(w)?, bias.map(all).transpose()?.as_ref())?;
        let outputs = w.value.dim(0)?;
        let part = |i: usize| y.narrow(1, i * outputs, outputs)?.contiguous();
        let along = (1..=w.along.len()).map(|i| Ok(Line::straight(part(i)?))).collect::<Result<_>>()?;
        Ok(Self { value: part(0)?, along })
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        let (value, pick) = pool.max_and_pick(&self.value)?;
        let along = self.along.iter().map(|line| line.map(|x| Ok(pick.apply(x)?))).collect::<Result<_>>()?;
        Ok(Self { value, along })
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
        self.bilinear(other, None, |a, b, _| a.products(b))
    }

    /// The logarithm of the probabilities p moves by `u = z_1 - <p, z_1>` and `w = z_2 - <p, z_2> - <p, u^2> / 2`, p by
    /// `p u` and `p (w + u^2 / 2)`.
    fn softmax(&self, factor: f64) -> Result<Self> {
        let p = Value::softmax(&self.value, factor)?;
        let centred = |z: &Tensor| -> Result<Tensor> { Ok(z.broadcast_sub(&(&p * z)?.sum_keepdim(D::Minus1)?)?) };
        let line = |line: &Line| {
            let u = centred(&(&line.first * factor)?)?;
            let spread = centred(&(u.sqr()? * 0.5)?)?;
            let second = match &line.second {
                Some(second) => (centred(&(second * factor)?)? + spread)?,
                None => spread,
            };
            Ok(Line { first: (&p * u)?, second: Some((&p * second)?) })
        };
        let along = self.along.iter().map(line).collect::<Result<_>>()?;
        Ok(Self { value: p, along })
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        let still = Line::straight(x.zeros_like()?);
        Ok(Self { value: x, along: vec![still; self.along.len()] })
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        let curve = activation.curve(&self.value)?;
        let line = |line: &Line| {
            let (first, second) = curve.along(&line.first, line.second.as_ref())?;
            Ok(Line { first, second })
        };
        let along = self.along.iter().map(line).collect::<Result<_>>()?;
        Ok(Self { value: curve.value, along })
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        self.plus(other)?.activate(activation)
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        let line = |(a, b): (&Line, &Line)| {
            let second = sum([Ok(a.second.clone()), Ok(b.second.clone())])?;
            Ok(Line { first: a.first.plus(&b.first)?, second })
        };
        let along = self.along.iter().zip(&other.along).map(line).collect::<Result<_>>()?;
        Ok(Self { value: self.value.plus(&other.value)?, along })
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
        let line = |line: &Line| {
            let mean = (&p * &line.first)?.sum_keepdim(D::Minus1)?;
            let spread = ((&p * line.first.broadcast_sub(&mean)?.sqr()?)?.sum(D::Minus1)? * 0.5)?;
            let second = match &line.second {
                Some(second) => ((&slope * second)?.sum(D::Minus1)? + spread)?,
                None => spread,
            };
            Ok(Line { first: (&slope * &line.first)?.sum(D::Minus1)?, second: Some(second) })
        };
        let along = self.along.iter().map(line).collect::<Result<_>>()?;
        Ok(Self { value: cross_entropy(&self.value, targets)?, along })
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        let error = (&self.value - targets)?;
        let line = |line: &Line| {
            let square = line.first.sqr()?.sum(D::Minus1)?;
            let second = match &line.second {
                Some(second) => (((&error * second)?.sum(D::Minus1)? * 2.0)? + square)?,
                None => square,
            };
            Ok(Line { first: ((&error * &line.first)?.sum(D::Minus1)? * 2.0)?, second: Some(second) })
        };
        let along = self.along.iter().map(line).collect::<Result<_>>()?;
        Ok(Self { value: error.sqr()?.sum(D::Minus1)?, along })
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        self.map(|x| x.scaled_mean(factor))
    }
}
