//! Folders that a cell computes in: deleted whole or not at all, as far as their names tell.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// How the names of folders being deleted begin.
const GOING: &str = ".gone-";

/// The name under which a folder is deleted.
pub(super) fn going(folder: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(GOING);
    name.push(folder.file_name().unwrap_or_default());
    folder.with_file_name(name)
}

/// Deletes a folder, if it is there. It loses its name first: killed at any call, it is there whole or it is not there, and
/// [`tidy`] deletes the rest.
///
/// # Errors
/// A folder that cannot be deleted.
pub(super) fn clear(folder: &Path) -> Result<()> {
    let going = going(folder);
    let clear = || {
        remove(&going)?;
        match std::fs::rename(folder, &going) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(()) => remove(&going),
        }
    };
    clear().with_context(|| format!("cannot clear {}", folder.display()))
}

/// Copies a file out of a folder that is about to go: there whole or not at all.
///
/// # Errors
/// The file cannot be read, a full disk.
pub(super) fn keep(file: &Path, to: &Path) -> Result<()> {
    flat_core::file::copy_whole(file, to).with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))
}

/// Deletes what a killed process was deleting in the folders of a study.
///
/// # Errors
/// A folder that cannot be read or deleted.
pub(super) fn tidy(root: &Path) -> Result<()> {
    let tidy = || -> std::io::Result<()> {
        for room in std::fs::read_dir(root)? {
            let room = room?;
            if !room.file_type()?.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(room.path())? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(GOING) {
                    remove(&entry.path())?;
                }
            }
        }
        Ok(())
    };
    tidy().with_context(|| format!("cannot tidy {}", root.display()))
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_cleared_whatever_an_earlier_clearing_left_of_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("runs/a");
        clear(&dir.path().join("absent"))?;
        for left in [false, true] {
            std::fs::create_dir_all(folder.join("checkpoints"))?;
            std::fs::write(folder.join("config.toml"), b"")?;
            if left {
                std::fs::create_dir_all(going(&folder).join("checkpoints"))?;
            }
            clear(&folder)?;
            assert_eq!(std::fs::read_dir(dir.path().join("runs"))?.count(), 0);
        }
        std::fs::create_dir_all(going(&folder))?;
        tidy(dir.path())?;
        assert_eq!(std::fs::read_dir(dir.path().join("runs"))?.count(), 0);
        Ok(())
    }
}
