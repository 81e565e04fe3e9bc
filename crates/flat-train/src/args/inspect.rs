//! Arguments of `inspect`.

use std::path::PathBuf;

/// The file to look into.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// A run directory, one of its files, or weights from elsewhere (.pt, .pth, .safetensors, an index of shards).
    #[arg(value_name = "RUN_OR_FILE")]
    pub file: PathBuf,
    /// Look at the weights whose names begin with this alone, such as model_ema.
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
}
