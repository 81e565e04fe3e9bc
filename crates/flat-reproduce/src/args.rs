//! Flags of `reproduce`.

use crate::Scale;
use clap::{Args, ValueEnum};
use flat_core::setting::Text;
use flat_run::DeviceChoice;
use std::path::PathBuf;

/// Flags of `reproduce`.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// What to reproduce.
    #[arg(value_name = "NAME")]
    pub name: ReproductionName,
    /// Size: smoke (seconds, shows that it runs), cpu (up to hours on two cores), paper (for a GPU; not `canon`).
    #[arg(long, value_name = "SCALE", default_value_t)]
    pub scale: Scale,
    /// A study file of your own in place of the built-in one: sizes, grids, seeds and recipes. Every study leaves the
    /// file it was made with in its folder, as study.toml.
    #[arg(long, value_name = "FILE")]
    pub study: Option<PathBuf>,
    /// Only these parts of `escape`, as in lenet-mse,resnet20-bn, or cases of `canon`, as in mnist-mlp [default: all].
    #[arg(long = "part", value_name = "LIST", value_delimiter = ',')]
    pub parts: Vec<String>,
    /// Folder for cells, plots and the page; continued where it holds this study [default: runs/reproduce-NAME-SCALE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of all random draws.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Where to compute; auto is CUDA where a device can be opened, otherwise the CPU.
    #[arg(long, value_name = DeviceChoice::FORMS, default_value_t)]
    pub device: Text<DeviceChoice>,
    /// Folder with the data [default: $FLAT_DATA_DIR, ./data, the download cache].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// The reproductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReproductionName {
    /// What each rule's defaults do beside SGD, and how they were chosen.
    Defaults,
    /// Theorems of Ahn, Jadbabaie & Sra 2024 on test functions: rates in eps and d, drifts, a flat manifold.
    Theory,
    /// Their Figure 3: the escape from a bad minimum.
    Escape,
    /// SAM for the last epochs alone (Zhou et al. 2024).
    LateSam,
    /// SAM beside SGD at equal epochs and at equal gradient evaluations (Foret et al. 2021).
    SamVsSgd,
    /// GERNE beside plain and balanced sampling on coloured MNIST: average and worst group (Asaad et al. 2025).
    Groups,
    /// SGD in the dominant subspace of the Hessian, and without it (Song et al. 2024).
    TinySubspace,
    /// Every rule beside SGD at equal gradient evaluations: accuracy, trace, largest eigenvalue, claims of the literature.
    Canon,
    /// Networks of agents: centralised, consensus and diffusion, flatness and escape (Cao et al. 2024).
    FlatnessNetwork,
}

impl ReproductionName {
    /// Whether it has parts that can be made alone.
    #[must_use]
    pub fn has_parts(self) -> bool {
        matches!(self, Self::Escape | Self::Canon)
    }
}
