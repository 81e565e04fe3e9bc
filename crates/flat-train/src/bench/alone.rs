//! Parts of a benchmark in processes of their own: peak memory and a number of threads belong to a process.

use anyhow::{Context, Result, bail};
use flat_run::signal;
use serde::de::DeserializeOwned;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long a request to stop may wait.
const PATIENCE: Duration = Duration::from_millis(20);

/// What such a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Two steps of the only cell, then its peak memory in MiB.
    Memory,
    /// A burst of the only cell: time, work and peak memory.
    Burst,
    /// The rates of a large product of matrices and of a copy.
    Rates,
}

impl Part {
    /// The value of `--alone`.
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Burst => "burst",
            Self::Rates => "rates",
        }
    }

    /// Starts this program with these flags of `bench` for this part; `None` where a signal asked to stop, which the
    /// process then does too.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn ask<T: DeserializeOwned>(self, flags: &[(&str, String)]) -> Result<Option<T>> {
        let program = std::env::current_exe().context("this program's own file")?;
        let mut child = Command::new(program)
            .args(["bench", "--alone", self.name(), "--json", "--quiet", "--stop-at-eof", "--mpi", "off"])
            .args(flags.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start this program once more")?;
        let mut stdin = child.stdin.take();
        let (send, ended) = mpsc::channel();
        // nobody may wait for it
        thread::spawn(move || drop(send.send(child.wait_with_output())));
        let output = loop {
            match ended.recv_timeout(PATIENCE) {
                Ok(output) => break output.context("this program, started once more")?,
                Err(RecvTimeoutError::Timeout) if signal::stop_requested() => drop(stdin.take()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for a process of the benchmark"),
            }
        };
        if signal::stop_requested() {
            return Ok(None);
        }
        if !output.status.success() {
            match String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ") {
                "" => bail!("its process ended by {}: where memory ran out, take smaller cells", output.status),
                said => bail!("{said}"),
            }
        }
        serde_json::from_slice(&output.stdout).map(Some).context("what it printed")
    }
}
