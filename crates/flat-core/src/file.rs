//! Files that others may have made or placed: read where they are regular, written whole, and never through a link.

use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::path::Path;

/// How the names of files in the making begin.
pub const PARTIAL: &str = ".partial-";

/// Most bytes that are read of a text such as a configuration, a summary or a plot.
pub const TEXT: u64 = 64 << 20;

/// Opens a regular file to read. A device, a pipe or a folder is an error at once: none of them is waited for.
///
/// # Errors
/// No such file, or one that is not regular.
pub fn open(path: &Path) -> io::Result<File> {
    regular(&std::fs::metadata(path)?)?;
    let file = flagged(OpenOptions::new().read(true), Link::Follow).open(path)?;
    // what the name leads to may have changed meanwhile
    regular(&file.metadata()?)?;
    Ok(file)
}

/// The bytes of a regular file, of which there must be `most` at most.
///
/// # Errors
/// As [`open`]; a longer file.
///
/// ```
/// use std::path::Path;
///
/// let error = flat_core::file::read(Path::new("/dev/zero"), 1 << 20).expect_err("a device");
/// assert!(error.to_string().contains("no regular file"));
/// ```
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // the file may grow meanwhile
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(invalid(format!("it has more than the {most} bytes that are read of such a file"))),
        false => Ok(bytes),
    }
}

/// The text of a regular file of at most [`TEXT`] bytes.
///
/// # Errors
/// As [`read`]; bytes that are no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, TEXT)?).map_err(|_| invalid("it is no text in UTF-8".into()))
}

/// Opens a file to write, which is made where there is none, and not cut. A link is not followed.
///
/// # Errors
/// A link, a device, a pipe or a folder; a file that cannot be written.
pub fn open_own(path: &Path) -> io::Result<File> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink()) {
        return Err(linked());
    }
    let mut options = OpenOptions::new();
    let file = flagged(options.create(true).truncate(false).write(true), Link::Refuse).open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Refuses a folder that is a link: what is written and deleted there would be somewhere else.
///
/// # Errors
/// The path is a link.
pub fn no_link(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => Err(linked()),
        _ => Ok(()),
    }
}

/// Writes a file so that it is there whole or not at all: a temporary file beside it, synced, then renamed. A link of that
/// name is replaced; what it points to is left alone.
///
/// # Errors
/// The disk is full or the folder cannot be written; the old file is untouched then. A device, a pipe or a folder of that name.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // whoever may write to /dev must not put a file in the place of a device
    if let Ok(there) = std::fs::metadata(path) {
        regular(&there)?;
    }
    let dir = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
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
}

/// Copies a regular file, so that the copy is there whole or not at all; a link of that name is replaced.
///
/// # Errors
/// As [`open`] and [`write_whole`].
pub fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    write_whole(to, &read(from, u64::MAX - 1)?)
}

/// What becomes of a link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Follow,
    Refuse,
}

/// The options that wait for nobody at the other end of a pipe.
#[cfg(unix)]
fn flagged(options: &mut OpenOptions, link: Link) -> &OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.custom_flags(libc::O_NONBLOCK | if link == Link::Refuse { libc::O_NOFOLLOW } else { 0 })
}

#[cfg(not(unix))]
fn flagged(options: &mut OpenOptions, _: Link) -> &OpenOptions {
    options
}

fn regular(found: &std::fs::Metadata) -> io::Result<()> {
    match (found.is_file(), found.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(Error::new(ErrorKind::IsADirectory, "it is a folder, no regular file: name a file")),
        _ => Err(invalid("it is a device or a pipe, no regular file: name a file".into())),
    }
}

fn linked() -> Error {
    invalid("it is a link, and nothing is written through one: put what it points to in its place".into())
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_replaces_the_old_one_and_leaves_nothing_else() -> io::Result<()> {
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

    #[test]
    fn a_file_over_the_limit_is_refused() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("f");
        std::fs::write(&path, [1, 2, 3])?;
        assert_eq!(read(&path, 3)?, [1, 2, 3]);
        assert!(read(&path, 2).expect_err("longer").to_string().contains("2 bytes"));
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_or_refused_and_its_target_stays_as_it_is() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        for exists in [true, false] {
            match exists {
                true => std::fs::write(&target, b"precious")?,
                false => std::fs::remove_file(&target)?,
            }
            std::os::unix::fs::symlink(&target, &link)?;
            assert!(open_own(&link).expect_err("a link").to_string().contains("link"));
            assert!(no_link(&link).is_err());
            assert_eq!(target.exists(), exists, "a target that is not there is not made");
            write_whole(&link, b"new")?;
            assert_eq!(std::fs::read(&link)?, b"new");
            assert!(!link.symlink_metadata()?.is_symlink());
            if exists {
                assert_eq!(std::fs::read(&target)?, b"precious");
            }
            std::fs::remove_file(&link)?;
        }
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_waited_for() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        for path in [&pipe, dir.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let error = read(path, 10).expect_err("not regular").to_string();
            assert!(error.contains("no regular file"), "{}: {error}", path.display());
            assert!(open_own(path).is_err(), "{}", path.display());
            assert!(write_whole(path, b"x").is_err(), "{}", path.display());
        }
        Ok(())
    }
}
