//! What can go wrong in layers, models and checkpoints.

use std::path::PathBuf;

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of layers, models and checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The parameter vectors failed.
    #[error(transparent)]
    Core(#[from] flat_core::Error),
    /// A word that names no architecture, activation or norm.
    #[error("unknown {what} `{given}`: choose one of {choices}")]
    Unknown {
        /// What was to be named.
        what: &'static str,
        /// The word given.
        given: String,
        /// The words known.
        choices: &'static str,
    },
    /// A precision that the device has no arithmetic for.
    #[error("precision {precision} on {device}: {remedy}")]
    Precision {
        /// The precision.
        precision: crate::Precision,
        /// The kind of device.
        device: &'static str,
        /// What to use instead.
        remedy: &'static str,
    },
    /// A model that cannot be built as described.
    #[error("unusable model: {0}")]
    BadConfig(String),
    /// An input or label that the model or loss cannot take.
    #[error("unusable input: {0}")]
    BadInput(String),
    /// A named tensor that the model does not have, or lacks.
    #[error("tensors of the model: {0}")]
    BadState(String),
    /// A checkpoint that cannot be read into the model.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}
