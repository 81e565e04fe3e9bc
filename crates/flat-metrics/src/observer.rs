//! The observer of a computation: told how far it has come, it says whether to go on.

use crate::{Error, Result};
use std::ops::ControlFlow;

/// Sees the progress of a computation and may end it. At [`ControlFlow::Break`] an estimator stops and reports what
/// it completed, or [`crate::Error::Interrupted`] where that is nothing. Any closure `|at: &Progress| ...` is one.
///
/// It is called before every batch and after every unit of work. It must not use the model, which may be displaced.
pub trait Observer {
    /// Sees how far the computation has come.
    fn observe(&mut self, at: &Progress) -> ControlFlow<()>;
}

impl<F: FnMut(&Progress) -> ControlFlow<()>> Observer for F {
    fn observe(&mut self, at: &Progress) -> ControlFlow<()> {
        self(at)
    }
}

/// The observer that never stops anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The progress of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Part of the work; several for a [`crate::Certificate`] alone.
    pub stage: Stage,
    /// Units of work completed: probes, products, evaluations or points, whatever the estimator counts its budget in.
    pub done: u64,
    /// Most units there will be.
    pub of: u64,
    /// Pieces of the present unit completed, usually batches.
    pub batch: usize,
    /// Pieces in a unit: batches times evaluations of each.
    pub batches: usize,
    /// The number so far, if there is one: the trace, the largest eigenvalue, the gradient's norm in a flow.
    pub value: Option<f64>,
    /// Its standard error so far; for eigenpairs the largest residual over the largest eigenvalue.
    pub error: Option<f64>,
    /// Smallest and largest eigenvalue (Ritz value) so far.
    pub range: Option<[f64; 2]>,
}

/// The parts of a computation that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Stage {
    /// The only one.
    #[default]
    Whole,
    /// Gradient flow to its limit.
    Flow,
    /// Spectrum of the Hessian there.
    Spectrum,
    /// Slope of the normalised trace along the minima.
    Slope,
}

impl Progress {
    /// Within one unit, before piece `batch` of `batches`.
    pub(crate) fn within(batch: usize, batches: usize) -> Self {
        Self { batch, batches, ..Self::default() }
    }

    /// The same at the end of the unit.
    pub(crate) fn ended(self) -> Self {
        Self { batch: self.batches, ..self }
    }
}

/// Shows the progress.
///
/// # Errors
/// [`Error::Interrupted`] where the observer says not to go on.
pub(crate) fn ask(observer: &mut dyn Observer, at: &Progress) -> Result<()> {
    match observer.observe(at) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted),
    }
}
