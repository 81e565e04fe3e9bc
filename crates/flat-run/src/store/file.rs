//! Files written whole or not at all, and folders locked for one process.

use anyhow::{Context, Result, bail};
use flat_core::file::{self, PARTIAL};
use std::fs::{File, TryLockError};
use std::path::Path;

/// Takes a folder for this process until the file is dropped, and tidies it and its `inner` folder up.
///
/// # Errors
/// Another process has it; it cannot be written; the lock or the inner folder is a link to somewhere else.
pub fn lock(root: &Path, inner: &str) -> Result<File> {
    let (path, inner) = (root.join(".lock"), root.join(inner));
    file::no_link(&inner).with_context(|| format!("cannot write to {}", inner.display()))?;
    let lock = file::open_own(&path).with_context(|| format!("cannot write to {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {
            sweep(root)?;
            sweep(&inner)?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another process is writing there; wait for it, or choose another --out", root.display())
        }
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Deletes what a killed process was writing.
fn sweep(folder: &Path) -> Result<()> {
    let sweep = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // files alone are left half written; a link is deleted as a link
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) && !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    sweep().with_context(|| format!("cannot tidy {}", folder.display()))
}

/// As [`write_whole`], with the folders that the file is in.
///
/// # Errors
/// The disk is full or a folder cannot be written.
pub fn write_with_folders(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = &std::path::absolute(path)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    write_whole(path, bytes)
}

/// Writes a file so that it is there whole or not at all; see [`file::write_whole`].
///
/// # Errors
/// The disk is full or the folder cannot be written; the old file is untouched then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    file::write_whole(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
