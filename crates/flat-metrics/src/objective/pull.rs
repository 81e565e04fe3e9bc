//! Products and quadratic forms through the logits of a batch.

use super::loss::Objective;
use super::outputs::{Outputs, Rows};
use super::tensor::finite;
use crate::Result;
use flat_core::ParamVec;

/// Directions that share the pass of the values. Eight save at most a tenth more, and need twice the memory.
pub(crate) const AT_ONCE: usize = 4;

/// The products with directions of a batch's matrix that is the mean over examples of `J^T c`, `c` a function of the batch's rows:
/// a forward pass with tangents and a backward pass.
pub(crate) fn products_of<O: Objective + ?Sized>(
    objective: &O,
    i: usize,
    directions: &[&ParamVec],
    c: impl Fn(&Rows) -> Vec<f64>,
) -> Result<Vec<ParamVec>> {
    let (outputs, way_back) = objective.outputs_and_way_back(i, directions)?;
    let seeds = outputs.iter().map(|of| of.seed(c(&of.rows(i)?))).collect::<Result<Vec<_>>>()?;
    let products = way_back(&seeds)?;
    products.iter().try_for_each(|product| finite(product, i, "product"))?;
    Ok(products)
}

/// Quadratic forms of the same matrix, without a backward pass.
pub(crate) fn forms_of<O: Objective + ?Sized>(
    objective: &O,
    i: usize,
    directions: &[ParamVec],
    c: impl Fn(&Rows) -> Vec<f64>,
) -> Result<Vec<f64>> {
    let outputs = objective.outputs(i, &directions.iter().collect::<Vec<_>>())?;
    let form = |of: &Outputs| {
        let rows = of.rows(i)?;
        Ok(rows.form(&c(&rows)))
    };
    outputs.iter().map(form).collect()
}
