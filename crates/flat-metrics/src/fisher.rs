//! Fisher matrices: exact, of the data's labels, and of labels drawn from the model.

use crate::outputs::{self, Rows};
use crate::{Error, Form, GaussNewton, LinearOperator, Objective, Origin, Product, Result, Watch, check_determinism};
use flat_core::{ParamVec, Purpose, Space, Streams};

/// The empirical Fisher matrix `F = (1/n) sum_i g_i g_i^T`, g_i the gradient of example i's loss at its own label.
///
/// It is neither the Fisher information nor an approximation of the Hessian away from a well-specified optimum (Kunstner,
/// Balles, Hennig 2019, arXiv 1905.12558): it measures the noise of the gradients. Its trace is the mean squared norm of
/// an example's gradient.
///
/// No loop over examples: one forward pass with tangents gives `<g_i, v>` of all examples of a batch, and since they are
/// constants in `(1/n) sum_i <g_i, v> loss_i`, one backward pass gives `F v`: about 1.4 gradient evaluations of the data
/// set a product, in constant memory. With BatchNorm's batch statistics g_i is the gradient of example i's loss within
/// its batch, which depends on the whole batch.
#[derive(Debug)]
pub struct EmpiricalFisher<'a, O: ?Sized> {
    objective: &'a O,
    matvecs: u64,
}

impl<'a, O: Objective + ?Sized> EmpiricalFisher<'a, O> {
    /// The matrix at the present parameters; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        check_determinism(objective)?;
        Ok(Self::unchecked(objective))
    }

    /// As [`Self::new`], without the check and its cost.
    pub fn unchecked(objective: &'a O) -> Self {
        Self { objective, matvecs: 0 }
    }
}

impl<O: Objective + ?Sized> LinearOperator for EmpiricalFisher<'_, O> {
    fn space(&self) -> &Space {
        self.objective.params().space()
    }

    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec> {
        Ok(self.apply_by_batch(v, watch)?.product)
    }

    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        let out = outputs::product(self.objective, v, watch, |_, rows| rows.sloped())?;
        self.matvecs += 1;
        Ok(out)
    }

    fn form(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Form> {
        let out = outputs::form(self.objective, v, watch, |_, rows| rows.sloped())?;
        self.matvecs += 1;
        Ok(out)
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn origin(&self) -> Origin {
        Origin::of("empirical Fisher", self.objective)
    }
}

/// The Fisher information of the model, the exact mean over the labels that it gives itself:
/// `F = (1/n) sum_i sum_c p_ic g_ic g_ic^T`, p_ic the probability of class c for example i and g_ic the gradient of its
/// negative logarithm (Kunstner, Balles, Hennig 2019, arXiv 1905.12558).
///
/// Cross entropy is the likelihood of the softmax; label smoothing changes the labels, not the model. The squared loss of
/// C outputs, `|z - y|^2 / C`, is the negative logarithm of the normal distribution about the logits with the covariance
/// `C/2` times the identity, and the mean over its labels is an integral. In the logits either mean is the loss's second
/// derivative, so that the matrix equals [`crate::GaussNewton`]: no label is drawn, and no interval has to cover any.
///
/// A product costs about 1.4 gradient evaluations of the data set, in constant memory.
#[derive(Debug)]
pub struct Fisher<'a, O: ?Sized> {
    gauss_newton: GaussNewton<'a, O>,
    objective: &'a O,
}

impl<'a, O: Objective + ?Sized> Fisher<'a, O> {
    /// The matrix at the present parameters; evaluates the first batch twice to check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`check_determinism`].
    pub fn new(objective: &'a O) -> Result<Self> {
        check_determinism(objective)?;
        Ok(Self::unchecked(objective))
    }

    /// As [`Self::new`], without the check and its cost.
    pub fn unchecked(objective: &'a O) -> Self {
        Self { gauss_newton: GaussNewton::unchecked(objective), objective }
    }
}

impl<O: Objective + ?Sized> LinearOperator for Fisher<'_, O> {
    fn space(&self) -> &Space {
        self.gauss_newton.space()
    }

    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec> {
        self.gauss_newton.apply_watched(v, watch)
    }

    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        self.gauss_newton.apply_by_batch(v, watch)
    }

    fn form(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Form> {
        self.gauss_newton.form(v, watch)
    }

    fn matvecs(&self) -> u64 {
        self.gauss_newton.matvecs()
    }

    fn origin(&self) -> Origin {
        Origin::of("Fisher (exact mean over the model's labels)", self.objective)
    }
}

/// The Fisher matrix with labels drawn from the model: `F = (1/nS) sum_i sum_s g_is g_is^T`, g_is the gradient of example
/// i's loss at the s-th label that the model's own distribution gave it (softmax; for the squared loss the normal
/// distribution about the logits whose negative logarithm it is).
///
/// Its expectation over the labels is [`Fisher`]. The labels are a function of (seed, batch, s) and the parameters: the
/// operator is one fixed matrix, of rank at most n S, and an estimator's interval covers this matrix. The labels' own
/// spread is not in it and may be a hundred times larger, where rare labels carry the trace: measure [`Fisher`], which
/// costs the same. As cheap a product as [`EmpiricalFisher`]'s, whatever S is.
#[derive(Debug)]
pub struct MonteCarloFisher<'a, O: ?Sized> {
    objective: &'a O,
    streams: Streams,
    samples: u64,
    matvecs: u64,
}

impl<'a, O: Objective + ?Sized> MonteCarloFisher<'a, O> {
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
            return Err(Error::BadConfig {
                field: "samples",
                value: "0".into(),
                remedy: "draw at least one label an example",
            });
        }
        Ok(Self { objective, streams, samples, matvecs: 0 })
    }

    /// `s <s, J v>` over the labels drawn for batch `i`.
    fn drawn(&self, i: usize, rows: &Rows) -> Vec<f64> {
        let labels: Vec<_> = (0..self.samples).map(|s| self.streams.at2(Purpose::Sample, i as u64, s)).collect();
        rows.sampled(&labels)
    }
}

impl<O: Objective + ?Sized> LinearOperator for MonteCarloFisher<'_, O> {
    fn space(&self) -> &Space {
        self.objective.params().space()
    }

    fn apply_watched(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<ParamVec> {
        Ok(self.apply_by_batch(v, watch)?.product)
    }

    fn apply_by_batch(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Product> {
        let out = outputs::product(self.objective, v, watch, |i, rows| self.drawn(i, rows))?;
        self.matvecs += 1;
        Ok(out)
    }

    fn form(&mut self, v: &ParamVec, watch: &mut Watch<'_>) -> Result<Form> {
        let out = outputs::form(self.objective, v, watch, |i, rows| self.drawn(i, rows))?;
        self.matvecs += 1;
        Ok(out)
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn origin(&self) -> Origin {
        let s = self.samples;
        Origin::of(&format!("Fisher ({s} sampled label{} an example)", if s == 1 { "" } else { "s" }), self.objective)
    }
}
