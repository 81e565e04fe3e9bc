//! The VJP of every layer with its tangent. A convolution has kernels for both at once on a CPU.

use super::layers::{conv, conv_back, linear, masked, missing, normalise};
use crate::dual::Dual;
use crate::ops::activation::mask;
use crate::ops::batch_norm::{Normed, Source};
use crate::ops::norm_tangent::NormTangent;
use crate::ops::{self, Arrange, Conv2d, Pool2d};
use crate::tape::TapeTensor;
use crate::value::fixed;
use crate::{Activation, BatchMoments, Result, Value};
use candle_core::Tensor;

/// A convolution and its tangent, with each other's transforms; `None` where no kernel computes them together. The kernels
/// take directions of weights for constants.
fn conv_tangent(
    x: &Dual<TapeTensor>,
    w: &Dual<TapeTensor>,
    bias: Option<&Dual<TapeTensor>>,
    c: Conv2d,
) -> Result<Option<Dual<TapeTensor>>> {
    if w.is_bent() || bias.is_some_and(Dual::is_bent) {
        return Ok(None);
    }
    let biases = bias.map(|b| [&b.value.value, &b.tangent.value]);
    let (of, dot) = ([&x.value.value, &w.value.value], [&x.tangent.value, &w.tangent.value]);
    let Some([y, y_dot]) = c.forward_tangent(of, dot, biases)? else { return Ok(None) };
    let operands: Vec<&TapeTensor> = [&w.value].into_iter().chain(bias.map(|b| &b.value)).collect();
    let (of, dot) = (of.map(Tensor::clone), dot.map(Tensor::clone));
    let at = (x.value.at, w.value.at, bias.and_then(|b| b.value.at), x.tangent.at);
    // for a tangent that nobody asks for
    let (xv, wv) = (of[0].clone(), of[1].clone());
    let value = x.value.step(y, &operands, move |g, out| conv_back(c, [&xv, &wv], (at.0, at.1, at.2), g, out));
    // its step comes last in the list, hence first on the way back, when both gradients are complete
    let value_at = value.at;
    let tangent = x.tangent.step(y_dot, &[&x.value, &w.value], move |g_dot, out| {
        let g = match out.take(value_at) {
            Some(g) => g.contiguous()?,
            None => g_dot.zeros_like()?,
        };
        out.add(at.2, || Ok(ops::channel::channel_sum(&g)?))?;
        let found = c.tangent_gradients([&of[0], &of[1], &g], [&dot[0], &dot[1], g_dot])?;
        let [dx, dx_dot, dw] = found.ok_or_else(missing)?;
        out.add(at.1, || Ok(dw))?;
        out.add(at.3, || Ok(dx_dot))?;
        out.add(at.0, || Ok(dx))
    });
    Ok(Some(Dual { value, tangent }))
}

impl Dual<TapeTensor> {
    /// Whether its direction depends on the variables, as that of a parameter does which is a function of them.
    fn is_bent(&self) -> bool {
        self.tangent.at.is_some()
    }

    /// The tangent as a function of value and tangent.
    fn tangent_of(&self, value: TapeTensor, f: impl Fn(&Dual) -> Result<Dual> + 'static) -> Result<Self> {
        let tangent = move |t: &[Tensor]| Ok(f(&Dual::new(t[0].clone(), t[1].clone()))?.tangent);
        Ok(Self { value, tangent: TapeTensor::function(&[&self.value, &self.tangent], tangent)? })
    }

    fn normalise(
        &self,
        gain: &Self,
        bias: &Self,
        source: &Source,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, Normed)> {
        if gain.is_bent() || bias.is_bent() {
            return self.normalise_bent(gain, bias, source, skip, then);
        }
        let relu = then == Some(Activation::Relu);
        let (value, normed) = normalise(&self.value, &gain.value, &bias.value, source, skip.map(|s| &s.value), relu)?;
        let layer = NormTangent::new(
            [&self.value.value, &gain.value.value, &bias.value.value],
            [&gain.tangent.value, &bias.tangent.value],
            skip.map(|s| &s.tangent.value),
            relu,
            matches!(source, Source::Batch(_)),
            &normed,
        );
        let x_dot = self.tangent.value.clone();
        let (t, along) = layer.forward(&x_dot)?;
        let at = (self.value.at, gain.value.at, self.tangent.at, skip.and_then(|s| s.tangent.at));
        let operands: Vec<&TapeTensor> =
            [&gain.value, &self.tangent].into_iter().chain(skip.map(|s| &s.tangent)).collect();
        let tangent = self.value.step(t, &operands, move |g, out| {
            let [dx, dgain, dx_dot, dskip] = layer.backward(&x_dot, &along, g)?;
            out.add(at.3, || dskip.ok_or_else(missing))?;
            out.add(at.1, || dgain.ok_or_else(missing))?;
            out.add(at.2, || dx_dot.ok_or_else(missing))?;
            out.add(at.0, || dx.ok_or_else(missing))
        });
        Ok((Self { value, tangent }.finish(None, then.filter(|_| !relu))?, normed))
    }

    /// The same where gain and bias are functions of the variables, so that their directions are no constants.
    fn normalise_bent(
        &self,
        gain: &Self,
        bias: &Self,
        source: &Source,
        skip: Option<&Self>,
        then: Option<Activation>,
    ) -> Result<(Self, Normed)> {
        let skip_value = skip.map(|s| &s.value);
        let (value, normed) = normalise(&self.value, &gain.value, &bias.value, source, skip_value, false)?;
        let operands: Vec<&TapeTensor> =
            [self, gain, bias].into_iter().chain(skip).flat_map(|x| [&x.value, &x.tangent]).collect();
        let source = source.clone();
        let tangent = TapeTensor::function(&operands, move |t| {
            let pairs: Vec<Dual> = t.chunks_exact(2).map(|t| Dual::new(t[0].clone(), t[1].clone())).collect();
            let (x, gain, bias) = (&pairs[0], &pairs[1], &pairs[2]);
            Ok(match &source {
                Source::Batch(eps) => x.batch_norm_add(gain, bias, *eps, pairs.get(3), None)?.0.tangent,
                Source::Fixed(mean, r) => x.fixed_norm_add(gain, bias, (mean, r), pairs.get(3), None)?.tangent,
            })
        })?;
        Ok((Self { value, tangent }.finish(None, then)?, normed))
    }
}

impl Value for Dual<TapeTensor> {
    fn primal(&self) -> &Tensor {
        &self.value.value
    }

    fn conv2d(&self, w: &Self, bias: Option<&Self>, c: Conv2d) -> Result<Self> {
        if let Some(both) = conv_tangent(self, w, bias, c)? {
            return Ok(both);
        }
        let value = conv(&self.value, &w.value, bias.map(|b| &b.value), c)?;
        let along_x = conv(&self.tangent, &w.value, None, c)?;
        let along_w = conv(&self.value, &w.tangent, bias.map(|b| &b.tangent), c)?;
        Ok(Self { value, tangent: along_x.plus(&along_w)? })
    }

    fn conv2d_of(x: &Tensor, w: &Self, bias: Option<&Self>, c: Conv2d) -> Result<Self> {
        Ok(Self {
            value: TapeTensor::conv2d_of(x, &w.value, bias.map(|b| &b.value), c)?,
            tangent: TapeTensor::conv2d_of(x, &w.tangent, bias.map(|b| &b.tangent), c)?,
        })
    }

    fn linear(&self, w: &Self, bias: Option<&Self>) -> Result<Self> {
        let value = linear(&self.value, &w.value, bias.map(|b| &b.value))?;
        let along_x = linear(&self.tangent, &w.value, None)?;
        let along_w = linear(&self.value, &w.tangent, bias.map(|b| &b.tangent))?;
        Ok(Self { value, tangent: along_x.plus(&along_w)? })
    }

    fn linear_of(x: &Tensor, w: &Self, bias: Option<&Self>) -> Result<Self> {
        Ok(Self {
            value: TapeTensor::linear_of(x, &w.value, bias.map(|b| &b.value))?,
            tangent: TapeTensor::linear_of(x, &w.tangent, bias.map(|b| &b.tangent))?,
        })
    }

    fn max_pool(&self, pool: Pool2d) -> Result<Self> {
        let (y, pick) = pool.max_and_pick(&self.value.value)?;
        let (shape, again) = (self.value.value.shape().clone(), pick.clone());
        let tangent = pick.apply(&self.tangent.value)?;
        let back = move |pick: ops::Pick, shape: candle_core::Shape| move |g: &Tensor| Ok(pick.transpose(g, &shape)?);
        Ok(Self {
            value: self.value.linear_map(y, back(again, shape.clone())),
            tangent: self.tangent.linear_map(tangent, back(pick, shape)),
        })
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
        let along = self.tangent.products(&other.value)?;
        let tangent = along.plus(&self.value.products(&other.tangent)?)?;
        Ok(Self { value: self.value.products(&other.value)?, tangent })
    }

    fn softmax(&self, factor: f64) -> Result<Self> {
        self.tangent_of(self.value.softmax(factor)?, move |z| z.softmax(factor))
    }

    fn constant(&self, x: Tensor) -> Result<Self> {
        Ok(Self { tangent: self.value.constant(x.zeros_like()?)?, value: self.value.constant(x)? })
    }

    fn activate(&self, activation: Activation) -> Result<Self> {
        let value = self.value.activate(activation)?;
        if activation == Activation::Relu {
            let y = value.value.clone();
            return Ok(Self { tangent: masked(&self.tangent, mask(&self.tangent.value, &y)?, y), value });
        }
        self.tangent_of(value, move |x| x.activate(activation))
    }

    fn add_activate(&self, other: &Self, activation: Activation) -> Result<Self> {
        self.plus(other)?.activate(activation)
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
        let (y, normed) = self.normalise(gain, bias, &Source::Batch(eps), skip, then)?;
        Ok((y, normed.moments(&self.value.value)?))
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
        self.tangent_of(self.value.cross_entropy(targets)?, move |z| z.cross_entropy(&t))
    }

    fn squared_error(&self, targets: &Tensor) -> Result<Self> {
        let t = targets.clone();
        self.tangent_of(self.value.squared_error(targets)?, move |z| z.squared_error(&t))
    }

    fn scaled_mean(&self, factor: f64) -> Result<Self> {
        self.map(|x| x.scaled_mean(factor))
    }
}
