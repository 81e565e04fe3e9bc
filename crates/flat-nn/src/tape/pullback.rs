//! Vector-Jacobian products (VJP) of a whole network: gradients and Hessian-vector products without candle's graph.
//!
//! A loss is any function of the logits. candle differentiates it for these few numbers; the VJP of the network before them
//! runs on a [`Tape`] where there are kernels for it, on CPU and CUDA, else on candle's graph.

use crate::jet::{Jet, Line};
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
    way: Way,
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

enum Way {
    /// The ends of the tape: logits, and their tangent.
    Tape(Rc<Tape>, Vec<TapeTensor>),
    /// The same on candle's graph.
    Graph(Vec<Tensor>),
}

impl Way {
    /// The gradient of `sum_i <seeds_i, ends_i>`; `zeros` where it does not depend on a parameter, rather than an error.
    fn back(self, model: &Model, seeds: Vec<Tensor>, zeros: bool) -> Result<ParamVec> {
        let params = model.params();
        match self {
            Self::Tape(tape, ends) => {
                let found = tape.backward(ends.into_iter().zip(seeds).collect(), params.vars().len())?;
                let named = found.into_iter().zip(params.layout().entries());
                let parts = named.map(|(g, e)| match g {
                    Some(g) => Ok(g),
                    None if zeros => Tensor::zeros(&e.shape, params.space().dtype, &params.space().device),
                    None => Err(candle_core::Error::wrap(flat_core::Error::MissingGradient { name: e.name.clone() })),
                });
                Ok(params.collect(&parts.collect::<std::result::Result<Vec<_>, _>>()?)?)
            }
            Self::Graph(ends) => {
                let mut total: Option<Tensor> = None;
                for (end, seed) in ends.iter().zip(seeds) {
                    let part = (end * seed)?.sum_all()?;
                    total = Some(match total {
                        None => part,
                        Some(sum) => (sum + part)?,
                    });
                }
                let total = total.ok_or_else(|| Error::BadInput("no result to differentiate".into()))?;
                let mut found = total.backward()?;
                for var in params.vars().iter().filter(|_| zeros) {
                    if found.get(var.as_tensor()).is_none() {
                        found.insert(var.as_tensor(), var.zeros_like()?);
                    }
                }
                Ok(params.gradient(&found)?)
            }
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
            (end.value.clone(), Way::Tape(tape, vec![end]))
        } else {
            let logits = self.logits(x, mode)?;
            (logits.clone(), Way::Graph(vec![logits]))
        };
        Ok(Pullback { model: self, logits: Var::from_tensor(&logits.detach())?, way })
    }

    /// A forward pass with the tangent along `v`, and the VJP of both, which runs once: reverse over forward.
    ///
    /// # Errors
    /// As [`Self::logits_tangent`].
    pub fn pullback_tangent(&self, x: &Tensor, v: &ParamVec, mode: Mode) -> Result<TangentPullback<'_>> {
        let (logits, way) = if has_kernels(x.device()) {
            self.params().layout().same_as(v.layout())?;
            let tape = Rc::new(Tape::default());
            let end = self.forward(x, mode, |i, var| {
                Ok(Dual::new(tape.leaf(var.as_detached_tensor()), tape.constant(&v.entry(i)?)))
            })?;
            let logits = Dual::new(end.value.value.clone(), end.tangent.value.clone());
            (logits, Way::Tape(tape, vec![end.value, end.tangent]))
        } else {
            let logits = self.logits_tangent(x, v, mode)?;
            (logits.clone(), Way::Graph(vec![logits.value, logits.tangent]))
        };
        let var = |t: &Tensor| Var::from_tensor(&t.detach());
        Ok(TangentPullback { model: self, logits: Dual::new(var(&logits.value)?, var(&logits.tangent)?), way })
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
        self.way.back(self.model, vec![seed], false)
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
            return Ok(MeanLoss { loss, right, gradient: self.way.back(self.model, vec![seed], false)? });
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
        let seeds = vec![derivative(&found, &self.logits.value)?, derivative(&found, &self.logits.tangent)?];
        self.way.back(self.model, seeds, true)
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
        self.way.back(self.model, vec![seed.clone()], true)
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
        let constant = |i, var: &Var| Ok(Dual::new(tape.constant(var.as_tensor()), tape.constant(&v.entry(i)?)));
        let end = self.forward(x, mode, constant)?;
        Ok(Dual::new(end.value.value, end.tangent.value))
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
        let pass = self.pullback_tangent(x, v, mode)?;
        let along = loss.mean(&pass.logits(), labels)?.tangent;
        pass.gradient(&along)
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
