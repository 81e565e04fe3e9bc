//! Flags of `bench`.

use clap::Args;
use flat_core::setting::Text;
use flat_nn::{Arch, Precision};
use flat_run::device::DeviceChoice;
use std::path::PathBuf;

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Devices, as in cpu,cuda; one that is absent is a row that says so.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "cpu")]
    pub devices: Vec<Text<DeviceChoice>>,
    /// Models: mlp, lenet, resnet20, resnet18, wrn-16-4; images are MNIST's size for the first two, CIFAR's for the others.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "lenet")]
    pub models: Vec<Text<Arch>>,
    /// Optimizers, as train's --optimizer takes them.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "sgd,sam,rsp,sap")]
    pub optimizers: Vec<String>,
    /// Images a step.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "128")]
    pub batch_sizes: Vec<usize>,
    /// Arithmetic of the products: f32, tf32 (CUDA) or bf16.
    #[arg(long, value_name = "NAME", default_value_t = Text(Precision::F32))]
    pub precision: Text<Precision>,
    /// Seconds of timed steps for each cell of the table, in --rounds bursts of at least one step.
    #[arg(long, value_name = "S", default_value_t = 6.0, conflicts_with = "steps")]
    pub seconds: f64,
    /// Steps a burst, instead of --seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub steps: Option<u64>,
    /// Bursts of each cell; those of different cells alternate.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Compare with the JSON that an earlier bench printed.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write the table as CSV too.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Draw steps' times as bars.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Two steps of the only cell, then this process's peak memory in MiB: how the memory of a cell is measured.
    #[arg(long, hide = true)]
    pub memory_alone: bool,
}
