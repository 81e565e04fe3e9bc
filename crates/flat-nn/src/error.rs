//! The errors of layers, models and checkpoints.

use std::path::PathBuf;

/// Result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    #[error(transparent)]
    Setting(#[from] flat_core::setting::BadSetting),
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
    /// Instructions for bf16 that this processor does not have, or that nobody has.
    #[error("FLAT_BF16={given}: this processor multiplies bf16 by {}; leave the variable out for the fastest", available.join(", "))]
    Bf16 {
        /// What was asked for.
        given: String,
        /// What there is.
        available: Vec<&'static str>,
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
    /// Weights with a NaN or an infinity.
    #[error("`{name}` holds values that are not finite (NaN or infinity): use weights from before the divergence")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// Weights of another model.
    #[error("{difference}; {hint}")]
    OtherModel {
        /// What was expected and what was seen.
        difference: Difference,
        /// What that tells of the network, or what to do.
        hint: String,
    },
    /// More than one set of weights of the model in one file.
    #[error(
        "the file holds the model's weights more than once, under {}: keep one of them in the file",
        quoted(prefixes)
    )]
    Ambiguous {
        /// What comes before the names of each set.
        prefixes: Vec<String>,
    },
    /// Tensors of no built-in network.
    #[error(
        "no built-in network has these {tensors} tensors: {holds}; `flat-train models` lists the networks that are known"
    )]
    UnknownNetwork {
        /// How many there are.
        tensors: usize,
        /// Names and shapes of the first ones.
        holds: String,
    },
    /// A checkpoint that cannot be read into the model.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Bytes that are no safetensors file, or not the contents that their checksum is of.
    #[error("{0}")]
    Damaged(String),
    /// A model that does not fit into memory.
    #[error("a model of {numbers} numbers takes {} of memory, {} are free: make it smaller ({setting})",
        flat_core::memory::in_words(*needed), flat_core::memory::in_words(*available))]
    TooLarge {
        /// Numbers in weights and buffers.
        numbers: u128,
        /// Bytes that they take.
        needed: u64,
        /// Bytes that are free.
        available: u64,
        /// What makes it large: a field of [`ModelConfig`](crate::ModelConfig) and its value.
        setting: String,
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

/// How a file's tensors differ from a model's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The model has a tensor that the file lacks.
    Missing {
        /// The model's name for it.
        name: String,
        /// Its shape.
        wanted: Vec<usize>,
    },
    /// The file has a tensor that the model lacks.
    Extra {
        /// The file's name for it.
        name: String,
        /// Its shape.
        seen: Vec<usize>,
    },
    /// Both have it, in different shapes.
    Shape {
        /// The model's name for it.
        name: String,
        /// The model's shape.
        wanted: Vec<usize>,
        /// The file's.
        seen: Vec<usize>,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { name, wanted } => write!(f, "the model has `{name}` of shape {wanted:?}, the file has not"),
            Self::Extra { name, seen } => write!(f, "the file has `{name}` of shape {seen:?}, the model has not"),
            Self::Shape { name, wanted, seen } => {
                write!(f, "`{name}` has shape {seen:?} in the file, {wanted:?} in the model")
            }
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
}
