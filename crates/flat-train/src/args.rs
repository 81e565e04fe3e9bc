//! The command line as typed. What a flag means, its default and its range are in [`crate::config`].

mod all;
mod bench;
mod certify;
mod density;
mod dimension;
mod landscape;
mod layers;
mod operator;
mod report;
mod reproduce;
mod sharpness;
mod trace;

pub use all::AllArgs;
pub use bench::BenchArgs;
pub use certify::{BoundArgs, CertifyArgs};
pub use density::{DensityArgs, QuadratureArgs};
pub use dimension::DimensionArgs;
pub use landscape::{DirectionName, LandscapeArgs};
pub use layers::LayersArgs;
pub use operator::{OperatorArgs, OperatorName};
pub use report::ReportArgs;
pub use reproduce::{ReproduceArgs, ReproductionName};
pub use sharpness::{BallArgs, GeometryName, NoiseName, SharpnessArgs, SharpnessName};
pub use trace::{EstimatorName, ProbeName, TraceArgs};

use crate::choice::{FlatnessName, LossName, NormalizeName, SapDirection, SapSign, ScheduleName};
use crate::device::DeviceChoice;
use crate::every::Every;
use crate::text::Text;
use candle_core::DType;
use clap::{Args, Parser, Subcommand, ValueEnum};
use flat_data::{Augment, DatasetKind};
use flat_nn::{Activation, Arch, Mode, Norm, Precision};
use flat_optim::BaseKind;
use serde::Serialize;
use std::path::PathBuf;

/// Train image classifiers with any flat-minima optimizer and measure the flatness of what came out.
#[derive(Debug, Parser)]
#[command(name = "flat-train", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print no progress, only the result.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print the result as one JSON object on stdout, and nothing else there.
    #[arg(long, global = true)]
    pub json: bool,
    /// CPU threads [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a classifier; leaves a run directory with weights, checkpoints, metrics and a summary.
    #[command(allow_negative_numbers = true)]
    Train(Box<TrainArgs>),
    /// Loss and accuracy of a checkpoint.
    #[command(allow_negative_numbers = true)]
    Eval(EvalArgs),
    /// Flatness of a checkpoint.
    Metrics {
        /// Which measure.
        #[command(subcommand)]
        measure: Measure,
    },
    /// Loss and accuracy on slices through a checkpoint: random directions, eigenvectors, or the line to another one.
    #[command(allow_negative_numbers = true)]
    Landscape(LandscapeArgs),
    /// Time of a training step over devices, models, optimizers and batch sizes.
    #[command(allow_negative_numbers = true)]
    Bench(BenchArgs),
    /// The papers' results from scratch, with tables, plots and a page; an interrupted one is continued.
    Reproduce(ReproduceArgs),
    /// Runs and reproductions as one HTML page: what differs, results, curves; opens without a network.
    Report(ReportArgs),
    /// Fetch, verify and describe data sets.
    Data {
        /// What to do with them.
        #[command(subcommand)]
        action: DataAction,
    },
}

/// Flags of `train`; a TOML file given by `--config` holds the same names.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainArgs {
    /// TOML file with any of these flags (the names without the dashes); flags override it.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Continue the run in this directory where its last checkpoint left it; takes no other flag but --epochs or --steps, which
    /// make it longer: from there on the schedules are those of a run of the new length.
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    #[serde(skip)]
    pub resume: Option<PathBuf>,
    /// Run directory, which must not hold a run yet [default: runs/DATASET-MODEL-OPTIMIZER-sSEED, numbered].
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    #[serde(skip)]
    pub out: Option<PathBuf>,
    /// Passes over the training set [default: 2].
    #[arg(long, value_name = "N", help_heading = "Run", conflicts_with = "steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Optimizer steps, instead of --epochs.
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Seed of every random draw [default: 0].
    #[arg(long, value_name = "N", help_heading = "Run", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// cpu, cuda, cuda:N or auto [default: auto].
    #[arg(long, value_name = "DEVICE", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Text<DeviceChoice>>,
    /// Element type of weights and activations [default: f32].
    #[arg(long, value_name = "TYPE", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Float>,
    /// Arithmetic of the products of f32 weights and activations: f32, tf32 (CUDA's tensor cores) or bf16; everything else
    /// stays f32, and flatness is always measured with f32 products [default: f32].
    #[arg(long, value_name = "NAME", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Text<Precision>>,
    /// Evaluate on the test set after so many steps, or epochs as in 1ep; 0 only at the end [default: 1ep].
    #[arg(long, value_name = "EVERY", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<Text<Every>>,
    /// Write a checkpoint after so many steps, or epochs as in 1ep; 0 only at the end [default: 1ep].
    #[arg(long, value_name = "EVERY", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<Text<Every>>,
    /// Newest checkpoints to keep, besides the one with the best test accuracy [default: 2].
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_checkpoints: Option<usize>,
    /// Write a line of metrics.jsonl a step, not only an epoch.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_steps: Option<bool>,
    /// Read losses and accuracies from the device every N steps; between reads the host does not wait for it, and lines of
    /// metrics.jsonl are written N at a time [default: 1 on the CPU, 50 on CUDA].
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every: Option<usize>,

    /// mnist, fashion-mnist, cifar10 or cifar100 [default: mnist].
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Text<DatasetKind>>,
    /// Folder with the data [default: $FLAT_DATA_DIR, ./data, the download cache].
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Use only the first N training images.
    #[arg(long, value_name = "N", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_limit: Option<usize>,
    /// Use only the first N test images.
    #[arg(long, value_name = "N", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// Images a step [default: 128].
    #[arg(long, value_name = "N", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Normalisation of the pixels [default: dataset, or --mean and --std].
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<NormalizeName>,
    /// Subtracted from pixels in [0, 1], one number a channel, as in 0.49,0.48,0.45; with --std.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// What they are divided by then, one number a channel; with --mean.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
    /// Comma list of crop, flip, cutout; `none` for none [default: none].
    #[arg(long, value_name = "LIST", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<Text<Augment>>,
    /// Take the training images in file order every epoch.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_shuffle: Option<bool>,

    /// mlp, lenet, resnet20, resnet18 or wrn-16-4 [default: lenet].
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Text<Arch>>,
    /// Widths of the mlp's hidden layers, as in 256,128 [default: 256].
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<usize>>,
    /// Channels of the first convolution of lenet or a ResNet, all others in proportion: a narrower network is a faster one
    /// [default: lenet 32, resnet18 64, resnet20 and wrn-16-4 16].
    #[arg(long, value_name = "N", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Activation of the hidden layers: relu, tanh or gelu [default: relu].
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Text<Activation>>,
    /// Normalisation of the ResNets: batch or group [default: batch].
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Text<Norm>>,
    /// Groups of group normalisation, a divisor of every layer's channels [default: at most 32, with 4 channels each at least].
    #[arg(long, value_name = "N", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Start from the weights in this safetensors file, or those of a run directory.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Write the weights before the first step to init.safetensors in the run directory.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_init: Option<bool>,
    /// cross-entropy or mse (against the one-hot label) [default: cross-entropy].
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossName>,
    /// Label smoothing of the cross entropy [default: 0].
    #[arg(long, value_name = "X", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,

    /// Gradient rule: sgd or adamw (plain over that base), plain, sam, rsp, sap or nso; at their defaults sam and sap end
    /// flatter than sgd in the mean, rsp on one of two networks and nso on neither, and none is shown to have 0.8 of sgd's
    /// Hessian trace on both (docs/results/defaults); a larger --rho or --sigma is flatter and may cost accuracy [default: sgd].
    #[arg(long, value_name = "NAME", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<String>,
    /// Base optimizer that takes the rule's gradient: sgd or adamw [default: sgd].
    #[arg(long, value_name = "NAME", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Text<BaseKind>>,
    /// Learning rate, the papers' eta [default: 0.05 over sgd, 0.001 over adamw].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// rsp, sap: learning rate of the steps beyond --eps0, eta', from which --schedule starts there [default: --lr].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_lr: Option<f64>,
    /// sam, rsp, sap: radius of the perturbation, a length over all weights [default: sam 0.05, sap 0.1; rsp: by --sigma].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// rsp, nso: standard deviation of a weight's perturbation; the length rho is sigma sqrt(weights) [default: 0.01].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// nso: antithetic pairs a step, k [default: 1].
    #[arg(long, value_name = "K", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
    /// rsp, sap: perturb only where the gradient's norm is at most this [default: inf, always].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps0: Option<f64>,
    /// rsp, sap: leave out the projection (ablation).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_project: Option<bool>,
    /// sap: ascend along the gradient of one sample or of the batch (ablation) [default: sample].
    #[arg(long, value_name = "WHICH", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sap_direction: Option<SapDirection>,
    /// sap: random or always positive sign (ablation) [default: random].
    #[arg(long, value_name = "WHICH", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sap_sign: Option<SapSign>,
    /// sap: examples in the sample that perturbs; 1 is Algorithm 2, whose noise wants a small --lr, a gate or --init
    /// [default: 128].
    #[arg(long, value_name = "N", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sap_examples: Option<usize>,
    /// The loss is that of the whole training set, streamed in batches: one step an epoch.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_batch: Option<bool>,
    /// Images a micro-batch: gradients are accumulated over them, and sam perturbs for each apart (m-sharpness).
    #[arg(long, value_name = "M", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// sgd: momentum [default: 0.9].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// sgd: dampening of the momentum [default: 0].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dampening: Option<f64>,
    /// sgd: Nesterov momentum.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// Weight decay: added to the gradient over sgd, decoupled over adamw [default: 0 over sgd, 0.01 over adamw].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// sgd: decouple the weight decay from the gradient (SGDW).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoupled: Option<bool>,
    /// adamw: decay of the first moment [default: 0.9].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// adamw: decay of the second moment [default: 0.999].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// adamw: added to the root of the second moment [default: 1e-8].
    #[arg(long, value_name = "X", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Clip the step's gradient to this norm.
    #[arg(long, value_name = "NORM", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Average the weights with this decay a step, and evaluate and save the average.
    #[arg(long, value_name = "DECAY", help_heading = "Optimizer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,

    /// Schedule of the learning rate [default: cosine].
    #[arg(long, value_name = "NAME", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleName>,
    /// Linear warm-up of the learning rate over so many steps, or epochs as in 1ep [default: 0].
    #[arg(long, value_name = "EVERY", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Text<Every>>,
    /// step: multiply after so many steps, or epochs as in 30ep [default: a third of the run].
    #[arg(long, value_name = "EVERY", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<Text<Every>>,
    /// step: the factor [default: 0.1].
    #[arg(long, value_name = "X", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// cosine: the last learning rate [default: 0].
    #[arg(long, value_name = "X", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// Schedule of rho (of sigma for nso), with --step-size and --gamma where it is `step` [default: constant].
    #[arg(long, value_name = "NAME", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho_schedule: Option<ScheduleName>,
    /// Linear warm-up of rho (of sigma for nso) over so many steps, or epochs as in 1ep [default: 0].
    #[arg(long, value_name = "EVERY", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho_warmup: Option<Text<Every>>,
    /// cosine: the last rho [default: 0].
    #[arg(long, value_name = "X", help_heading = "Schedules")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rho: Option<f64>,

    /// Probes of the Hessian trace measured at the end; 0 measures none [default: 16].
    #[arg(long, value_name = "K", help_heading = "Flatness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_probes: Option<u64>,
    /// Training images the trace is measured on [default: 1024].
    #[arg(long, value_name = "N", help_heading = "Flatness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_examples: Option<usize>,
    /// Measures taken along the run, as in trace,lambda_max, written to metrics.jsonl: trace, lambda_max, score (curvature
    /// score tr H / sqrt(rank), 150 products), dimension (of the hidden states) [default: none].
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Flatness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flatness: Option<Vec<FlatnessName>>,
    /// Take them after so many steps, or epochs as in 1ep [default: 1ep].
    #[arg(long, value_name = "EVERY", help_heading = "Flatness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flatness_every: Option<Text<Every>>,
    /// Training images they are taken on [default: 1024].
    #[arg(long, value_name = "N", help_heading = "Flatness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flatness_examples: Option<usize>,
    /// Probes of the trace along the run [default: 16].
    #[arg(long, value_name = "K", help_heading = "Flatness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flatness_probes: Option<u64>,
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

/// A checkpoint and the data to look at it with.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// A run directory, its model.safetensors, one of its checkpoints, or a safetensors file of a known model.
    #[arg(long, value_name = "RUN_OR_FILE")]
    pub checkpoint: PathBuf,
    /// Data set [default: the run's].
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<Text<DatasetKind>>,
    /// Folder with the data [default: the run's, else $FLAT_DATA_DIR, ./data, the download cache].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which part of the data set [default: eval: test; metrics and landscape: train].
    #[arg(long, value_name = "SPLIT")]
    pub split: Option<SplitName>,
    /// Use only the first N images [default: all; metrics and landscape without --split: those of the run's own trace, else
    /// 1024].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Images a batch; changes memory and speed, not the result beyond rounding, but for --bn-mode batch.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    /// Model, where the file does not say it.
    #[arg(long, value_name = "NAME")]
    pub model: Option<Text<Arch>>,
    /// Hidden widths of an mlp, where the file does not say them.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub hidden: Option<Vec<usize>>,
    /// Channels of the first convolution, where the file does not say them.
    #[arg(long, value_name = "N")]
    pub channels: Option<usize>,
    /// Activation of the hidden layers, where the file does not say it.
    #[arg(long, value_name = "NAME")]
    pub activation: Option<Text<Activation>>,
    /// Normalisation of a ResNet, where the file does not say it.
    #[arg(long, value_name = "NAME")]
    pub norm: Option<Text<Norm>>,
    /// Groups of its group normalisation, where the file does not say them.
    #[arg(long, value_name = "N")]
    pub groups: Option<usize>,
    /// Normalisation of the pixels [default: that of --mean and --std, the run's or the file's, else dataset].
    #[arg(long, value_name = "NAME")]
    pub normalize: Option<NormalizeName>,
    /// Subtracted from pixels in [0, 1], one number a channel, as in 0.49,0.48,0.45; with --std.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub mean: Option<Vec<f64>>,
    /// What they are divided by then, one number a channel; with --mean.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub std: Option<Vec<f64>>,
    /// cpu, cuda, cuda:N or auto.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Element type to compute in [default: the run's, else that of the weights].
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Float>,
    /// Loss [default: the run's, else cross-entropy].
    #[arg(long, value_name = "NAME")]
    pub loss: Option<LossName>,
    /// Label smoothing of the cross entropy [default: the run's, else 0].
    #[arg(long, value_name = "X")]
    pub label_smoothing: Option<f64>,
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

/// Measures of flatness.
#[derive(Debug, Subcommand)]
pub enum Measure {
    /// Trace of the Hessian of the loss, or of a relative of it, with a confidence interval.
    #[command(allow_negative_numbers = true)]
    Trace(TraceArgs),
    /// Trace, diagonal, largest eigenvalue and norm of the weights, layer by layer.
    #[command(allow_negative_numbers = true)]
    Layers(LayersArgs),
    /// Largest and smallest eigenvalues of the Hessian by Lanczos' method, with their residuals.
    #[command(allow_negative_numbers = true)]
    Eig(EigArgs),
    /// Density of all eigenvalues of the Hessian by stochastic Lanczos quadrature, with moments and effective ranks.
    #[command(allow_negative_numbers = true)]
    Density(DensityArgs),
    /// How much the loss grows around the weights: worst case, average, SAM's step, m-sharpness, filtered, Keskar's.
    #[command(allow_negative_numbers = true)]
    Sharpness(SharpnessArgs),
    /// Whether the checkpoint is (eps, eps')-flat in the sense of Ahn et al. 2024, with the intervals it rests on.
    #[command(allow_negative_numbers = true)]
    Certify(CertifyArgs),
    /// Trace, eigenvalues, density, sharpness, dimension and, with --certify, the certificate in one report.
    #[command(allow_negative_numbers = true)]
    All(AllArgs),
    /// Intrinsic dimension of the hidden states before the last layer by TwoNN.
    #[command(allow_negative_numbers = true)]
    Dimension(DimensionArgs),
}

impl Measure {
    /// The flags of the Hessian, where the measure takes one.
    pub fn hessian(&self) -> Option<&HessianArgs> {
        match self {
            Self::Trace(args) => Some(&args.hessian),
            Self::Eig(args) => Some(&args.hessian),
            Self::Layers(args) => Some(&args.hessian),
            Self::Density(args) => Some(&args.hessian),
            Self::Sharpness(args) => Some(&args.hessian),
            Self::Certify(args) => Some(&args.hessian),
            Self::All(args) => Some(&args.hessian),
            Self::Dimension(_) => None,
        }
    }
}

/// What every measure of the Hessian takes.
#[derive(Debug, Args)]
pub struct HessianArgs {
    /// The checkpoint and the data.
    #[command(flatten)]
    pub on: EvalArgs,
    /// Seed of the random vectors [default: the run's, else 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// BatchNorm: eval uses the running statistics, batch those of each batch of --batch-size images.
    #[arg(long, value_name = "MODE", default_value = "eval")]
    pub bn_mode: BnModeName,
    /// Hessian-vector products: exact (reverse over forward), double (double backward) or difference (of gradients).
    #[arg(long, value_name = "HOW", default_value = "exact")]
    pub hvp: HvpName,
}

/// Flags of `metrics eig`.
#[derive(Debug, Args)]
pub struct EigArgs {
    /// The checkpoint, the data and the products.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// Largest eigenvalues.
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub top: usize,
    /// Smallest eigenvalues.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub bottom: usize,
    /// Hessian-vector products at most.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_matvecs: u64,
    /// Stop when every residual is at most this fraction of the largest eigenvalue [default: 1e-4 in f32, 1e-6 in f64].
    #[arg(long, value_name = "X")]
    pub rel_tol: Option<f64>,
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

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataAction {
    /// Download a data set into the cache, checked by sha256; what is there already is kept.
    Fetch {
        /// mnist, fashion-mnist, cifar10 or cifar100.
        dataset: Text<DatasetKind>,
        /// Folder to put it in [default: the download cache].
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Check the files of a data set: sums, sizes, labels, every image.
    Verify {
        /// mnist, fashion-mnist, cifar10 or cifar100.
        dataset: Text<DatasetKind>,
        /// Folder with the data [default: $FLAT_DATA_DIR, ./data, the download cache].
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}
