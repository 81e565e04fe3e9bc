//! Symmetric linear operators on parameter space.

use crate::measured::Provenance;
use crate::objective::Objective;
use crate::observer::{Observer, Silent};
use crate::{Error, Result};
use flat_comm::Ranks;
use flat_core::{ParamVec, Space};

/// A symmetric matrix of size d x d, known by its products with vectors.
///
/// Estimators take any operator, so that each is tested on matrices with known spectra and each Hessian product serves
/// all of them.
pub trait LinearOperator {
    /// The space of its arguments and results.
    fn space(&self) -> &Space;

    /// `A v`, with what each batch adds to `<v, A v>`, showing `observer` every batch before it is computed.
    ///
    /// Operators over batches report their forms, so that the error from the choice of examples can be told from that of
    /// the probes without further products; others leave [`Product::batches`] empty.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`] when the observer said so, after which the product is not counted; a vector of another
    /// space; a result that is not finite; the objective's own.
    fn product(&mut self, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product>;

    /// `A v` with the bits of [`Self::product`], by these ranks together: all call it with the same vector. Operators over batches share
    /// them out; by default each rank computes the whole product. It counts as one on every rank.
    ///
    /// # Errors
    /// Those of [`Self::product`]; what another rank could not compute.
    fn product_over(&mut self, _: &Ranks, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        self.product(v, observer)
    }

    /// [`Self::product_over`] of several vectors, to the bit; each counts as a product.
    ///
    /// [`crate::TangentHessian`] computes values and gradients of the layers once for all of them; by default one product follows
    /// the other.
    ///
    /// # Errors
    /// Those of [`Self::product_over`].
    fn products(
        &mut self,
        ranks: &Ranks,
        directions: &[&ParamVec],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Product>> {
        directions.iter().map(|v| self.product_over(ranks, v, observer)).collect()
    }

    /// Vectors that [`Self::products`] should be given at once: more than one where they share work.
    fn products_at_once(&self) -> usize {
        1
    }

    /// `A v` for each vector, see [`Self::products`].
    ///
    /// # Errors
    /// Those of [`Self::product`].
    fn apply_block(&mut self, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        let found = self.products(&Ranks::default(), directions, &mut Silent)?;
        Ok(found.into_iter().map(|p| p.product).collect())
    }

    /// `A v`.
    ///
    /// # Errors
    /// Those of [`Self::product`].
    fn apply(&mut self, v: &ParamVec) -> Result<ParamVec> {
        Ok(self.product(v, &mut Silent)?.product)
    }

    /// `<v, A v>` for each direction v, without the product where that is cheaper; each counts as a product.
    ///
    /// [`crate::TangentHessian`] and the operators of the Gauss-Newton family need no backward pass for it, and the former
    /// computes the values of the layers once for all directions; by default it is [`Self::product`] and an inner product.
    ///
    /// # Errors
    /// Those of [`Self::product`].
    fn forms(&mut self, directions: &[ParamVec], observer: &mut dyn Observer) -> Result<Vec<Form>> {
        let form = |v: &ParamVec| {
            let Product { product, batches } = self.product(v, observer)?;
            Ok(Form { value: v.dot(&product)?, batches })
        };
        directions.iter().map(form).collect()
    }

    /// Directions that [`Self::forms`] should be given at once: more than one where they share work.
    fn forms_at_once(&self) -> usize {
        1
    }

    /// Products completed so far.
    fn matvecs(&self) -> u64;

    /// What the operator is computed on, for reports.
    fn provenance(&self) -> Provenance;
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
    pub(crate) fn of<O: Objective + ?Sized>(objective: &O, i: usize, form: f64) -> Self {
        Self { weight: objective.weight(i), form, group: objective.group(i) }
    }
}

impl Product {
    /// The product, refused where it holds a NaN or an infinity. One reduction.
    pub(crate) fn finite(x: ParamVec, batch: usize) -> Result<ParamVec> {
        let norm = x.norm()?;
        match norm.is_finite() {
            true => Ok(x),
            false => Err(Error::NonFinite { quantity: format!("the curvature product of batch {batch}"), value: norm }),
        }
    }
}
