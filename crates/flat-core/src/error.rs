//! The errors of layouts, vectors and variables.

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of parameter layouts, vectors and variables.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The loss does not depend on a parameter: its gradient is missing, which usually is a bug in the model.
    #[error(
        "no gradient reached the parameter `{name}`: the loss does not depend on it (freeze it by leaving it out of the parameters, or use it in the model)"
    )]
    MissingGradient {
        /// Name of the parameter.
        name: String,
    },
    /// Two vectors, or a vector and a model, describe different parameters.
    #[error("parameter layouts differ: {0}")]
    LayoutMismatch(String),
    /// A number was expected, and several came: the objective must return the mean loss.
    #[error("the loss has shape {shape:?}: the objective must return the mean loss, a single number")]
    NotScalar {
        /// Shape that it returned.
        shape: Vec<usize>,
    },
    /// The parameters given cannot form one vector.
    #[error("unusable parameters: {0}")]
    BadParams(String),
}
