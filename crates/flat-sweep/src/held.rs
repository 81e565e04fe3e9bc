//! Files that a process holds as long as it lives, by being its standard output. Whoever starts it anew can wait for its end,
//! also where the sweep that started it was killed.

use anyhow::{Context, Result, bail};
use flat_run::signal::{self, GivenUp};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for a run of a sweep that was killed: it stops after its step, with a checkpoint.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file, made where there is none, once no other process holds it. Whoever inherits it holds it too.
///
/// # Errors
/// It cannot be written; a process does not let it go; a signal asked to stop.
pub(crate) fn take(path: &Path) -> Result<File> {
    let file = flat_core::file::open_own(path).with_context(|| format!("cannot write {}", path.display()))?;
    let locked = patiently(|| match file.try_lock() {
        Ok(()) => Ok(Ok(())),
        Err(TryLockError::Error(e)) => Ok(Err(e)),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: a run of an earlier sitting still writes there; stop it first", path.display())
        }
    })?;
    locked.with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Tries again and again what another process may be in the way of.
///
/// # Errors
/// The last one, once the patience is over; [`GivenUp`] where a signal asked to stop: whoever stops a sweep that waits has done
/// nothing wrong.
pub(crate) fn patiently<T>(attempt: impl FnMut() -> Result<T>) -> Result<T> {
    tried(attempt, signal::stop_requested)
}

fn tried<T>(mut attempt: impl FnMut() -> Result<T>, stopped: fn() -> bool) -> Result<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(_) if stopped() => return Err(GivenUp.into()),
            Err(_) if begun.elapsed() <= PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            ended => return ended,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn who_is_asked_to_stop_while_it_waits_gives_up_and_does_not_fail() {
        let busy = || bail!("busy");
        let given_up = tried::<()>(busy, || true).expect_err("it was asked to stop");
        assert!(signal::is_given_up(&given_up), "{given_up:#}");
        assert_eq!(tried(|| Ok(3), || true).ok(), Some(3));
    }

    #[test]
    fn a_file_is_free_once_the_process_that_has_it_for_its_output_has_ended() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("out");
        let mut child = Command::new("sleep").arg("0.4").stdout(Stdio::from(take(&path)?)).spawn()?;
        let begun = Instant::now();
        take(&path)?;
        assert!(child.try_wait()?.is_some() || begun.elapsed() > Duration::from_millis(300));
        assert!(begun.elapsed() > Duration::from_millis(100), "nobody held it");
        child.wait()?;
        take(&path)?;
        Ok(())
    }
}
