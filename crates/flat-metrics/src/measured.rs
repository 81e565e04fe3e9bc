//! A result with its provenance, its cost and the reason why the computation ended.

use serde::Serialize;
use std::ops::{Deref, DerefMut};

/// A result with what it was computed on (provenance), what it cost (effort) and why the computation ended (stop).
///
/// The result's own fields can be read straight: `report.trace` is `report.result.trace`. Serializes as one flat object. A
/// program that knows more of where a result comes from (a file, a data set) puts a type of its own in place of
/// [`Provenance`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured<T, P = Provenance> {
    /// What was measured.
    #[serde(flatten)]
    pub result: T,
    /// What it was computed on.
    #[serde(flatten)]
    pub provenance: P,
    /// What it cost.
    #[serde(flatten)]
    pub effort: Effort,
    /// Why the computation ended.
    #[serde(rename = "stopped_by")]
    pub stop: Stop,
}

impl<T, P> Deref for Measured<T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.result
    }
}

impl<T, P> DerefMut for Measured<T, P> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.result
    }
}

impl<T, P> Measured<T, P> {
    /// The same with another result made of this one.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Measured<U, P> {
        Measured { result: f(self.result), provenance: self.provenance, effort: self.effort, stop: self.stop }
    }

    /// The same with what else is known of where it comes from.
    pub fn placed<Q>(self, f: impl FnOnce(P) -> Q) -> Measured<T, Q> {
        Measured { result: self.result, provenance: f(self.provenance), effort: self.effort, stop: self.stop }
    }
}

/// The operator, data and precision that a result was computed with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Provenance {
    /// Kind of operator and how its products are computed; `None` where none was used.
    pub operator: Option<String>,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Examples that the loss averages over; `None` for a matrix given as such.
    pub examples: Option<usize>,
    /// Batches these were taken in; matters where BatchNorm uses batch statistics.
    pub batches: Option<usize>,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
    /// Element type, `f32` or `f64`.
    pub dtype: String,
}

/// The cost of a result, without the check that the objective is deterministic.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Effort {
    /// Operator products over all examples.
    pub matvecs: u64,
    /// Gradients over all examples.
    pub gradients: u64,
    /// Losses over all examples without a gradient.
    pub losses: u64,
    /// Seed of the random vectors; `None` where nothing is drawn.
    pub seed: Option<u64>,
    /// Seconds.
    pub wall_s: f64,
}

/// The reason why a computation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stop {
    /// Everything there is to compute was computed.
    Complete,
    /// The interval or the residuals became as small as `rel_tol` asks.
    RelTol,
    /// The gradient flow arrived at its limit.
    Arrived,
    /// Everything that the settings allow was spent.
    Budget,
    /// All d dimensions are used up, with residuals above `rel_tol`.
    Dimension,
    /// Rounding hides what is left: more work cannot help. Measure in f64, or with a larger tolerance.
    Rounding,
    /// The observer asked to stop; the result covers what was completed by then.
    Interrupted,
}

impl Effort {
    /// Adds what something else cost.
    pub fn add(&mut self, other: &Self) {
        self.matvecs += other.matvecs;
        self.gradients += other.gradients;
        self.losses += other.losses;
        self.wall_s += other.wall_s;
    }
}

impl Stop {
    /// [`Self::Interrupted`], or [`Self::Complete`].
    pub fn interrupted_if(interrupted: bool) -> Self {
        if interrupted { Self::Interrupted } else { Self::Complete }
    }
}
