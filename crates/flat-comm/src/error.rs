//! The errors of exchanges between ranks.

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of exchanges between ranks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Vectors.
    #[error(transparent)]
    Core(#[from] flat_core::Error),
    /// Another rank ended.
    #[error("another rank ended with exit code {code}, and this one with it")]
    Aborted {
        /// Its exit code.
        code: i32,
    },
    /// The ranks are not in the same place of the same program.
    #[error("ranks differ: {0}")]
    Differ(String),
    /// Numbers of ranks, parts or elements that do not go together.
    #[error("{0}")]
    Sizes(String),
    /// The engine has no sum of its own.
    #[error("{engine} has no sum of its own (--sum fast): leave it at --sum tree")]
    NoSum {
        /// Its name.
        engine: String,
    },
    /// No engine, or not the launcher's.
    #[error("--mpi: {0}")]
    NoEngine(String),
    /// What the engine reports.
    #[error("{engine}: {call}: {what}")]
    Engine {
        /// Its name.
        engine: String,
        /// The call that failed.
        call: &'static str,
        /// The reason.
        what: String,
    },
}
