//! Flags of `metrics dimension`.

use clap::Args;
use flat_run::settings::args::EvalArgs;
use flat_run::settings::choice::BnModeName;

/// Flags of `metrics dimension`.
#[derive(Debug, Args)]
pub struct DimensionArgs {
    /// The checkpoint and the data; without --limit the first 2000 images, as the cost grows with the square.
    #[command(flatten)]
    pub on: EvalArgs,
    /// BatchNorm: eval uses the running statistics, batch those of each batch of --batch-size images.
    #[arg(long, value_name = "MODE", default_value = "eval")]
    pub bn_mode: BnModeName,
    /// Fraction of the largest distance ratios left out.
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub discard: f64,
}
