//! Flags of `landscape`.

use clap::{Args, ValueEnum};
use flat_run::settings::args::HessianArgs;
use std::path::PathBuf;

/// Flags of `landscape`.
#[derive(Debug, Args)]
pub struct LandscapeArgs {
    /// The checkpoint in the middle, the data and the products.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// Walk on the straight line from the checkpoint (0) to this one (1) instead.
    #[arg(long, value_name = "RUN_OR_FILE", conflicts_with_all = ["directions", "axes"])]
    pub between: Option<PathBuf>,
    /// Directions: random with the norms of the filters, or the Hessian's top eigenvectors of length 1.
    #[arg(long, value_name = "WHICH", default_value = "random")]
    pub directions: DirectionName,
    /// One or two directions.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub axes: u8,
    /// Coordinates reach from minus this to this; with --between from minus this to 1 plus this [default: 1; 0.25].
    #[arg(long, value_name = "X")]
    pub span: Option<f64>,
    /// Points along each axis; an odd number holds the checkpoint itself, and a line both checkpoints whatever the number [default: 51 on one axis, 21 on two].
    #[arg(long, value_name = "N")]
    pub points: Option<usize>,
    /// Folder for landscape.csv and the plots.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Directions by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DirectionName {
    /// Gaussian, each filter with the norm of the weights' (Li et al. 2018).
    Random,
    /// The eigenvectors of the Hessian's largest eigenvalues.
    Eigen,
}
