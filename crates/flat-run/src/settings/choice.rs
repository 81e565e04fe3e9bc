//! Choices by name that belong to no library crate.

use candle_core::DType;
use flat_core::named;
use flat_nn::Mode;

named! {
    /// Losses by name.
    pub enum LossName, "loss" {
        /// Softmax cross entropy.
        CrossEntropy = "cross-entropy",
        /// Squared error against the one-hot label.
        Mse = "mse",
    }
}

/// By its name.
impl serde::Serialize for LossName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

named! {
    /// Normalisations of the pixels by name.
    pub enum NormalizeName, "normalize" {
        /// Less the mean of the data set's training images, over their standard deviation, channel by channel.
        Dataset = "dataset",
        /// Pixels in [0, 1].
        None = "none",
    }
}

named! {
    /// Schedules by name.
    pub enum ScheduleName, "schedule" {
        /// The same value throughout.
        Constant = "constant",
        /// Multiplied by gamma after every step-size steps.
        Step = "step",
        /// Half a cosine down to the last value.
        Cosine = "cosine",
    }
}

named! {
    /// Measures of flatness that a run can take along the way.
    pub enum FlatnessName, "flatness" {
        /// Trace of the Hessian by Hutchinson's estimator.
        Trace = "trace",
        /// Largest eigenvalue of the Hessian by Lanczos' method.
        LambdaMax = "lambda_max",
        /// TRACE's curvature score, the trace over the root of the effective rank, by stochastic Lanczos quadrature.
        Score = "score",
        /// Intrinsic dimension of the hidden states by the two nearest neighbours.
        Dimension = "dimension",
        /// Norm of the gradient, with its interval over the choice of images.
        Gradnorm = "gradnorm",
    }
}

named! {
    /// Element type of weights and activations.
    pub enum Float, "dtype" {
        /// 32 bits.
        F32 = "f32",
        /// 64 bits.
        F64 = "f64",
    }
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

named! {
    /// The parts of a data set.
    pub enum SplitName, "split" {
        /// Training images.
        Train = "train",
        /// Test images.
        Test = "test",
    }
}

named! {
    /// Which statistics BatchNorm uses while a metric is measured.
    pub enum BnModeName, "bn-mode" {
        /// The running ones.
        Eval = "eval",
        /// Those of each batch, without moving the running ones.
        Batch = "batch",
    }
}

impl BnModeName {
    /// The model's mode.
    pub fn mode(self) -> Mode {
        match self {
            Self::Eval => Mode::Eval,
            Self::Batch => Mode::BatchStats,
        }
    }
}

named! {
    /// How Hessian-vector products are computed.
    pub enum HvpName, "hvp" {
        /// Exact, reverse over forward.
        Exact = "exact",
        /// Exact, by double backward.
        Double = "double",
        /// Central differences of gradients.
        Difference = "difference",
    }
}
