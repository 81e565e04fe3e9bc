//! Flags of whatever looks at a checkpoint.

use crate::device::DeviceChoice;
use crate::settings::choice::{BnModeName, Float, HvpName, LossName, NormalizeName, SplitName};
use clap::Args;
use flat_core::setting::Text;
use flat_data::DatasetKind;
use flat_nn::{Activation, Arch, Norm};
use std::path::PathBuf;

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

/// What every measure of the Hessian takes.
#[derive(Debug, Clone, Args)]
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
