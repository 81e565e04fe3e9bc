//! A download under a temporary name beside its final one, which it takes when it is whole and right.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What temporary names end in.
const PART: &str = ".part";
/// Where earlier versions kept unfinished downloads.
const EARLIER: &str = ".staging";

/// A file that is being written; it goes where it is not kept.
pub(super) struct Staged {
    /// The folder of the data set.
    dir: PathBuf,
    target: PathBuf,
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Staged {
    /// Of the file `name` in the folder of a data set, whose lock is held.
    pub fn begin(dir: &Path, name: &str) -> Result<Self> {
        let target = dir.join(name);
        let folder = target.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let base = target.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!(".{base}.{}{PART}", std::process::id()));
        // a new file: what lies under the name, a link even, is not written through
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { dir: dir.to_path_buf(), target, path, file, kept: false })
    }

    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path))
    }

    /// Starts anew.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Error::io(&self.path))
    }

    /// Puts it on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.path))
    }

    /// Gives it its final name.
    pub fn keep(mut self) -> Result<()> {
        fs::rename(&self.path, &self.target).map_err(Error::io(&self.target))?;
        self.kept = true;
        if let Some(folder) = self.target.parent() {
            // the name is on the disk with its folder; not every system opens one
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let _ = fs::remove_file(&self.path);
        // and its folders, where nothing else is in them
        for folder in self.target.ancestors().skip(1).take_while(|folder| *folder != self.dir) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Removes what processes that died have left beside these files; the lock is held, so that none of it is in use.
pub(super) fn clear(dir: &Path, names: &[String]) {
    for name in names {
        let target = dir.join(name);
        let begin = format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy());
        remove(target.parent().unwrap_or(dir), |name| name.starts_with(&begin) && name.ends_with(PART));
    }
    // a manifest in the making
    remove(dir, |name| name.starts_with(flat_core::file::PARTIAL));
    let earlier = dir.join(EARLIER);
    // a link is removed, not followed
    let _ = match fs::symlink_metadata(&earlier) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&earlier),
        Ok(_) => fs::remove_file(&earlier),
        Err(_) => Ok(()),
    };
}

/// Removes the files of a folder that have such names.
fn remove(folder: &Path, is_one: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(&is_one) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Refuses to write through a link: `path` and every folder between it and `dir` is itself there, or is not there yet.
pub(super) fn no_links(dir: &Path, path: &Path) -> Result<()> {
    for part in path.ancestors().take_while(|part| *part != dir) {
        if fs::symlink_metadata(part).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(Error::Link { path: part.to_path_buf() });
        }
    }
    Ok(())
}
