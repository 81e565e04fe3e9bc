//! Products and quadratic forms through the logits of a batch.

use super::loss::Objective;
use super::outputs::Rows;
use super::tensor::finite;
use crate::Result;
use flat_core::ParamVec;

/// The product with `v` of a batch's matrix that is the mean over examples of `J^T c`, `c` a function of the batch's rows: a
/// forward pass with tangents and a backward pass.
pub(crate) fn product_of<O: Objective + ?Sized>(
    objective: &O,
    i: usize,
    v: &ParamVec,
    c: impl FnOnce(&Rows) -> Vec<f64>,
) -> Result<ParamVec> {
    let (outputs, way_back) = objective.outputs_and_way_back(i, v)?;
    let product = way_back(&outputs.seed(c(&outputs.rows(i)?))?)?;
    finite(&product, i, "product")?;
    Ok(product)
}

/// Quadratic forms of the same matrix, without a backward pass.
pub(crate) fn forms_of<O: Objective + ?Sized>(
    objective: &O,
    i: usize,
    directions: &[ParamVec],
    c: impl Fn(&Rows) -> Vec<f64>,
) -> Result<Vec<f64>> {
    let form = |v: &ParamVec| {
        let rows = objective.outputs(i, v)?.rows(i)?;
        Ok(rows.form(&c(&rows)))
    };
    directions.iter().map(form).collect()
}
