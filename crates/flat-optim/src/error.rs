//! The errors of an optimizer.

use crate::Need;
use flat_core::setting::{BadSetting, Range, Value};

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of rules, bases, schedules and the optimizer that combines them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Parameters or parameter vectors do not fit.
    #[error(transparent)]
    Core(#[from] flat_core::Error),
    /// Another rank failed, or the engine between them.
    #[error(transparent)]
    Comm(#[from] flat_comm::Error),
    /// candle failed, most often inside the model.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The objective failed for a reason of its own, such as reading the data.
    #[error("the objective failed: {0}")]
    Objective(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Rows were asked for that the batch does not have.
    #[error("the batch has {available} rows, but {asked} was asked for")]
    NoSuchRows {
        /// What was asked for.
        asked: String,
        /// Rows in the batch.
        available: usize,
    },
    /// A rule needs what base optimizer, objective or builder do not have.
    #[error("{rule} needs {need}, which is not there")]
    Needs {
        /// The rule's name.
        rule: &'static str,
        /// What is missing.
        need: Need,
    },
    /// An objective was asked for what it does not have.
    #[error("the objective has no {need}")]
    Unmet {
        /// What that is.
        need: Need,
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
    #[error(transparent)]
    BadSetting(#[from] BadSetting),
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

    pub(crate) fn option(name: &'static str, value: impl std::fmt::Display, expected: impl Into<String>) -> Self {
        BadSetting::new(name, value, expected).into()
    }
}

/// `value` if it lies in `range`.
pub(crate) fn within(name: &'static str, value: f64, range: Range) -> Result<f64> {
    match range.expected(&Value::Number(value)) {
        None => Ok(value),
        Some(expected) => Err(Error::option(name, value, expected)),
    }
}
