//! The size of a reproduction: `--scale smoke|cpu|paper`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How large a reproduction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Seconds: shows that everything runs; its numbers mean nothing.
    Smoke,
    /// Up to hours on two cores: small models and few images.
    #[default]
    Cpu,
    /// The paper's sizes, for a GPU.
    Paper,
}

impl Scale {
    /// All of them, the smallest first.
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Cpu, Self::Paper];
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smoke => "smoke",
            Self::Cpu => "cpu",
            Self::Paper => "paper",
        })
    }
}
