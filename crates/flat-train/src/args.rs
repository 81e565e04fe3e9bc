//! The command line as typed. What a flag means, its default and its range are in [`flat_run::RunConfig`].

mod bench;
mod brief;
mod given;
mod inspect;
mod landscape;
mod metrics;
mod report;
mod sweep;
mod train;
mod ui;
mod unknown;
mod version;

pub use bench::{Alone, BenchArgs, BenchSettings};
pub use given::Given;
pub use inspect::InspectArgs;
pub use landscape::{DirectionName, LandscapeArgs};
pub use metrics::{Keeping, MetricsCommand};
pub use report::ReportArgs;
pub use sweep::{SweepArgs, SweptSettings};
pub use train::TrainArgs;
pub use ui::UiName;

use self::given::among;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use flat_core::setting::Needs;
use flat_data::{DatasetKind, ImageSize};
use flat_reproduce::ReproduceArgs;
use flat_run::parts::ExportArgs;
use flat_run::settings::EvalArgs;
use std::path::PathBuf;

/// The group of the flags of all commands.
const GLOBAL: &str = "Of every command";

/// Train image classifiers with any flat-minima optimizer and measure the flatness of what came out.
#[derive(Debug, Parser)]
#[command(name = "flat-train", version, long_version = version::LONG.as_str(), propagate_version = true)]
#[command(max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print no progress, only the result.
    #[arg(long, short, global = true, display_order = 900, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Tell on stderr what is done, beside --quiet too; -vv for choices, -vvv for all.
    ///
    /// The variable FLAT_LOG chooses events by parts of the program, as in FLAT_LOG=flat_run=debug,flat_data=trace; there
    /// -v counts for the other parts.
    #[arg(long, short, global = true, display_order = 900, help_heading = GLOBAL)]
    #[arg(action = clap::ArgAction::Count, hide_short_help = true)]
    pub verbose: u8,
    /// What shows progress: auto is tui on a terminal, plain elsewhere.
    #[arg(long, global = true, display_order = 900, help_heading = GLOBAL, hide_short_help = true)]
    #[arg(value_enum, default_value_t = UiName::Auto)]
    pub ui: UiName,
    /// Print the result on stdout as one JSON object.
    #[arg(long, global = true, display_order = 900, help_heading = GLOBAL)]
    pub json: bool,
    /// Stop as by SIGINT when standard input ends: how a sweep stops its runs, and they stop where it dies.
    #[arg(long, global = true, hide = true)]
    pub stop_at_eof: bool,
    /// Whether the processes that mpirun, mpiexec or srun started share the work out. With auto they do, by the launcher's
    /// MPI; with off they are refused, since each would do the same.
    #[arg(long, global = true, display_order = 900, help_heading = GLOBAL, hide_short_help = true)]
    #[arg(value_name = "WHEN", default_value = "auto")]
    pub mpi: MpiChoice,
    /// Seconds that a process waits for another one before all end.
    #[arg(long, global = true, display_order = 900, help_heading = GLOBAL, hide_short_help = true)]
    #[arg(value_name = "SECONDS", default_value_t = 1800.0, value_parser = patience)]
    pub mpi_timeout: f64,
    /// CPU threads, at most 4 a core or 64 [default: all cores].
    ///
    /// Processes of mpirun on one machine share its cores out.
    #[arg(long, global = true, display_order = 900, help_heading = GLOBAL)]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Whether processes of a launcher are ranks of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MpiChoice {
    /// They are.
    Auto,
    /// They are refused.
    Off,
}

/// A time to wait, in seconds.
fn patience(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s > 0.0 && s <= 1e7 => Ok(s),
        _ => Err("give seconds above 0, 10,000,000 at most".into()),
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a classifier into a run directory: weights, checkpoints, journal, summary.
    Train(Box<TrainArgs>),
    /// Search over settings: a grid or random draws, at equal cost, ranked on validation images with intervals over seeds.
    Sweep(Box<SweepArgs>),
    /// Loss and accuracy of a checkpoint.
    Eval(Given<EvalArgs>),
    /// Flatness of a checkpoint.
    #[command(subcommand)]
    Metrics(MetricsCommand),
    /// Loss and accuracy on slices through a checkpoint: random directions, eigenvectors, or the line to another one.
    Landscape(Given<LandscapeArgs>),
    /// What a file of weights holds: format, tensors, the network that they are of, what a measure would assume.
    Inspect(InspectArgs),
    /// Write weights for other programs: a state dict that PyTorch loads strictly.
    Export(Given<ExportArgs>),
    /// Time of a training step over devices, models, optimizers and batch sizes.
    Bench(BenchArgs),
    /// The papers' results from scratch, with tables, plots and a page; an interrupted one is continued.
    Reproduce(ReproduceArgs),
    /// Runs, sweeps and reproductions as one HTML page: what differs, results, curves; opens without a network.
    Report(ReportArgs),
    /// What there is to compute on: processor, GPUs, driver and libraries, and how to get what is missing.
    Devices,
    /// The gradient rules and base optimizers: cost, state, options with defaults, source.
    Optimizers,
    /// The networks: parameters, multiply-adds, options, source.
    Models,
    /// The data sets: images, classes, whether they are on this machine, source.
    Datasets,
    /// The recipes: what each reaches, in how many seconds, with which settings.
    Recipes,
    /// Fetch, make and verify data sets.
    Data {
        /// What to do with them.
        #[command(subcommand)]
        action: DataAction,
    },
    /// Print the script that completes commands, flags and values in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual, or write a page for every command.
    Man(ManArgs),
}

impl Command {
    /// Whether its work is long enough for someone to look on.
    pub(crate) fn is_long(&self) -> bool {
        if let Self::Bench(args) = self {
            return Needs::Is("ranks", "true").met(&args.given.values);
        }
        matches!(self, Self::Train(_) | Self::Sweep(_) | Self::Metrics(_) | Self::Reproduce(_))
    }

    /// Whether several processes share it out.
    pub(crate) fn is_shared_out(&self) -> bool {
        if let Self::Bench(args) = self {
            return Needs::Is("ranks", "true").met(&args.given.values);
        }
        matches!(
            self,
            Self::Train(_)
                | Self::Eval(_)
                | Self::Metrics(_)
                | Self::Landscape(_)
                | Self::Sweep(_)
                | Self::Reproduce(_)
        )
    }
}

/// Where the manual goes.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder for a page of every command [default: the first page, on stdout].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What to fetch, where to, and how long to wait.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// Data set.
    #[arg(value_parser = among::<DatasetKind>())]
    pub dataset: DatasetKind,
    /// Folder to put it in [default: the download cache].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Longest wait for a connection (10 at most), for an answer, and without bytes.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    pub timeout: f64,
    /// Longest time a file may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 7200.0)]
    pub max_time: f64,
}

/// Which images to show, and what to bring them to.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Folder with a folder of images for each class, an .npz, IDX files, CIFAR's archive or batches.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Size to bring them to [default: theirs, else the shorter side of the smallest].
    #[arg(long, value_name = ImageSize::FORMS)]
    pub image_size: Option<ImageSize>,
    /// 1 for grey, 3 for colours [default: 3 where any has colours].
    #[arg(long, value_name = "1|3")]
    pub image_channels: Option<usize>,
    /// Share to hold out to test on where there is no such part [default: 0.2].
    #[arg(long, value_name = "SHARE")]
    pub test_fraction: Option<f64>,
    /// Seed of their choice.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub validation_seed: u64,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataAction {
    /// Download a data set into the cache, checked against sums known beforehand; what is there and right is kept.
    Fetch(FetchArgs),
    /// Make colored-mnist: MNIST in ten colours, which in training mostly go along with the digit and in the test set do not.
    #[command(allow_negative_numbers = true)]
    Color {
        /// Share of the training images in the colour of their class; the others have one of the other nine.
        #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
        correlation: f64,
        /// Seed of the colours.
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        /// Folder to put it in [default: colored-mnist in the download cache].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Folder with MNIST [default: $FLAT_DATA_DIR, ./data, the download cache].
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Show what a path to images of one's own holds: form, classes, images a class, sizes, mean and deviation.
    Show(ShowArgs),
    /// Check the files of a data set: sums, sizes, labels, every image.
    Verify {
        /// Data set.
        #[arg(value_parser = among::<DatasetKind>())]
        dataset: DatasetKind,
        /// Folder with the data [default: $FLAT_DATA_DIR, ./data, the download cache].
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}
