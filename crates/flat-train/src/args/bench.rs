//! Flags of `bench`.

use super::given::Given;
use crate::bench::{Axis, Part};
use clap::Args;
use flat_core::setting::{Needs, Range, Text};
use flat_nn::{Arch, Precision, networks};
use flat_run::DeviceChoice;
use flat_run::settings::{Flags, OptimizerName};
use std::path::PathBuf;

flat_core::settings! {
    /// The cells that are timed, and the rounds and steps of the timing.
    #[derive(Debug, Clone)]
    pub struct BenchSettings {
        /// Devices, as in cpu,cuda; one that is absent is a row that says so.
        devices as "devices": Vec<Text<DeviceChoice>> = vec![Text(DeviceChoice::Cpu)];
        /// Models, on images of the size that each is usually trained on.
        models as "models": Vec<Arch> = vec![networks::LENET];
        /// Optimizers.
        optimizers as "optimizers": Vec<OptimizerName> = ["sgd", "sam", "rsp", "sap"].map(OptimizerName).into();
        /// Images a step.
        batch_sizes as "batch-sizes": Vec<usize> = vec![128], range: Range::Between(1, 1 << 16);
        /// Arithmetic of the products; tf32 on CUDA alone.
        precision as "precision": Precision = Precision::F32;
        /// Seconds of timed steps for each cell of the table, in --rounds bursts of at least one step.
        seconds as "seconds": f64 = 6.0, range: Range::PositiveUpTo(86_400.0), needs: Needs::Unset("steps"), metavar: "S";
        /// Steps a burst, instead of --seconds.
        steps as "steps": Option<u64> = None, range: Range::Between(1, 1_000_000);
        /// Bursts of each cell; those of different cells alternate.
        rounds as "rounds": u32 = 9, range: Range::Between(1, 1000);
        /// Show the roof over each cell: operations, bytes, and what products and copies on this machine allow.
        roofline as "roofline": bool = false;
        /// Vary each cell along these axes and show how time and peak memory of a step grow, beneath the roof; one device, model and
        /// batch size.
        over as "over": Vec<Axis> = Vec::new(), default_in_words: "none";
        /// Images a step to vary over.
        over_batch as "over-batch": Vec<usize> = vec![16, 32, 64, 128, 256], range: Range::Between(1, 1 << 16),
            needs: Needs::Is("over", "batch");
        /// Channels of the first convolution to vary over; all others keep their ratio.
        over_width as "over-width": Vec<usize> = vec![8, 16, 32, 64], range: Range::Between(1, 4096),
            needs: Needs::Is("over", "width");
        /// Networks to vary over, by their blocks.
        over_depth as "over-depth": Vec<Arch> = Vec::new(), needs: Needs::Is("over", "depth"),
            default_in_words: "the family of the model, as resnet20,resnet32,resnet44,resnet56";
        /// Threads to vary over.
        over_threads as "over-threads": Vec<usize> = Vec::new(), range: Range::Between(1, 64),
            needs: Needs::Is("over", "threads"), default_in_words: "1, 2, 4 and so on to the cores";
        /// Time each cell with and without exchanges between the processes that mpirun started, and predict the efficiency on more.
        /// The batch is that of one process. On the CPU.
        ranks as "ranks": bool = false;
        /// The same between so many threads of this process.
        rank_threads as "rank-threads": Option<usize> = None, range: Range::Between(2, 64), needs: Needs::Is("ranks", "true");
        /// Compare with the JSON that an earlier bench printed.
        baseline as "baseline": Option<PathBuf> = None, metavar: "FILE";
        /// Write the table as CSV too.
        csv as "csv": Option<PathBuf> = None, metavar: "FILE";
        /// Draw steps' times as bars; with --over, time and peak memory along each axis.
        plot as "plot": Option<PathBuf> = None, metavar: "FILE.svg";
    }
}

impl Flags for BenchSettings {}

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The settings that were given.
    #[command(flatten)]
    pub given: Given<BenchSettings>,
    /// What this process does alone for another one.
    #[command(flatten)]
    pub alone: Alone,
}

/// The part of a benchmark that this process does alone for another one.
#[derive(Debug, Clone, Copy, Args)]
pub struct Alone {
    /// Which part; none where it is the benchmark itself.
    #[arg(long = "alone", hide = true)]
    pub part: Option<Part>,
    /// Channels of the first convolution of the only cell.
    #[arg(long = "alone-channels", hide = true, requires = "part")]
    pub channels: Option<usize>,
}
