//! Symmetric linear operators on parameter space.

use crate::Result;
use flat_core::{ParamVec, Space};
use serde::Serialize;
use std::ops::ControlFlow;

/// A symmetric matrix of size d x d, known by its products with vectors.
///
/// Estimators take any operator, so that each is tested on matrices with known spectra and each Hessian product serves
/// all of them.
pub trait LinearOperator {
    /// The space of its arguments and results.
    fn space(&self) -> &Space;

    /// `A v`, calling `watch` before each piece of work (a batch); [`ControlFlow::Break`] abandons the product.
    ///
    /// `watch` may run while the parameters are displaced: it must not use the model.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`] when `watch` said so; a vector of another space; a result that is not finite; the
    /// objective's own.
    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec>;

    /// `A v`.
    ///
    /// # Errors
    /// A vector of another space; a result that is not finite; the objective's own.
    fn apply(&mut self, v: &ParamVec) -> Result<ParamVec> {
        self.apply_watched(v, &mut |_| ControlFlow::Continue(()))
    }

    /// Products completed so far.
    fn matvecs(&self) -> u64;

    /// What the operator was computed on, for reports.
    fn origin(&self) -> Origin;
}

/// The callback of [`LinearOperator::apply_watched`].
pub type Watch<'w> = dyn FnMut(Tick) -> ControlFlow<()> + 'w;

/// How far one product has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Pieces of work done.
    pub done: usize,
    /// Pieces of work in one product: batches times gradient evaluations of each.
    pub of: usize,
}

/// What an operator was computed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Kind of operator and how it is evaluated.
    pub operator: String,
    /// Examples in the objective; `None` for a matrix given as such.
    pub examples: Option<usize>,
    /// Batches the examples were taken in; matters where BatchNorm uses batch statistics.
    pub batches: Option<usize>,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
}

impl Origin {
    pub(crate) fn of<O: crate::Objective + ?Sized>(operator: &str, objective: &O) -> Self {
        Self {
            operator: operator.into(),
            examples: Some(objective.examples()),
            batches: Some(objective.batches()),
            bn_mode: objective.bn_mode().map(Into::into),
        }
    }
}

/// Asks `watch` whether to go on.
pub(crate) fn tick(watch: &mut Watch<'_>, done: usize, of: usize) -> Result<()> {
    match watch(Tick { done, of }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(crate::Error::Interrupted),
    }
}
