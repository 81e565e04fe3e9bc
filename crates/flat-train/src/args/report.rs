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
    /// Title of the page.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// A paragraph below the title.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// The setting that the others are compared with, as the ranking names it, or one of its runs [default: plain SGD, else
    /// the first].
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Write the ranking as CSV too: a line a setting, plain decimals.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the ranking as Markdown too.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write the page every few seconds, and have the browser read it again, until all runs have ended or Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}
