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

/// Logits with their tangents along directions, and the VJP of the logits for as many gradients.
pub struct PullbackAlong<'m> {
    model: &'m Model,
    logits: Vec<Dual>,
    way: WayAlong,
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
enum WayAlong {
    Tape(Rc<Tape<Moving>>, Option<usize>),
    Graph(Tensor),
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

/// What moved along each of the directions, as vectors.
fn each_collected(model: &Model, found: &[Option<Moving>], directions: usize) -> Result<Vec<ParamVec>> {
    let of = |k: usize| collected(model, found.iter().map(|g| g.as_ref().map(|g| g.along[k].clone())), true);
    (0..directions).map(of).collect()
}

/// The value with each of its derivatives.
fn duals(end: Bundle) -> Vec<Dual> {
    end.along.into_iter().map(|along| Dual::new(end.value.clone(), along)).collect()
}

/// The gradient of a scalar on candle's graph.
fn graph_gradient(model: &Model, scalar: &Tensor, zeros: bool) -> Result<ParamVec> {
    let mut found = scalar.backward()?;
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
            Self::Graph(end) => graph_gradient(model, &(end * seed)?.sum_all()?, false),
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

    /// A forward pass with tangents along directions, and the VJP of the logits for a gradient a direction, which runs once. The
    /// directions share the pass of the values.
    ///
    /// # Errors
    /// As [`Self::logits_tangent`].
    pub fn pullback_along(&self, x: &Tensor, directions: &[&ParamVec], mode: Mode) -> Result<PullbackAlong<'_>> {
        let (logits, way) = if has_kernels(x.device()) {
            let tape = Rc::new(Tape::default());
            let end = self.bundle(x, directions, mode, |var, along| Bundle::leaf(&tape, var, along))?;
            let way = WayAlong::Tape(tape, end.at);
            (duals(end), way)
        } else {
            (self.logits_along(x, directions, mode)?, WayAlong::Graph(self.logits(x, mode)?))
        };
        Ok(PullbackAlong { model: self, logits, way })
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

impl PullbackAlong<'_> {
    /// The logits and their tangent, for each direction.
    pub fn logits(&self) -> &[Dual] {
        &self.logits
    }

    /// `J^T seed` for each of as many seeds as directions: the gradient of `<seed, logits>` for a constant. The tangents take no
    /// part in it.
    ///
    /// # Errors
    /// Another number of seeds, or one of another shape than the logits.
    pub fn gradients(self, seeds: &[Tensor]) -> Result<Vec<ParamVec>> {
        if seeds.len() != self.logits.len() {
            return Err(Error::BadInput(format!("{} seeds for {} directions", seeds.len(), self.logits.len())));
        }
        for (seed, logits) in seeds.iter().zip(&self.logits) {
            let (given, wanted) = (seed.shape(), logits.value.shape());
            if given != wanted {
                return Err(Error::BadInput(format!("a seed {given:?} for logits {wanted:?}")));
            }
        }
        match self.way {
            WayAlong::Tape(tape, at) => {
                let seed = Moving { value: None, along: seeds.to_vec() };
                let found = tape.backward(vec![(at, seed)], self.model.params().vars().len())?;
                each_collected(self.model, &found, seeds.len())
            }
            WayAlong::Graph(end) => {
                seeds.iter().map(|seed| graph_gradient(self.model, &(&end * seed)?.sum_all()?, true)).collect()
            }
        }
    }
}

impl Model {
    /// Logits and their derivative along each direction, without a graph. The directions share the pass of the values; each
    /// layer's memory is free as soon as the next is done.
    ///
    /// # Errors
    /// As [`Self::logits_tangent`].
    pub fn logits_along(&self, x: &Tensor, directions: &[&ParamVec], mode: Mode) -> Result<Vec<Dual>> {
        if !x.device().is_cpu() {
            let along = |v: &&ParamVec| {
                self.params().layout().same_as(v.layout())?;
                self.forward(x, mode, |i, var| Ok(Dual::new(var.as_detached_tensor(), v.entry(i)?)))
            };
            return directions.iter().map(along).collect();
        }
        let tape = Rc::new(Tape::default());
        Ok(duals(self.bundle(x, directions, mode, |var, along| Bundle::constant(&tape, var, along))?))
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
                graph_gradient(self, &loss.mean(&self.logits_tangent(x, v, mode)?, labels)?.tangent, true)
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
        each_collected(self, &found, directions.len())
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
