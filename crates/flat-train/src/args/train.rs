//! Flags of `train`: those of the settings, and where the run is.

use super::brief::{MORE, of_train};
use super::given::Given;
use clap::Args;
use flat_run::RunConfig;
use std::path::PathBuf;

/// Flags of `train`; a TOML file given by `--config` holds the same names.
#[derive(Debug, Clone, Args)]
#[command(mut_args(of_train), after_help = MORE, after_long_help = "")]
pub struct TrainArgs {
    /// TOML file with any of these flags (the names without the dashes); flags override it.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub config: Option<PathBuf>,
    /// Continue the run in this directory where its last checkpoint left it. Other flags are --data-dir, where the data
    /// were moved, --log for other formats, and --epochs or --steps, which make it longer. Schedules are then those of a run of the new length.
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    pub resume: Option<PathBuf>,
    /// Run directory, which must not hold a run yet [default: runs/DATASET-MODEL-OPTIMIZER-sSEED, numbered].
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
    /// Stop after N steps of the run, with an evaluation and a checkpoint. The schedules are those of the whole run,
    /// and --resume goes on.
    #[arg(long, value_name = "N", help_heading = "Run", value_parser = clap::value_parser!(u64).range(1..))]
    pub pause_after: Option<u64>,
    /// Print the configuration that the run would have, as a TOML file for --config, and do nothing else.
    #[arg(long, help_heading = "Run", conflicts_with_all = ["resume", "out", "dry_run", "pause_after"])]
    pub print_config: bool,
    /// Load the data, build model and optimizer, say what the run would do, and write nothing.
    #[arg(long, help_heading = "Run", conflicts_with = "pause_after")]
    pub dry_run: bool,
    /// The settings that were given.
    #[command(flatten)]
    pub given: Given<RunConfig>,
}
