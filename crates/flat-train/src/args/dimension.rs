//! Flags of `metrics dimension`.

use super::EvalArgs;
use clap::Args;

/// Flags of `metrics dimension`.
#[derive(Debug, Args)]
pub struct DimensionArgs {
    /// The checkpoint and the data; without --limit the first 2000 images, as the cost grows with the square.
    #[command(flatten)]
    pub on: EvalArgs,
    /// Fraction of the largest distance ratios left out.
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub discard: f64,
}
