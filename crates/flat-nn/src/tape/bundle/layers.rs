//! The layers over bundles.

use super::{Bilinear, Bundle, Moving, bilinear};
use crate::dual::Dual;
use crate::ops::activation::{mask, plus};
use crate::ops::batch_norm::{Normed, Source, norm};
use crate::ops::norm_along::{Dot, NormLayer};
use crate::ops::{self, Arrange, Conv2d, Pool2d};
use crate::tape::layers::{missing, spread};
use crate::value::fixed;
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::Tensor;

impl Bilinear for Conv2d {
    fn of(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(self.forward(x, w, bias)?)
    }
    fn for_x(&self, x: &Tensor, w: &Tensor, g: &Tensor) -> Result<Tensor> {
        Ok(self.grad_input(x.shape(), w, g)?)
    }
    fn for_w(&self, x: &Tensor, w: &Tensor, g: &Tensor) -> Result<Tensor> {
        Ok(self.grad_weight(x, w.shape(), g)?)
    }
    fn together(&self, of: [&Tensor; 2], dots: &[[&Tensor; 2]], biases: &[&Tensor]) -> Result<Option<Vec<Tensor>>> {
        Ok(self.forward_along(of, dots, biases)?)
    }
    fn back_together(&self, of: [&Tensor; 3], dots: &[[&Tensor; 3]]) -> Result<Option<(Tensor, Vec<[Tensor; 2]>)>> {
        Ok(self.gradients_along(of, dots)?)
    }
}

/// `x w^T`.
#[derive(Clone, Copy)]
struct Linear;

impl Bilinear for Linear {
    fn of(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(ops::linear(x, w, bias)?)
    }
    fn for_x(&self, _: &Tensor, w: &Tensor, g: &Tensor) -> Result<Tensor> {
        Ok(ops::linear_grad_input(w, g)?)
    }
    fn for_w(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Tensor> {
        Ok(ops::linear_grad_weight(x, g)?)
    }
}

/// The matrix products of two batches.
#[derive(Clone, Copy)]
struct Products;

impl Bilinear for Products {
    fn of(&self, x: &Tensor, w: &Tensor, _: Option<&Tensor>) -> Result<Tensor> {
        Ok(ops::products(x, w)?)
    }
    fn for_x(&self, _: &Tensor, w: &Tensor, g: &Tensor) -> Result<Tensor> {
        Ok(ops::products(g, &w.transpose(1, 2)?)?)
    }
    fn for_w(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Tensor> {
        Ok(ops::products(&x.transpose(1, 2)?, g)?)
    }
}

impl Bundle {
    fn normalise(
        &self,
        gain: &Self,
        bias: &Self,
        source: &Source,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, Normed)> {
        let relu = then == Some(Activation::Relu);
        let of = [&self.value, &gain.value, &bias.value];
        let normed = norm(of[0], of[1], of[2], source, skip.map(|s| &s.value), relu)?;
        let layer = NormLayer::new(of, skip.is_some(), relu, matches!(source, Source::Batch(_)), &normed);
        let dot = |(k, x): (usize, &Tensor)| Dot {
            x: x.clone(),
            gain: gain.along[k].clone(),
            bias: bias.along[k].clone(),
            skip: skip.map(|s| s.along[k].clone()),
        };
        let dots: Vec<Dot> = self.along.iter().enumerate().map(dot).collect();
        let (along, taken): (Vec<_>, Vec<_>) = layer.tangents(&dots)?.into_iter().unzip();
        let at = [self.at, gain.at, bias.at, skip.and_then(|s| s.at)];
        let operands: Vec<&Self> = [gain, bias].into_iter().chain(skip).collect();
        let out = self.step((normed.y.clone(), along), &operands, move |g, out| {
            let skip = at[3].is_some();
            let (own, along) = match &g.value {
                Some(own) => {
                    let moved: Vec<_> =
                        dots.iter().zip(&taken).zip(&g.along).map(|((dot, taken), g)| (dot, taken, g)).collect();
                    let wanted = [skip, at[1..3].iter().flatten().any(|at| !out.is_leaf(*at))];
                    let mut found = layer.gradients(own, &moved, wanted)?.into_iter();
                    (Some(found.next().ok_or_else(missing)?), found.collect::<Vec<_>>())
                }
                None => {
                    let of = |g| layer.gradients(g, &[], [skip, true])?.pop().ok_or_else(missing);
                    (None, g.along.iter().map(of).collect::<Result<_>>()?)
                }
            };
            for (i, at) in at.into_iter().enumerate() {
                // without relu the residual's gradient is the one at hand
                if i == 3 && !relu {
                    out.add(at, || Ok(g.clone()))?;
                    continue;
                }
                let value = own.as_ref().and_then(|own| own[i].clone());
                let along = || along.iter().map(|of| of[i].clone().ok_or_else(missing)).collect::<Result<_>>();
                out.add(at, || Ok(Moving { value, along: along()? }))?;
            }
            Ok(())
        });
        Ok((out.finish(None, then.filter(|_| !relu))?, normed))
    }
}

impl Value for Bundle {
    fn primal(&self) -> &Tensor {
        &self.value
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, c: Conv2d) -> Result<Self> {
        bilinear(self, w, bias, c)
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, c: Conv2d) -> Result<Self> {
        bilinear(&Self::constant(&w.tape, x, Vec::new()), w, bias, c)
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        bilinear(self, w, bias, Linear)
    }

    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        bilinear(&Self::constant(&w.tape, x, Vec::new()), w, bias, Linear)
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        let (y, pick) = pool.max_and_pick(&self.value)?;
        let (shape, back) = (self.value.shape().clone(), pick.clone());
        self.linear_map(y, |x| Ok(pick.apply(x)?), move |g| Ok(back.transpose(g, &shape)?))
    }

    fn mean_pool(&self, pool: Pool2d) -> Result<Self> {
        Self::function(&[self], move |x| x[0].mean_pool(pool))
    }

    fn global_mean(&self) -> Result<Self> {
        let dims = self.value.dims4()?;
        self.linear_map(self.value.global_mean()?, Value::global_mean, move |g| spread(g, dims))
    }

    fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let before = self.value.shape().clone();
        self.linear_map(self.value.reshape(shape)?, |x| Ok(x.reshape(shape)?), move |g| Ok(g.reshape(&before)?))
    }

    fn arrange(&self, by: &Arrange) -> Result<Self> {
        let (before, map) = (self.value.shape().clone(), by.clone());
        self.linear_map(by.of(&self.value)?, |x| Ok(by.of(x)?), move |g| Ok(map.transpose(g, &before)?))
    }

    fn products(&self, other: &Self) -> Result<Self> {
        bilinear(self, other, None, Products)
    }

    fn softmax(&self, factor: f64) -> Result<Self> {
        Self::function(&[self], move |z| z[0].softmax(factor))
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        let still = self.along.iter().map(|_| x.zeros_like()).collect::<candle_core::Result<_>>()?;
        Ok(Self::constant(&self.tape, &x, still))
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        if activation != Activation::Relu {
            return Self::function(&[self], move |x| x[0].activate(activation));
        }
        let y = activation.forward(&self.value)?;
        let again = y.clone();
        self.linear_map(y.clone(), |x| Ok(mask(x, &y)?), move |g| Ok(mask(g, &again)?))
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        self.plus(other)?.activate(activation)
    }

    fn plus(&self, other: &Self) -> Result<Self> {
        let at = (self.at, other.at);
        let along = self.along.iter().zip(&other.along).map(|(a, b)| plus(a, b)).collect::<candle_core::Result<_>>()?;
        Ok(self.step((plus(&self.value, &other.value)?, along), &[other], move |g, out| {
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

    fn cross_entropy(&self, targets: &Tensor) -> Result<Self> {
        let t = targets.clone();
        Self::function(&[self], move |z| z[0].cross_entropy(&t))
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        let t = targets.clone();
        Self::function(&[self], move |z| z[0].squared_error(&t))
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        Self::function(&[self], move |x: &[Dual]| x[0].scaled_mean(factor))
    }
}
