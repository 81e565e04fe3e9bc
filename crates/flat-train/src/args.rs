//! The command line as typed. What a flag means, its default and its range are in [`flat_run::settings::config`].

mod all;
mod bench;
mod certify;
mod density;
mod dimension;
mod landscape;
mod report;
mod sharpness;
mod train;

pub use all::AllArgs;
pub use bench::BenchArgs;
pub use certify::{BoundArgs, CertifyArgs};
pub use density::{DensityArgs, QuadratureArgs};
pub use dimension::DimensionArgs;
pub use landscape::{DirectionName, LandscapeArgs};
pub use report::ReportArgs;
pub use sharpness::{BallArgs, GeometryName, NoiseName, SharpnessArgs, SharpnessName};
pub use train::TrainArgs;

use clap::{Args, Parser, Subcommand};
use flat_core::setting::Text;
use flat_data::DatasetKind;
use flat_reproduce::ReproduceArgs;
use flat_run::settings::args::{EvalArgs, HessianArgs, LayersArgs, TraceArgs};
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
    /// The gradient rules and base optimizers: cost, state, options with defaults, source.
    Optimizers,
    /// The networks: parameters, multiply-adds, options, source.
    Models,
    /// The data sets: images, classes, whether they are on this machine, source.
    Datasets,
    /// Fetch and verify data sets.
    Data {
        /// What to do with them.
        #[command(subcommand)]
        action: DataAction,
    },
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
