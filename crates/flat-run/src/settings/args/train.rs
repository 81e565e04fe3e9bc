//! Flags of `train`. What a flag means, its default and its range are in [`crate::settings::config`].

use crate::device::DeviceChoice;
use crate::settings::choice::{FlatnessName, Float, LossName, NormalizeName, SapDirection, SapSign, ScheduleName};
use crate::value::every::Every;
use crate::value::text::Text;
use clap::Args;
use flat_data::{Augment, DatasetKind};
use flat_nn::{Activation, Arch, Norm, Precision};
use flat_optim::BaseKind;
use serde::Serialize;
use std::path::PathBuf;

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
