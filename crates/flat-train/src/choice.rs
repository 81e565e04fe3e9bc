//! Choices by name that belong to no library crate.

use clap::ValueEnum;
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
