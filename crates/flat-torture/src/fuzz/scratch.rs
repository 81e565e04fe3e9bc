//! A file for the bytes of an input: readers take paths, and what they do on the way there is theirs as well.

use std::path::PathBuf;

thread_local! {
    /// In memory where the system has such a folder; it goes with the thread.
    static FOLDER: tempfile::TempDir = {
        let mut folder = tempfile::Builder::new();
        folder.prefix("torture-fuzz-");
        let made = folder.tempdir_in("/dev/shm").or_else(|_| folder.tempdir());
        made.expect("a folder for inputs")
    };
}

/// Where a file of this thread is.
pub(super) fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes a file of this thread.
pub(super) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).expect("room for an input");
    path
}

/// As [`file`], of bytes that are the same each time: written once.
pub(super) fn constant(name: &str, bytes: impl FnOnce() -> Vec<u8>) -> PathBuf {
    let path = path(name);
    if !path.exists() {
        file(name, &bytes());
    }
    path
}
