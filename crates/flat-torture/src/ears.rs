//! Where a run's news go: to somebody who listens, or to nobody.

use crate::random::Random;
use anyhow::Result;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What becomes of a process's standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ears {
    /// A file.
    File,
    /// A pipe whose other end is closed at once, as of `| head -1` and of a terminal that went.
    Closed,
    /// A disk without room.
    Full,
}

impl Ears {
    /// Mostly somebody listens.
    pub fn random(random: &mut Random) -> Self {
        let full = Path::new("/dev/full").exists();
        match random.below(4) {
            0 => Self::Closed,
            1 if full => Self::Full,
            _ => Self::File,
        }
    }

    /// Starts the command with standard error so.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(self, command: &mut Command, file: &Path) -> Result<Child> {
        let stderr = match self {
            Self::File => Stdio::from(File::create(file)?),
            Self::Closed => Stdio::piped(),
            Self::Full => Stdio::from(OpenOptions::new().write(true).open("/dev/full")?),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn()?;
        drop(child.stderr.take());
        Ok(child)
    }
}
