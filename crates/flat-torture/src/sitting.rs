//! One start of the tool: until it ends, is ended, or takes too long.

use anyhow::{Context, Result};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a sitting may take; on a machine with other work as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How a sitting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Not at all: it hangs.
    Hung,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().unwrap_or_default()),
        }
    }
}

/// Waits for a process, at most so long; one that takes longer is killed and has hung.
///
/// # Errors
/// The system's.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Ended> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for flat-train")? {
            return Ok(status.into());
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(Ended::Hung);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Waits so long for a process to end; `None` where it did not.
///
/// # Errors
/// The system's.
pub(crate) fn ends_within(child: &mut Child, time: Duration) -> Result<Option<Ended>> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.into()));
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(None)
}

/// Sends a signal by its name; a process that has ended does not mind.
///
/// # Errors
/// There is no `kill` on this system.
pub(crate) fn signal(child: &Child, name: &str) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.args([format!("-{name}"), child.id().to_string()]).stderr(Stdio::null());
    kill.status().context("there is no `kill` here")?;
    Ok(())
}

/// A sitting that nobody disturbs.
#[derive(Debug)]
pub(crate) struct Sitting {
    /// How it ended.
    pub ended: Ended,
    /// What it said on stderr.
    pub said: String,
    /// What it printed on stdout.
    pub printed: String,
    /// How long it took.
    pub took: Duration,
}

impl Sitting {
    /// Starts the command and waits for its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn of(command: &mut Command) -> Result<Self> {
        let (said, printed) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
        command.stdin(Stdio::null()).stdout(printed.reopen()?).stderr(said.reopen()?);
        let begun = Instant::now();
        let mut child = command.spawn().context("cannot start")?;
        let ended = wait(&mut child, PATIENCE)?;
        let took = begun.elapsed();
        let text = |file: tempfile::NamedTempFile| -> Result<String> {
            Ok(String::from_utf8_lossy(&std::fs::read(file.path())?).into_owned())
        };
        Ok(Self { ended, said: text(said)?, printed: text(printed)?, took })
    }

    /// Whether it ended well.
    pub fn is_well(&self) -> bool {
        self.ended == Ended::Code(0)
    }

    /// Why it did not, in a line.
    pub fn why(&self) -> String {
        let last = self.said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing said");
        format!("{:?}, {last}", self.ended)
    }
}
