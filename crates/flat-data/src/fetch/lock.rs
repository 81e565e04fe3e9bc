//! The lock of a data set's folder: one process fetches into it at a time.

use std::fs::{File, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;

use super::download::{TICK, go_on};
use super::{FetchEvent, Watch};
use crate::{Error, Result};

/// Its file; the number of the process that holds it is inside.
const LOCK: &str = ".lock";

/// The held lock; it goes with the value, and with the process.
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of a folder, or waits for it while `watch` wants to.
    pub fn take(dir: &Path, watch: Watch) -> Result<Self> {
        let path = dir.join(LOCK);
        let io = || Error::io(&path);
        if std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::Link { path });
        }
        let file = flat_core::file::open_own(&path).map_err(io())?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(io()(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            // a system that locks its bytes too does not say who holds it
            let text = flat_core::file::read(&path, 20).unwrap_or_default();
            let process = String::from_utf8_lossy(&text).trim().parse().ok();
            go_on(watch(FetchEvent::Waiting { lock: &path, process }))?;
            std::thread::sleep(TICK);
        }
        let held = Self(file);
        held.write(&std::process::id().to_string()).map_err(io())?;
        Ok(held)
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // nobody's number is left for the next one to read
        let _ = self.write("");
    }
}
