//! The errors of objectives, operators and estimators.

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of objectives, operators and estimators.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter vector or layout is wrong.
    #[error(transparent)]
    Core(#[from] flat_core::Error),
    /// Another rank failed, or the engine between them.
    #[error(transparent)]
    Comm(#[from] flat_comm::Error),
    /// A layer or model failed.
    #[error(transparent)]
    Nn(#[from] flat_nn::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Something was asked of an objective that it cannot do.
    #[error("{what} is not available: {remedy}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A NaN or an infinity came out.
    #[error(
        "{quantity} is not finite ({value}): the model diverged or overflows in this element type; measure another checkpoint, or in f64"
    )]
    NonFinite {
        /// What is not finite, with the batch or parameter it belongs to.
        quantity: String,
        /// The offending number, or the norm of the offending vector.
        value: f64,
    },
    /// Evaluating the same batch twice gave two results, so there is no Hessian to measure.
    #[error(
        "the objective is not deterministic: {0}; switch off dropout and augmentation and keep the BatchNorm statistics fixed (evaluation mode)"
    )]
    NotDeterministic(String),
    /// `<u, Hv>` and `<Hu, v>` differ: the operator is not a Hessian.
    #[error(
        "the operator is not symmetric: |<u,Hv> - <v,Hu>| is {asymmetry:.3e} of ||Hv||, allowed are {tolerance:.1e}; a layer's second derivative is wrong, or the step of a difference is"
    )]
    NotSymmetric {
        /// The relative asymmetry found.
        asymmetry: f64,
        /// The relative asymmetry allowed.
        tolerance: f64,
    },
    /// The objective's batches, weights or losses do not make sense.
    #[error("unusable objective: {0}")]
    BadObjective(String),
    /// A setting is out of range.
    #[error("`{field}` is {value}: {remedy}")]
    BadConfig {
        /// Name of the setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        remedy: &'static str,
    },
    /// The matrix would not fit in memory.
    #[error("a dense matrix of d = {dim} is refused (at most {limit}): use exact_trace or Hutchinson")]
    TooLarge {
        /// Its dimension.
        dim: usize,
        /// Largest dimension allowed.
        limit: usize,
    },
    /// The vectors that an estimator holds would not fit in memory.
    #[error(
        "{vectors} vectors of d = {dim} would take {gib:.1} GiB (at most {limit} are allowed): draw fewer probes, or use Hutchinson, which holds three"
    )]
    TooManyVectors {
        /// How many.
        vectors: u64,
        /// Numbers in each.
        dim: usize,
        /// Their size in GiB.
        gib: f64,
        /// GiB allowed.
        limit: u64,
    },
    /// The thread that double backward needs could not be started.
    #[error("double backward is not available: {0}")]
    DoubleBackward(String),
    /// The observer asked to stop before there was a result.
    #[error("interrupted before the first result")]
    Interrupted,
}
