//! Fisher matrices: exact, of the data's labels, and of labels drawn from the model.

use super::curvature::{BatchProduct, Curvature};
use super::gauss_newton::OutputCurvature;
use crate::objective::{AT_ONCE, Objective, Rows, check_determinism, forms_of, products_of};
use crate::{Error, Result};
use flat_core::{ParamVec, Purpose, Streams};

/// The empirical Fisher matrix, g_i the gradient of example i's loss at its own label.
///
/// ```text
/// F = (1/n) sum_i g_i g_i^T
/// ```
///
/// It is neither the Fisher information nor an approximation of the Hessian away from a well-specified optimum (Kunstner,
/// Balles, Hennig 2019, arXiv 1905.12558): it measures the noise of the gradients. Its trace is the mean squared norm of
/// an example's gradient.
///
/// No loop over examples: one forward pass with tangents gives `<g_i, v>` of all examples of a batch, and since they are
/// constants in `(1/n) sum_i <g_i, v> loss_i`, one backward pass gives `F v`: the cost of [`crate::GaussNewton`], in
/// constant memory. With BatchNorm's batch statistics g_i is the gradient of example i's loss within
/// its batch, which depends on the whole batch.
pub type EmpiricalFisher<'a, O> = Curvature<'a, O, DataLabels>;

/// The matrix of [`EmpiricalFisher`].
#[derive(Debug, Clone, Copy, Default)]
pub struct DataLabels;

impl<O: Objective + ?Sized> BatchProduct<O> for DataLabels {
    const HAS_FORM: bool = true;
    const AT_ONCE: usize = AT_ONCE;

    fn name(&self) -> String {
        "empirical Fisher".into()
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        products_of(objective, i, directions, |rows| rows.sloped())
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        forms_of(objective, i, directions, |rows| rows.sloped())
    }
}

/// The Fisher information of the model, with the exact mean over the labels that the model gives itself (Kunstner,
/// Balles, Hennig 2019, arXiv 1905.12558).
///
/// ```text
/// F = (1/n) sum_i sum_c p_{ic} g_{ic} g_{ic}^T
/// ```
///
/// p_ic is the probability of class c for example i and g_ic the gradient of its negative logarithm.
///
/// Cross entropy is the likelihood of the softmax; label smoothing changes the labels, not the model. The squared loss of
/// C outputs, `|z - y|^2 / C`, is the negative logarithm of the normal distribution about the logits with the covariance
/// `C/2` times the identity, and the mean over its labels is an integral. In the logits either mean is the loss's second
/// derivative, so that the matrix equals [`crate::GaussNewton`]: no label is drawn, and no interval has to cover any.
///
/// A product costs what one of [`crate::GaussNewton`] does.
pub type Fisher<'a, O> = Curvature<'a, O, ModelLabels>;

/// The matrix of [`Fisher`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelLabels;

impl<O: Objective + ?Sized> BatchProduct<O> for ModelLabels {
    const HAS_FORM: bool = true;
    const AT_ONCE: usize = AT_ONCE;

    fn name(&self) -> String {
        "Fisher (exact mean over the model's labels)".into()
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        OutputCurvature.products(objective, i, directions)
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        OutputCurvature.forms(objective, i, directions)
    }
}

/// The Fisher matrix with labels drawn from the model.
///
/// ```text
/// F = (1/(n S)) sum_i sum_s g_{is} g_{is}^T
/// ```
///
/// g_is is the gradient of example i's loss at the s-th label that the model's own distribution gave it. That is softmax, or for
/// the squared loss the normal distribution about the logits whose negative logarithm it is.
///
/// Its expectation over the labels is [`Fisher`]. The labels are a function of (seed, batch, s) and the parameters: the
/// operator is one fixed matrix, of rank at most n S, and an estimator's interval covers this matrix. The labels' own
/// spread is not in it and may be a hundred times larger, where rare labels carry the trace: measure [`Fisher`], which
/// costs the same. As cheap a product as [`EmpiricalFisher`]'s, whatever S is.
pub type MonteCarloFisher<'a, O> = Curvature<'a, O, DrawnLabels>;

/// The matrix of [`MonteCarloFisher`].
#[derive(Debug, Clone, Copy)]
pub struct DrawnLabels {
    streams: Streams,
    samples: u64,
}

impl DrawnLabels {
    /// `s <s, J v>` over the labels drawn for batch `i`.
    fn drawn(&self, i: usize, rows: &Rows) -> Vec<f64> {
        let labels: Vec<_> = (0..self.samples).map(|s| self.streams.at2(Purpose::Sample, i as u64, s)).collect();
        rows.sampled(&labels)
    }
}

impl<'a, O: Objective + ?Sized> Curvature<'a, O, DrawnLabels> {
    /// The matrix at the present parameters with `samples` labels an example; evaluates the first batch twice to check
    /// that it is deterministic.
    ///
    /// # Errors
    /// No sample; those of [`check_determinism`].
    pub fn new(objective: &'a O, streams: Streams, samples: u64) -> Result<Self> {
        let operator = Self::unchecked(objective, streams, samples)?;
        check_determinism(objective)?;
        Ok(operator)
    }

    /// As [`Self::new`], without the check and its cost.
    ///
    /// # Errors
    /// No sample.
    pub fn unchecked(objective: &'a O, streams: Streams, samples: u64) -> Result<Self> {
        if samples == 0 {
            let remedy = "draw at least one label an example";
            return Err(Error::BadConfig { field: "samples", value: "0".into(), remedy });
        }
        Ok(Self::of_unchecked(objective, DrawnLabels { streams, samples }))
    }
}

impl<O: Objective + ?Sized> BatchProduct<O> for DrawnLabels {
    const HAS_FORM: bool = true;
    const AT_ONCE: usize = AT_ONCE;

    fn name(&self) -> String {
        let s = self.samples;
        format!("Fisher ({s} sampled label{} an example)", if s == 1 { "" } else { "s" })
    }

    fn products(&self, objective: &O, i: usize, directions: &[&ParamVec]) -> Result<Vec<ParamVec>> {
        products_of(objective, i, directions, |rows| self.drawn(i, rows))
    }

    fn forms(&self, objective: &O, i: usize, directions: &[ParamVec]) -> Result<Vec<f64>> {
        forms_of(objective, i, directions, |rows| self.drawn(i, rows))
    }
}
