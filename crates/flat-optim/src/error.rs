//! What can go wrong in an optimizer.

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of rules, bases, schedules and the optimizer that combines them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Parameters or parameter vectors do not fit.
    #[error(transparent)]
    Core(#[from] flat_core::Error),
    /// candle failed, most often inside the model.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The objective failed for a reason of its own, such as reading the data.
    #[error("the objective failed: {0}")]
    Objective(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The objective returned something that is not one number.
    #[error("the loss has shape {shape:?}: the objective must return the mean loss, a single number")]
    NotScalar {
        /// Shape that it returned.
        shape: Vec<usize>,
    },
    /// Rows were asked for that the batch does not have.
    #[error("the batch has {available} rows, but {asked} was asked for")]
    NoSuchRows {
        /// What was asked for.
        asked: String,
        /// Rows in the batch.
        available: usize,
    },
    /// A loss or gradient is NaN or infinite. [`crate::Optimizer::step`] turns it into a skipped step.
    #[error("the {what} is {value} {place}")]
    NonFinite {
        /// `loss`, `gradient norm` or `surrogate gradient norm`.
        what: &'static str,
        /// The offending number.
        value: f64,
        /// Where: at theta, or displaced from it.
        place: &'static str,
    },
    /// Too many steps in a row were skipped for non-finite numbers.
    #[error(
        "{skips} steps in a row, up to step {step}, were skipped (last: {last}): lower the learning rate or the \
         perturbation radius, or clip gradients"
    )]
    TooManySkips {
        /// Length of the unbroken series of skipped steps.
        skips: u64,
        /// Index of the last of them.
        step: u64,
        /// Why that one was skipped.
        last: String,
    },
    /// An option has a value that makes no sense. The text names the option and what it accepts.
    #[error("{flag} = {value}: {expected}")]
    BadOption {
        /// Name of the option.
        flag: &'static str,
        /// The value given.
        value: String,
        /// What is accepted instead.
        expected: String,
    },
    /// A saved state does not fit this optimizer, which was left as it was.
    #[error("the saved optimizer state does not fit: {0}")]
    State(String),
}

impl Error {
    /// Wraps an error of the objective's own.
    pub fn objective(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Objective(error.into())
    }

    /// Whether the error says that a loss or gradient was not finite.
    pub fn is_non_finite(&self) -> bool {
        matches!(self, Self::NonFinite { .. })
    }

    pub(crate) fn option(flag: &'static str, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::BadOption { flag, value: value.to_string(), expected: expected.into() }
    }
}

/// `value` if it is finite and above zero.
pub(crate) fn positive(flag: &'static str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::option(flag, value, "must be a finite number above 0"))
    }
}

/// `value` if it is finite and not below zero.
pub(crate) fn non_negative(flag: &'static str, value: f64) -> Result<f64> {
    if value >= 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::option(flag, value, "must be a finite number, 0 or above"))
    }
}

/// `value` if it lies in [0, 1).
pub(crate) fn below_one(flag: &'static str, value: f64) -> Result<f64> {
    if (0.0..1.0).contains(&value) { Ok(value) } else { Err(Error::option(flag, value, "must lie in [0, 1)")) }
}

/// The names of all choices, for an error that lists them.
pub(crate) fn names<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|k| k.to_string()).collect::<Vec<_>>().join(", ")
}
