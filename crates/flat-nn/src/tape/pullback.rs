//! Vector-Jacobian products (VJP) of a whole network: gradients and Hessian-vector products without candle's graph.
//!
//! A loss is any function of the logits. candle differentiates it for these few numbers; the VJP of the network before them
//! runs on a [`Tape`] where there are kernels for it, on CPU and CUDA, else on candle's graph.

use crate::jet::{Jet, Line};
use crate::tape::bundle::{Bundle, Moving};
use crate::tape::layers::missing;
use crate::tape::{Tape, TapeTensor};
use crate::{Dual, Error, Loss, Mode, Model, Result};
use candle_core::{DType, Tensor, Var};
use flat_core::ParamVec;
use flat_kernels::has_kernels;
use std::rc::Rc;

/// Logits, and their VJP: the map from a gradient of the logits to the gradient of the parameters.
pub struct Pullback<'m> {
    model: &'m Model,
    logits: Var,
    way: Way,
}

/// Logits with their tangent along a direction, and the VJP of both.
pub struct TangentPullback<'m> {
    model: &'m Model,
    logits: Dual<Var>,
    way: TangentWay,
}

/// A mean loss with its gradient, and the number of rows whose largest logit is the label's.
#[derive(Debug)]
pub struct MeanLoss {
    /// The loss, f64 of no dimension.
    pub loss: Tensor,
    /// The number of right answers, f64 of no dimension.
    pub right: Tensor,
    /// The gradient of the loss in all parameters.
    pub gradient: ParamVec,
}

/// The end of a forward pass: on the tape, or on candle's graph.
enum Way {
    Tape(Rc<Tape>, TapeTensor),
    Graph(Tensor),
}

/// The same with tangents.
enum TangentWay {
    Tape(Rc<Tape<Moving>>, Bundle),
    Graph(Dual),
}

/// The gradients of all parameters as a vector; `zeros` where there is none, rather than an error.
fn collected(model: &Model, found: impl Iterator<Item = Option<Tensor>>, zeros: bool) -> Result<ParamVec> {
    let params = model.params();
    let parts = found.zip(params.layout().entries()).map(|(g, e)| match g {
        Some(g) => Ok(g),
        None if zeros => Tensor::zeros(&e.shape, params.space().dtype, &params.space().device),
        None => Err(candle_core::Error::wrap(flat_core::Error::MissingGradient { name: e.name.clone() })),
    });
    Ok(params.collect(&parts.collect::<std::result::Result<Vec<_>, _>>()?)?)
}

/// The gradient of `sum_i <seeds_i, ends_i>` on candle's graph.
fn graph_gradient(model: &Model, ends: &[(&Tensor, Tensor)], zeros: bool) -> Result<ParamVec> {
    let mut total: Option<Tensor> = None;
    for (end, seed) in ends {
        let part = (*end * seed)?.sum_all()?;
        total = Some(match total {
            None => part,
            Some(sum) => (sum + part)?,
        });
    }
    let total = total.ok_or_else(|| Error::BadInput("no result to differentiate".into()))?;
    let mut found = total.backward()?;
    for var in model.params().vars().iter().filter(|_| zeros) {
        if found.get(var.as_tensor()).is_none() {
            found.insert(var.as_tensor(), var.zeros_like()?);
        }
    }
    Ok(model.params().gradient(&found)?)
}

impl Way {
    /// The gradient of `<seed, logits>`.
    fn back(self, model: &Model, seed: Tensor) -> Result<ParamVec> {
        match self {
            Self::Tape(tape, end) => {
                let found = tape.backward(vec![(end.at, seed)], model.params().vars().len())?;
                collected(model, found.into_iter(), false)
            }
            Self::Graph(end) => graph_gradient(model, &[(&end, seed)], false),
        }
    }
}

impl Model {
    /// A forward pass and its VJP, which runs once. The tape holds what the VJP needs, and frees it step by step.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn pullback(&self, x: &Tensor, mode: Mode) -> Result<Pullback<'_>> {
        let (logits, way) = if has_kernels(x.device()) {
            let tape = Rc::new(Tape::default());
            let end = self.forward(x, mode, |_, var| Ok(tape.leaf(var.as_detached_tensor())))?;
            (end.value.clone(), Way::Tape(tape, end))
        } else {
            let logits = self.logits(x, mode)?;
            (logits.clone(), Way::Graph(logits))
        };
        Ok(Pullback { model: self, logits: Var::from_tensor(&logits.detach())?, way })
    }

    /// A forward pass with the tangent along `v`, and the VJP of both, which runs once.
    ///
    /// # Errors
    /// As [`Self::logits_tangent`].
    pub fn pullback_tangent(&self, x: &Tensor, v: &ParamVec, mode: Mode) -> Result<TangentPullback<'_>> {
        let (logits, way) = if has_kernels(x.device()) {
            let tape = Rc::new(Tape::default());
            let end = self.bundle(x, &[v], mode, |var, along| Bundle::leaf(&tape, var, along))?;
            let tangent = end.along.first().cloned().ok_or_else(missing)?;
            (Dual::new(end.value.clone(), tangent), TangentWay::Tape(tape, end))
        } else {
            let logits = self.logits_tangent(x, v, mode)?;
            (logits.clone(), TangentWay::Graph(logits))
        };
        let var = |t: &Tensor| Var::from_tensor(&t.detach());
        Ok(TangentPullback { model: self, logits: Dual::new(var(&logits.value)?, var(&logits.tangent)?), way })
    }

    /// A forward pass along directions, over parameters made from their values and directions.
    fn bundle(
        &self,
        x: &Tensor,
        directions: &[&ParamVec],
        mode: Mode,
        parameter: impl Fn(&Tensor, Vec<Tensor>) -> Bundle,
    ) -> Result<Bundle> {
        for v in directions {
            self.params().layout().same_as(v.layout())?;
        }
        self.forward(x, mode, |i, var| {
            let along = directions.iter().map(|v| v.entry(i)).collect::<std::result::Result<_, _>>()?;
            Ok(parameter(&var.as_detached_tensor(), along))
        })
    }
}

/// The derivative of a scalar for a variable that it may not depend on.
fn derivative(of: &candle_core::backprop::GradStore, var: &Var) -> Result<Tensor> {
    match of.get(var.as_tensor()) {
        Some(g) => Ok(g.clone()),
        None => Ok(var.zeros_like()?),
    }
}

impl Pullback<'_> {
    /// The logits `(n, classes)`, a variable to write a loss of.
    pub fn logits(&self) -> &Tensor {
        self.logits.as_tensor()
    }

    /// The gradient of a scalar that was computed from [`Self::logits`].
    ///
    /// # Errors
    /// A parameter that the logits do not depend on; candle's.
    pub fn gradient(self, loss: &Tensor) -> Result<ParamVec> {
        let seed = derivative(&loss.backward()?, &self.logits)?;
        self.way.back(self.model, seed)
    }
}

impl Pullback<'_> {
    /// Whether [`Self::mean_loss`] takes fewer launches than a loss that is written with candle's operations.
    pub fn fuses(&self) -> bool {
        cfg!(feature = "cuda") && self.logits.device().is_cuda() && matches!(self.way, Way::Tape(..))
    }

    /// The mean loss of the whole batch, its gradient and the number of right answers, left on the device. On CUDA the first
    /// and last of these and the logits' gradient are one kernel's work.
    ///
    /// # Errors
    /// As [`Loss::mean`] and [`Self::gradient`].
    pub fn mean_loss(self, loss: Loss, labels: &Tensor) -> Result<MeanLoss> {
        #[cfg(feature = "cuda")]
        if self.fuses() {
            let (n, classes) = self.logits.dims2()?;
            if labels.dims() != [n] || n == 0 || classes == 0 {
                return Err(Error::BadInput(format!(
                    "labels {:?} for logits {:?}",
                    labels.shape(),
                    self.logits.shape()
                )));
            }
            let kind = loss.kind(classes)?;
            let [loss, right, seed] = flat_kernels::cuda::losses::mean_loss(&self.logits, labels, kind)?;
            return Ok(MeanLoss { loss, right, gradient: self.way.back(self.model, seed)? });
        }
        let value = loss.mean(self.logits(), labels)?;
        let right =
            self.logits.detach().argmax(1)?.eq(&labels.to_dtype(DType::U32)?)?.to_dtype(DType::F64)?.sum_all()?;
        Ok(MeanLoss { loss: value.detach().to_dtype(DType::F64)?, right, gradient: self.gradient(&value)? })
    }
}

impl TangentPullback<'_> {
    /// The logits and their tangent, variables to write a loss of.
    pub fn logits(&self) -> Dual {
        Dual::new(self.logits.value.as_tensor().clone(), self.logits.tangent.as_tensor().clone())
    }

    /// The gradient in the parameters of a scalar that was computed from [`Self::logits`]. Of the tangent of a loss it is
    /// the product of the loss's Hessian with the direction.
    ///
    /// # Errors
    /// As [`Pullback::gradient`].
    pub fn gradient(self, scalar: &Tensor) -> Result<ParamVec> {
        let found = scalar.backward()?;
        let [of_value, of_tangent] =
            [derivative(&found, &self.logits.value)?, derivative(&found, &self.logits.tangent)?];
        match self.way {
            // the derivative along v of the gradient of `<of_tangent, logits>`, where `of_tangent` moves by `of_value`
            TangentWay::Tape(tape, end) => {
                let seed = Moving { value: Some(of_tangent), along: vec![of_value] };
                let found = tape.backward(vec![(end.at, seed)], self.model.params().vars().len())?;
                collected(self.model, found.into_iter().map(|g| g.and_then(|mut g| g.along.pop())), true)
            }
            TangentWay::Graph(end) => {
                graph_gradient(self.model, &[(&end.value, of_value), (&end.tangent, of_tangent)], true)
            }
        }
    }

    /// `J^T seed`: the gradient of `<seed, logits>` for a constant, at the cost of a gradient's way back. The tangent takes no
    /// part in it.
    ///
    /// # Errors
    /// A seed of another shape than the logits.
    pub fn value_gradient(self, seed: &Tensor) -> Result<ParamVec> {
        if seed.shape() != self.logits.value.shape() {
            let (given, wanted) = (seed.shape(), self.logits.value.shape());
            return Err(Error::BadInput(format!("a seed {given:?} for logits {wanted:?}")));
        }
        match self.way {
            TangentWay::Tape(tape, end) => {
                let seed = Moving { value: Some(seed.clone()), along: Vec::new() };
                let found = tape.backward(vec![(end.at, seed)], self.model.params().vars().len())?;
                collected(self.model, found.into_iter().map(|g| g.and_then(|g| g.value)), true)
            }
            TangentWay::Graph(end) => graph_gradient(self.model, &[(&end.value, seed.clone())], true),
        }
    }
}

impl Model {
    /// Logits and their directional derivative along `v`, without a graph. Two forward passes in one; each layer's memory is
    /// free as soon as the next is done.
    ///
    /// # Errors
    /// As [`Self::logits_tangent`].
    pub fn logits_along(&self, x: &Tensor, v: &ParamVec, mode: Mode) -> Result<Dual> {
        self.params().layout().same_as(v.layout())?;
        if !x.device().is_cpu() {
            return self.forward(x, mode, |i, var| Ok(Dual::new(var.as_detached_tensor(), v.entry(i)?)));
        }
        let tape = Rc::new(Tape::default());
        let mut end = self.bundle(x, &[v], mode, |var, along| Bundle::constant(&tape, var, along))?;
        Ok(Dual::new(end.value, end.along.pop().ok_or_else(missing)?))
    }

    /// The mean loss of a batch and its gradient. One forward and one backward pass.
    ///
    /// # Errors
    /// As [`Self::logits`] and [`Loss::mean`].
    #[expect(clippy::disallowed_methods, reason = "a number for the caller; the trainer does not call it")]
    pub fn loss_and_gradient(&self, loss: Loss, x: &Tensor, labels: &Tensor, mode: Mode) -> Result<(f64, ParamVec)> {
        let pass = self.pullback(x, mode)?;
        let value = loss.mean(pass.logits(), labels)?;
        let number = value.detach().to_dtype(DType::F64)?.to_scalar()?;
        Ok((number, pass.gradient(&value)?))
    }

    /// The product of the Hessian of the mean loss with `v`, exact.
    ///
    /// # Errors
    /// As [`Self::logits_tangent`] and [`Loss::mean`].
    pub fn hessian_product(
        &self,
        loss: Loss,
        x: &Tensor,
        labels: &Tensor,
        v: &ParamVec,
        mode: Mode,
    ) -> Result<ParamVec> {
        let mut products = self.hessian_products(loss, x, labels, &[v], mode)?;
        products.pop().ok_or_else(missing)
    }

    /// The products of the Hessian of the mean loss with several directions, exact, with the bits of
    /// [`Self::hessian_product`].
    ///
    /// They share a forward pass and a gradient, and read weights and activations once. Memory is that of a forward pass with its
    /// graph, times one more than there are directions.
    ///
    /// # Errors
    /// As [`Self::hessian_product`].
    pub fn hessian_products(
        &self,
        loss: Loss,
        x: &Tensor,
        labels: &Tensor,
        directions: &[&ParamVec],
        mode: Mode,
    ) -> Result<Vec<ParamVec>> {
        if !has_kernels(x.device()) {
            let product = |v: &&ParamVec| {
                let pass = self.pullback_tangent(x, v, mode)?;
                let along = loss.mean(&pass.logits(), labels)?.tangent;
                pass.gradient(&along)
            };
            return directions.iter().map(product).collect();
        }
        if directions.is_empty() {
            return Ok(Vec::new());
        }
        let tape = Rc::new(Tape::default());
        let end = self.bundle(x, directions, mode, |var, along| Bundle::leaf(&tape, var, along))?;
        // the slope of the loss in the logits, and how it moves
        let (mut slope, mut moved) = (None, Vec::with_capacity(directions.len()));
        for tangent in &end.along {
            let logits = Dual::new(Var::from_tensor(&end.value)?, Var::from_tensor(tangent)?);
            let pair = Dual::new(logits.value.as_tensor().clone(), logits.tangent.as_tensor().clone());
            let found = loss.mean(&pair, labels)?.tangent.backward()?;
            moved.push(derivative(&found, &logits.value)?);
            slope = Some(derivative(&found, &logits.tangent)?);
        }
        let leaves = self.params().vars().len();
        let found = tape.backward(vec![(end.at, Moving { value: slope, along: moved })], leaves)?;
        let of = |k: usize| collected(self, found.iter().map(|g| g.as_ref().map(|g| g.along[k].clone())), true);
        (0..directions.len()).map(of).collect()
    }

    /// `<v, H v>` with the Hessian H of the mean loss for each direction v, exact, without a backward pass.
    ///
    /// Second derivatives along the directions are carried through the layers, in the memory of a forward pass without a graph
    /// with two more values a direction. A convolution makes four products a direction, and one for the value, where
    /// [`Self::hessian_product`] makes eight. The logits' part is computed in f64.
    ///
    /// # Errors
    /// As [`Self::hessian_product`].
    #[expect(clippy::disallowed_methods, reason = "numbers for the caller; no step calls it")]
    pub fn hessian_forms(
        &self,
        loss: Loss,
        x: &Tensor,
        labels: &Tensor,
        directions: &[ParamVec],
        mode: Mode,
    ) -> Result<Vec<f64>> {
        for v in directions {
            self.params().layout().same_as(v.layout())?;
        }
        let logits = self.forward(x, mode, |i, var| {
            let along = directions.iter().map(|v| Ok(Line::straight(v.entry(i)?))).collect::<Result<_>>()?;
            Ok(Jet { value: var.as_detached_tensor(), along })
        })?;
        let loss = loss.mean(&logits.to_dtype(DType::F64)?, labels)?;
        let form = |line: &Line| match &line.second {
            Some(half) => Ok(2.0 * half.to_scalar::<f64>()?),
            None => Ok(0.0),
        };
        loss.along.iter().map(form).collect()
    }
}
