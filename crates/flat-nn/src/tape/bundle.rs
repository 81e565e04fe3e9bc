//! Forward over reverse: values that move along several directions at once, and gradients that move with them.
//!
//! The derivative of a gradient along v is the product of the Hessian with v (Pearlmutter 1994). Every step maps the gradient of its
//! result to those of its operands, and the gradient's derivatives to theirs. Values, gradients and their transforms are computed
//! once for all directions.

mod layers;

use super::layers::missing;
use super::{Cotangent, Gradients, Tape};
use crate::dual::Dual;
use crate::ops::activation::plus;
use crate::ops::channel::channel_sum;
use crate::{Error, Result};
use candle_core::{Tensor, Var};
use std::rc::Rc;

/// A gradient and its derivatives along the directions. Where the gradient is zero, its derivatives are gradients of the values as
/// they stand: several seeds go back in one pass.
#[derive(Clone)]
pub(crate) struct Moving {
    /// The gradient; `None` where it is zero, or of a leaf whose derivatives alone are wanted.
    pub value: Option<Tensor>,
    /// Its derivatives, one a direction.
    pub along: Vec<Tensor>,
}

impl Moving {
    /// The same linear map of all.
    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { value: self.value.as_ref().map(&f).transpose()?, along: each(&self.along, f)? })
    }
}

impl Cotangent for Moving {
    fn plus(&self, other: &Self) -> Result<Self> {
        let value = self.value.as_ref().zip(other.value.as_ref()).map(|(a, b)| plus(a, b)).transpose()?;
        let along = self.along.iter().zip(&other.along).map(|(a, b)| plus(a, b)).collect::<candle_core::Result<_>>()?;
        Ok(Self { value, along })
    }

    fn contiguous(&self) -> Result<Self> {
        self.map(|x| Ok(x.contiguous()?))
    }
}

fn each(all: &[Tensor], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    all.iter().map(f).collect()
}

/// A value on a tape with its derivatives along directions, or a constant, which may still move.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub value: Tensor,
    /// One a direction.
    pub along: Vec<Tensor>,
    /// Its place; `None` for a constant.
    pub at: Option<usize>,
    tape: Rc<Tape<Moving>>,
}

impl Bundle {
    /// A variable that moves along these directions.
    pub(crate) fn leaf(tape: &Rc<Tape<Moving>>, value: &Tensor, along: Vec<Tensor>) -> Self {
        Self { at: Some(tape.push(None)), ..Self::constant(tape, value, along) }
    }

    /// A value whose gradient nobody asks for, moved from outside.
    pub(crate) fn constant(tape: &Rc<Tape<Moving>>, value: &Tensor, along: Vec<Tensor>) -> Self {
        Self { value: value.detach(), along, at: None, tape: tape.clone() }
    }

    /// The result of a step with the given operands.
    fn step(
        &self,
        (value, along): (Tensor, Vec<Tensor>),
        operands: &[&Self],
        back: impl FnOnce(&Moving, &mut Gradients<Moving>) -> Result<()> + 'static,
    ) -> Self {
        let at = self.tape.step([self.at].into_iter().chain(operands.iter().map(|o| o.at)), back);
        Self { value, along, at, tape: self.tape.clone() }
    }

    /// A linear map, given with its transpose.
    fn linear_map(
        &self,
        value: Tensor,
        map: impl Fn(&Tensor) -> Result<Tensor>,
        transpose: impl Fn(&Tensor) -> Result<Tensor> + 'static,
    ) -> Result<Self> {
        let at = self.at;
        Ok(self.step((value, each(&self.along, map)?), &[], move |g, out| out.add(at, || g.map(transpose))))
    }

    /// Any function of values, written over pairs of a value and a tangent with differentiable operations. It runs once a direction
    /// and once more on the way back: for what is small or rare.
    fn function(operands: &[&Self], f: impl Fn(&[Dual]) -> Result<Dual> + 'static) -> Result<Self> {
        let first = operands.first().ok_or_else(|| Error::BadInput("a function of nothing".into()))?;
        let values: Vec<Tensor> = operands.iter().map(|o| o.value.clone()).collect();
        let still = |x: &Tensor| Ok(Dual::new(x.clone(), x.zeros_like()?));
        let directions: Vec<Vec<Tensor>> =
            (0..first.along.len()).map(|k| operands.iter().map(|o| o.along[k].clone()).collect()).collect();
        let pairs = |values: &[Tensor], along: &[Tensor]| -> Vec<Dual> {
            values.iter().zip(along).map(|(x, dot)| Dual::new(x.clone(), dot.clone())).collect()
        };
        let value = f(&values.iter().map(still).collect::<Result<Vec<_>>>()?)?.value;
        let along =
            directions.iter().map(|along| Ok(f(&pairs(&values, along))?.tangent)).collect::<Result<Vec<_>>>()?;
        let places: Vec<Option<usize>> = operands.iter().map(|o| o.at).collect();
        Ok(first.step((value, along), operands, move |g, out| {
            // the gradient of `<g, f>`, and of `<g_k, f> + <g, f's tangent>`, which is its derivative along direction k
            let gradients = |of: &dyn Fn(&[Tensor]) -> Result<Tensor>| -> Result<Vec<Tensor>> {
                let vars = values.iter().map(Var::from_tensor).collect::<candle_core::Result<Vec<_>>>()?;
                let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
                let mut found = of(&inputs)?.sum_all()?.backward()?;
                inputs.iter().map(|x| Ok(found.remove(x).map_or_else(|| x.zeros_like(), Ok)?.detach())).collect()
            };
            let of =
                |g: &Tensor| gradients(&|x| Ok((f(&x.iter().map(still).collect::<Result<Vec<_>>>()?)?.value * g)?));
            let of_value = g.value.as_ref().map(of).transpose()?;
            let moved = g.along.iter().zip(&directions).map(|(g_dot, along)| match &g.value {
                None => of(g_dot),
                Some(own) => gradients(&|x| {
                    let y = f(&pairs(x, along))?;
                    Ok(((y.value * g_dot)? + (y.tangent * own)?)?)
                }),
            });
            let moved = moved.collect::<Result<Vec<_>>>()?;
            for (i, at) in places.into_iter().enumerate() {
                let value = of_value.as_ref().map(|of| of[i].clone());
                out.add(at, || Ok(Moving { value, along: moved.iter().map(|of| of[i].clone()).collect() }))?;
            }
            Ok(())
        }))
    }
}

/// A bilinear map with its gradients for either operand.
pub(super) trait Bilinear: Clone + 'static {
    /// `B(x, w) + bias`.
    fn of(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor>;

    /// The gradient for `x` of `<g, B(x, w)>`.
    fn for_x(&self, x: &Tensor, w: &Tensor, g: &Tensor) -> Result<Tensor>;

    /// The gradient for `w`.
    fn for_w(&self, x: &Tensor, w: &Tensor, g: &Tensor) -> Result<Tensor>;

    /// The map and its derivatives along `[x_k, w_k]`, by kernels that share work, where there are any.
    fn together(&self, _: [&Tensor; 2], _: &[[&Tensor; 2]], _: &[&Tensor]) -> Result<Option<Vec<Tensor>>> {
        Ok(None)
    }

    /// The gradient for `x`, and along `[x_k, w_k, g_k]` the derivatives of the gradients for `x` and `w`, by kernels that share
    /// work, where there are any.
    fn back_together(&self, _: [&Tensor; 3], _: &[[&Tensor; 3]]) -> Result<Option<(Tensor, Vec<[Tensor; 2]>)>> {
        Ok(None)
    }
}

/// `B(x, w) + bias`; an `x` without directions is a constant.
pub(super) fn bilinear<B: Bilinear>(x: &Bundle, w: &Bundle, bias: Option<&Bundle>, by: B) -> Result<Bundle> {
    let moves = !x.along.is_empty();
    let dots: Vec<[&Tensor; 2]> = x.along.iter().zip(&w.along).map(|(x, w)| [x, w]).collect();
    let biases: Vec<&Tensor> = bias.iter().flat_map(|b| [&b.value].into_iter().chain(&b.along)).collect();
    let (value, along) = match if moves { by.together([&x.value, &w.value], &dots, &biases)? } else { None } {
        Some(mut all) => {
            let along = all.split_off(1);
            (all.pop().ok_or_else(missing)?, along)
        }
        None => {
            let along = |(k, w_dot): (usize, &Tensor)| {
                let from_w = by.of(&x.value, w_dot, bias.map(|b| &b.along[k]))?;
                match x.along.get(k) {
                    Some(x_dot) => Ok(plus(&by.of(x_dot, &w.value, None)?, &from_w)?),
                    None => Ok(from_w),
                }
            };
            let along = w.along.iter().enumerate().map(along).collect::<Result<_>>()?;
            (by.of(&x.value, &w.value, bias.map(|b| &b.value))?, along)
        }
    };
    let operands: Vec<&Bundle> = [w].into_iter().chain(bias).collect();
    let (of, x_along, w_along) = ([x.value.clone(), w.value.clone()], x.along.clone(), w.along.clone());
    let at = (x.at, w.at, bias.and_then(|b| b.at));
    Ok(x.step((value, along), &operands, move |g, out| {
        let [xv, wv] = &of;
        let Some(own) = &g.value else {
            out.add(at.2, || g.map(|g| Ok(channel_sum(g)?)))?;
            out.add(at.1, || g.map(|g| by.for_w(xv, wv, g)))?;
            return out.add(at.0, || g.map(|g| by.for_x(xv, wv, g)));
        };
        // of leaves the derivatives alone are wanted
        let wanted = |at: Option<usize>, out: &Gradients<Moving>| at.is_some_and(|at| !out.is_leaf(at));
        if let Some(at) = at.2 {
            let value = wanted(Some(at), out).then(|| channel_sum(own)).transpose()?;
            out.add(Some(at), || Ok(Moving { value, along: each(&g.along, |g| Ok(channel_sum(g)?))? }))?;
        }
        let of_w = wanted(at.1, out).then(|| by.for_w(xv, wv, own)).transpose()?;
        if at.0.is_some() && at.1.is_some() && !x_along.is_empty() {
            let moved = x_along.iter().zip(&w_along).zip(&g.along).map(|((x, w), g)| [x, w, g]);
            if let Some((dx, found)) = by.back_together([xv, wv, own], &moved.collect::<Vec<_>>())? {
                let (dx_along, dw_along) = found.into_iter().map(|[dx, dw]| (dx, dw)).unzip();
                out.add(at.1, || Ok(Moving { value: of_w, along: dw_along }))?;
                return out.add(at.0, || Ok(Moving { value: Some(dx), along: dx_along }));
            }
        }
        out.add(at.1, || {
            let along = |(k, g_dot): (usize, &Tensor)| {
                let dw = by.for_w(xv, wv, g_dot)?;
                match x_along.get(k) {
                    Some(x_dot) => Ok(plus(&dw, &by.for_w(x_dot, wv, own)?)?),
                    None => Ok(dw),
                }
            };
            Ok(Moving { value: of_w, along: g.along.iter().enumerate().map(along).collect::<Result<_>>()? })
        })?;
        out.add(at.0, || {
            let along =
                |(g_dot, w_dot): (&Tensor, &Tensor)| Ok(plus(&by.for_x(xv, wv, g_dot)?, &by.for_x(xv, w_dot, own)?)?);
            let along = g.along.iter().zip(&w_along).map(along).collect::<Result<_>>()?;
            Ok(Moving { value: Some(by.for_x(xv, wv, own)?), along })
        })
    }))
}
