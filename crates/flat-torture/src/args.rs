//! The command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Tries to make flat-train lose something, hang, or take something on trust; exit status 1 where that succeeds.
#[derive(Debug, Parser)]
#[command(name = "torture", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub campaign: Campaign,
}

/// What is tried.
#[derive(Debug, Subcommand)]
pub(crate) enum Campaign {
    /// Random signals at random times, resumed until the end and compared with the uninterrupted run bit for bit
    Kills(Given),
    /// SIGKILL, EIO, EINTR, ENOSPC and a full disk at every file-system call of runs and studies, one at a time
    Faults(Given),
    /// Bits flipped, zeros, cuts and additions in every file of a run
    Damage(Given),
    /// The hub that means harm: the tests of `data fetch` against it
    HostileHub(Given),
    /// Resident memory over many steps of every rule
    Soak(Given),
    /// Mutated inputs to every reader of files, in this process
    Fuzz(Given),
}

/// How it is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Given {
    /// Seconds after which no new case begins
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub seconds: u64,
    /// Write what was tried there, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seed of every random choice
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Only the cases, rules or fuzz targets whose names hold this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub only: String,
    /// The flat-train to try [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub tool: Option<PathBuf>,
}

impl Campaign {
    /// Its name, as typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kills(_) => "kills",
            Self::Faults(_) => "faults",
            Self::Damage(_) => "damage",
            Self::HostileHub(_) => "hostile-hub",
            Self::Soak(_) => "soak",
            Self::Fuzz(_) => "fuzz",
        }
    }

    /// Its flags.
    pub fn given(&self) -> &Given {
        match self {
            Self::Kills(given)
            | Self::Faults(given)
            | Self::Damage(given)
            | Self::HostileHub(given)
            | Self::Soak(given)
            | Self::Fuzz(given) => given,
        }
    }
}

impl Given {
    /// Whether a name is among those asked for.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}
