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

    /// `A v`, and what each batch adds to `<v, A v>`: one inner product a batch on top of [`Self::apply_watched`].
    ///
    /// Operators over batches report them, so that the error from the choice of examples can be told from that of the
    /// probes without further products; others leave [`Product::batches`] empty, as this default does.
    ///
    /// # Errors
    /// Those of [`Self::apply_watched`].
    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        Ok(Product { product: self.apply_watched(v, watch)?, batches: Vec::new() })
    }

    /// `<v, A v>` without the product, where that is cheaper; counts as a product.
    ///
    /// The operators of the Gauss-Newton family need no backward pass for it; by default it is
    /// [`Self::apply_by_batch`] and an inner product.
    ///
    /// # Errors
    /// Those of [`Self::apply_watched`].
    fn form(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Form> {
        let Product { product, batches } = self.apply_by_batch(v, watch)?;
        Ok(Form { value: v.dot(&product)?, batches })
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

/// A product and the quadratic forms of its batches.
#[derive(Debug)]
pub struct Product {
    /// `A v`.
    pub product: ParamVec,
    /// The summands of `<v, A v>`, one a batch; empty where the operator does not tell.
    pub batches: Vec<BatchForm>,
}

/// A quadratic form and those of its batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// `<v, A v>`.
    pub value: f64,
    /// Its summands, one a batch; empty where the operator does not tell.
    pub batches: Vec<BatchForm>,
}

/// What one batch adds to a quadratic form: `<v, A v> = sum_i weight_i form_i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchForm {
    /// The batch's fraction of the examples.
    pub weight: f64,
    /// `<v, A_i v>` of the batch's own operator.
    pub form: f64,
    /// The group of examples that the batch is a part of, see [`crate::Objective::group`].
    pub group: usize,
}

impl BatchForm {
    /// What batch `i` of the objective adds.
    pub(crate) fn of<O: crate::Objective + ?Sized>(objective: &O, i: usize, form: f64) -> Self {
        Self { weight: objective.weight(i), form, group: objective.group(i) }
    }
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

/// Sums `weight_i A_i v` over the batches, where `part(i)` is `A_i v`; one product is held beside the sum.
pub(crate) fn stream<O: crate::Objective + ?Sized>(
    objective: &O,
    v: &ParamVec,
    watch: &mut Watch<'_>,
    mut part: impl FnMut(usize) -> Result<ParamVec>,
) -> Result<Product> {
    let params = objective.params();
    params.layout().same_as(v.layout())?;
    let n = objective.batches();
    let (mut product, mut batches) = (ParamVec::zeros(params.space())?, Vec::with_capacity(n));
    for i in 0..n {
        tick(watch, i, n)?;
        let (av, weight) = (part(i)?, objective.weight(i));
        batches.push(BatchForm::of(objective, i, v.dot(&av)?));
        product.add_scaled(weight, &av)?;
    }
    Ok(Product { product, batches })
}

/// Sums `weight_i form_i` over the batches, where `part(i)` is `<v, A_i v>`.
pub(crate) fn stream_forms<O: crate::Objective + ?Sized>(
    objective: &O,
    v: &ParamVec,
    watch: &mut Watch<'_>,
    mut part: impl FnMut(usize) -> Result<f64>,
) -> Result<Form> {
    objective.params().layout().same_as(v.layout())?;
    let n = objective.batches();
    let mut batches = Vec::with_capacity(n);
    for i in 0..n {
        tick(watch, i, n)?;
        let form = part(i)?;
        if !form.is_finite() {
            return Err(crate::Error::NonFinite { quantity: format!("the quadratic form of batch {i}"), value: form });
        }
        batches.push(BatchForm::of(objective, i, form));
    }
    Ok(Form { value: batches.iter().map(|b| b.weight * b.form).sum(), batches })
}

/// Asks `watch` whether to go on.
pub(crate) fn tick(watch: &mut Watch<'_>, done: usize, of: usize) -> Result<()> {
    match watch(Tick { done, of }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(crate::Error::Interrupted),
    }
}
