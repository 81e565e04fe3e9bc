//! Files written whole or not at all, and folders locked for one process.

use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

/// Takes a folder for this process until the file is dropped, and tidies it and its `inner` folder up.
///
/// # Errors
/// Another process has it; it cannot be written.
pub fn lock(root: &Path, inner: &str) -> Result<File> {
    let path = root.join(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot write to {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {
            sweep(root)?;
            sweep(&root.join(inner))?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another process is writing there; wait for it, or choose another --out", root.display())
        }
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// How the names of files in the making begin.
const PARTIAL: &str = ".partial-";

/// Deletes what a killed process was writing.
fn sweep(folder: &Path) -> Result<()> {
    let sweep = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
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

/// Writes a file so that it is there whole or not at all: a temporary file beside it, synced, then renamed.
///
/// # Errors
/// The disk is full or the folder cannot be written; the old file is untouched then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut new = tempfile::Builder::new();
        // as any new file, for those who may read the folder
        #[cfg(unix)]
        new.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = new.prefix(PARTIAL).tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        // the rename itself must survive a crash
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_replaces_the_old_one_and_leaves_nothing_else() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("f");
        write_whole(&path, b"one")?;
        write_whole(&path, b"two")?;
        assert_eq!(std::fs::read(&path)?, b"two");
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
        assert!(write_whole(&dir.path().join("absent/f"), b"x").is_err());
        let usual = dir.path().join("g");
        std::fs::write(&usual, b"")?;
        assert_eq!(path.metadata()?.permissions(), usual.metadata()?.permissions());
        Ok(())
    }
}
