//! Choices by name that belong to runs rather than to one library crate.

use candle_core::DType;
use flat_core::setting::{BadSetting, Kind, SettingType, Value, choose};
use flat_core::{Choice, named};
use flat_nn::Mode;
use flat_optim::{BASES, BaseKind, RULES, RuleKind};
use std::fmt;

named! {
    /// Losses by name.
    pub enum LossName, "loss" {
        /// Softmax cross entropy.
        CrossEntropy = "cross-entropy" | "ce" | "xent",
        /// Squared error against the one-hot label.
        Mse = "mse" | "l2" | "squared",
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
    /// How the examples of a batch are drawn, by name.
    pub enum SamplerName, "sampler" {
        /// Every example once an epoch.
        Shuffle = "shuffle",
        /// With replacement: classes alike, the attributes of a class as in the data.
        Biased = "biased",
        /// With replacement: classes alike, the attributes of a class too.
        Balanced = "balanced",
    }
}

impl SamplerName {
    /// How far the attributes of a class are moved from their shares in the data towards equal shares. `None` where
    /// the examples are not drawn by groups.
    pub fn balance(self) -> Option<f64> {
        match self {
            Self::Shuffle => None,
            Self::Biased => Some(0.0),
            Self::Balanced => Some(1.0),
        }
    }
}

named! {
    /// The parameters that a rule perturbs, by name.
    pub enum PerturbName, "perturb" {
        /// All of them.
        All = "all",
        /// Gains and shifts of normalisation layers (SAM-ON: Mueller et al. 2023, arXiv 2306.04226).
        Norm = "norm",
        /// Weights of linear and convolution layers.
        Weights = "weights",
    }
}

named! {
    /// Whose gradient a rule perturbs by.
    pub enum PerturbByName, "perturb-by" {
        /// That of the whole batch, one perturbation for all.
        Batch = "batch",
        /// That of each grain: one perturbation each, m-sharpness (Foret et al. 2021, arXiv 2010.01412, section 4.1).
        Grain = "grain",
    }
}

named! {
    /// Orders in which ranks add up gradients.
    pub enum SumName, "sum" {
        /// A tree over the grains: the same bits on any number of ranks.
        Tree = "tree",
        /// The engine's own sum: other bits on another number of ranks.
        Fast = "fast",
    }
}

named! {
    /// Schedules by name.
    pub enum ScheduleName, "schedule" {
        /// The same value throughout.
        Constant = "constant" | "const",
        /// Multiplied by gamma after every step-size steps.
        Step = "step",
        /// Half a cosine down to the last value.
        Cosine = "cosine" | "cos",
    }
}

named! {
    /// Schedules of the perturbation radius by name.
    pub enum RadiusScheduleName, "rho-schedule" {
        /// The same value throughout.
        Constant = "constant" | "const",
        /// Multiplied by gamma after every step-size steps.
        Step = "step",
        /// Half a cosine down to the last value.
        Cosine = "cosine" | "cos",
        /// With the learning rate, down to the last value.
        FollowLr = "follow-lr",
        /// Half a cosine up to a multiple of the first value.
        Rising = "rising",
        /// Multiplied every step, up to a ceiling.
        Exponential = "exponential",
    }
}

/// A value of `--optimizer`: a rule, or a base for the plain gradient over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptimizerName(pub &'static str);

impl fmt::Display for OptimizerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl SettingType for OptimizerName {
    const KIND: Kind = Kind::Text;

    fn names() -> Vec<&'static str> {
        BASES.iter().map(|base| base.name).chain(RULES.iter().map(|rule| rule.name)).collect()
    }

    fn others() -> Vec<(&'static str, &'static str)> {
        [<BaseKind as SettingType>::others(), <RuleKind as SettingType>::others()].concat()
    }

    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        choose::<Self>(name, &value.to_string()).map(Self)
    }

    fn value(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

/// A measure of flatness that a run can take along the way, by its name. The table is of the measures, which know the
/// settings of a run themselves: it is in [`crate::measure`].
#[derive(Debug)]
pub struct Flatness(pub(crate) &'static str);

/// A value of `--flatness`.
pub type FlatnessName = Choice<Flatness>;

named! {
    /// Element type of weights and activations.
    pub enum Float, "dtype" {
        /// 32 bits.
        F32 = "f32" | "fp32" | "float32" | "float",
        /// 64 bits.
        F64 = "f64" | "fp64" | "float64" | "double",
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
        Train = "train" | "training",
        /// Test images.
        Test = "test",
    }
}

named! {
    /// Formats of a run's log beside its journal, by name.
    pub enum LogName, "log" {
        /// An event file for TensorBoard.
        Tensorboard = "tensorboard" | "tb",
        /// Tables: a row a line of the journal, and a row for the summary.
        Csv = "csv",
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
    /// Methods of Hessian-vector products by name.
    pub enum HvpName, "hvp" {
        /// Exact, forward over reverse.
        Exact = "exact",
        /// Exact, by double backward.
        Double = "double",
        /// Central differences of gradients.
        Difference = "difference",
    }
}
