//! Choices by name that belong to no library crate.

use candle_core::DType;
use clap::ValueEnum;
use flat_nn::Mode;
use serde::{Deserialize, Serialize};

/// Losses by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossName {
    /// Softmax cross entropy.
    #[default]
    CrossEntropy,
    /// Squared error against the one-hot label.
    Mse,
}

/// Which gradient SAP ascends along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SapDirection {
    /// One example's, as in the paper.
    Sample,
    /// The whole batch's.
    Batch,
}

/// Which sign SAP perturbs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SapSign {
    /// -1 or +1 with equal probability, as in the paper.
    Random,
    /// Always +1.
    Plus,
}

/// Normalisations of the pixels by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormalizeName {
    /// Less the mean of the data set's training images, over their standard deviation, channel by channel.
    Dataset,
    /// Pixels in [0, 1].
    None,
}

/// Schedules by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// The same value throughout.
    Constant,
    /// Multiplied by gamma after every step-size steps.
    Step,
    /// Half a cosine down to the last value.
    Cosine,
}

/// Measures of flatness that a run can take along the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlatnessName {
    /// Trace of the Hessian by Hutchinson's estimator.
    Trace,
    /// Largest eigenvalue of the Hessian by Lanczos' method.
    #[value(name = "lambda_max", alias = "lambda-max")]
    LambdaMax,
    /// TRACE's curvature score, the trace over the root of the effective rank, by stochastic Lanczos quadrature.
    Score,
    /// Intrinsic dimension of the hidden states by the two nearest neighbours.
    Dimension,
}

/// Element type of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    /// 32 bits.
    #[default]
    F32,
    /// 64 bits.
    F64,
}

impl Float {
    /// The candle element type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

impl std::fmt::Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.dtype().as_str())
    }
}

/// The parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// Training images.
    Train,
    /// Test images.
    Test,
}

impl std::fmt::Display for SplitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Which statistics BatchNorm uses while a metric is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BnModeName {
    /// The running ones.
    Eval,
    /// Those of each batch, without moving the running ones.
    Batch,
}

impl BnModeName {
    /// The model's mode.
    pub fn mode(self) -> Mode {
        match self {
            Self::Eval => Mode::Eval,
            Self::Batch => Mode::BatchStats,
        }
    }

    /// `eval` or `batch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eval => "eval",
            Self::Batch => "batch",
        }
    }
}

/// How Hessian-vector products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HvpName {
    /// Exact, reverse over forward.
    Exact,
    /// Exact, by double backward.
    Double,
    /// Central differences of gradients.
    Difference,
}
