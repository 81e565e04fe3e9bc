//! Flags of `report`.

use clap::Args;
use std::path::PathBuf;

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directories, finished or not, and folders of `sweep` and `reproduce`.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The page, one HTML file; an older one of the name is replaced.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
}
