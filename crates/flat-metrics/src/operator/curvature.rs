//! A curvature matrix of an objective: the mean over its batches of each batch's own matrix.

use super::linear::{BatchForm, Form, LinearOperator, Product};
use super::summands::summed;
use crate::measured::Provenance;
use crate::objective::{Objective, check_determinism, provenance};
use crate::observer::{Observer, Progress, ask};
use crate::{Error, Result};
use flat_comm::Ranks;
use flat_core::{ParamVec, Space};

/// The mathematics of a curvature matrix: its product with a vector on one batch. [`Curvature`] makes an operator of it.
pub trait BatchProduct<O: Objective + ?Sized> {
    /// Whether [`Self::forms`] is cheaper than products.
    const HAS_FORM: bool = false;

    /// Directions that [`Self::forms`] and [`Self::products`] take at little more than the cost of fewer; more would only take
    /// memory.
    const AT_ONCE: usize = 1;

    /// The matrix and how its products are computed, for reports.
    fn name(&self) -> String;

    /// `A_i v` for the matrix of batch `i` and each direction v.
    ///
    /// # Errors
    /// The objective's own.
    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>>;

    /// `<v, A_i v>` for each direction v; by default from the products.
    ///
    /// # Errors
    /// The objective's own.
    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        let products = self.products(objective, i, &directions.iter().collect::<Vec<_>>())?;
        directions.iter().zip(&products).map(|(v, product)| Ok(v.dot(product)?)).collect()
    }

    /// `A v = sum_i weight_i A_i v` for each direction v, with `<v, A_i v>` of each batch, added up as trees over the batches, of
    /// which each rank computes a share; holds as many products a direction as the tree is deep.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the observer said so; a product that is not finite; the objective's own; what another rank
    /// could not compute.
    fn sums(
        &self,
        objective: &O,
        ranks: &Ranks,
        directions: &[&ParamVec],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Product>> {
        let n = objective.batches();
        let found = summed(ranks, (n, directions.len()), objective.params().space(), |parts| {
            let own = parts.own();
            for i in own.clone() {
                ask(observer, &Progress::within((i - own.start) * ranks.size(), n))?;
                let products = self.products(objective, i, directions)?.into_iter().zip(directions);
                let checked = products.map(|(product, v)| {
                    let part = Product::finite(product, i)?;
                    let form = v.dot(&part)?;
                    Ok((part, form))
                });
                parts.push(objective.weight(i), checked.collect::<Result<_>>()?)?;
            }
            Ok(())
        })?;
        let product = |(product, forms): (ParamVec, Vec<f64>)| {
            let batches = forms.into_iter().enumerate().map(|(i, form)| BatchForm::of(objective, i, form)).collect();
            Product { product, batches }
        };
        Ok(found.into_iter().map(product).collect())
    }
}

/// The operator of a curvature matrix at the present parameters of an objective: visits the batches, checks what they give
/// and counts the products.
#[derive(Debug)]
pub struct Curvature<'a, O: ?Sized, P> {
    objective: &'a O,
    pub(super) matrix: P,
    matvecs: u64,
}

impl<'a, O: Objective + ?Sized, P: BatchProduct<O>> Curvature<'a, O, P> {
    /// The operator of any matrix; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`check_determinism`].
    pub fn of(objective: &'a O, matrix: P) -> Result<Self> {
        check_determinism(objective)?;
        Ok(Self::of_unchecked(objective, matrix))
    }

    /// As [`Self::of`], without the check and its cost.
    pub fn of_unchecked(objective: &'a O, matrix: P) -> Self {
        Self { objective, matrix, matvecs: 0 }
    }
}

impl<'a, O: Objective + ?Sized, P: BatchProduct<O> + Default> Curvature<'a, O, P> {
    /// The operator; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        Self::of(objective, P::default())
    }

    /// As [`Self::new`], without the check and its cost.
    pub fn unchecked(objective: &'a O) -> Self {
        Self::of_unchecked(objective, P::default())
    }
}

impl<O: Objective + ?Sized, P: BatchProduct<O>> LinearOperator for Curvature<'_, O, P> {
    fn space(&self) -> &Space {
        self.objective.params().space()
    }

    fn product(&mut self, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        self.product_over(&Ranks::default(), v, observer)
    }

    fn product_over(&mut self, ranks: &Ranks, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        let mut found = self.products(ranks, &[v], observer)?;
        found.pop().ok_or_else(|| Error::BadObjective("no product".into()))
    }

    fn products(
        &mut self,
        ranks: &Ranks,
        directions: &[&ParamVec],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Product>> {
        for v in directions {
            self.objective.params().layout().same_as(v.layout())?;
        }
        let found = self.matrix.sums(self.objective, ranks, directions, observer)?;
        self.matvecs += directions.len() as u64;
        Ok(found)
    }

    fn products_at_once(&self) -> usize {
        P::AT_ONCE
    }

    fn forms(&mut self, directions: &[ParamVec], observer: &mut dyn Observer) -> Result<Vec<Form>> {
        if !P::HAS_FORM {
            let form = |v: &ParamVec| {
                let Product { product, batches } = self.product(v, observer)?;
                Ok(Form { value: v.dot(&product)?, batches })
            };
            return directions.iter().map(form).collect();
        }
        for v in directions {
            self.objective.params().layout().same_as(v.layout())?;
        }
        let n = self.objective.batches();
        let mut found = vec![Vec::with_capacity(n); directions.len()];
        for i in 0..n {
            ask(observer, &Progress::within(i, n))?;
            for (batches, form) in found.iter_mut().zip(self.matrix.forms(self.objective, i, directions)?) {
                if !form.is_finite() {
                    return Err(Error::NonFinite { quantity: format!("the quadratic form of batch {i}"), value: form });
                }
                batches.push(BatchForm::of(self.objective, i, form));
            }
        }
        self.matvecs += directions.len() as u64;
        let whole = |batches: Vec<BatchForm>| {
            let value = batches.iter().map(|b| b.weight * b.form).sum();
            Form { value, batches }
        };
        Ok(found.into_iter().map(whole).collect())
    }

    fn forms_at_once(&self) -> usize {
        P::AT_ONCE
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn provenance(&self) -> Provenance {
        provenance(self.objective, Some(self.matrix.name()))
    }
}
