//! Downloads of known files from the Hugging Face hub: repository, commit, sha256 and the names on the disk are this crate's.
//!
//! A server decides only whether the known bytes come. The status and the headers `Location`, `Content-Length`,
//! `Content-Encoding` and `Retry-After` are read; `ETag`, `X-Repo-Commit`, `Content-Disposition` and the like are not.

mod address;
mod download;
mod exchange;
mod lock;
mod patience;
mod staged;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::contents::{self, Differs};
use crate::{DatasetKind, Error, HubFault, Manifest, Pinned, PinnedFile, Result, sha256_file};
use download::{Download, Stop};
use lock::Lock;
use staged::{Staged, clear, no_links};

pub use patience::Patience;

/// The variable with the address of the hub or of a mirror.
const ENDPOINT: &str = "HF_ENDPOINT";
/// The variable with a token for the hub.
const TOKEN: &str = "HF_TOKEN";

/// The progress of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The file within the data set, such as `plain_text/train/0000.parquet`.
    pub file: String,
    /// Bytes that have come.
    pub done: u64,
    /// Bytes there are; 0 where the hub does not say.
    pub total: u64,
}

/// What happens during a [`fetch()`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FetchEvent<'a> {
    /// Another process fetches the same set into the same folder.
    Waiting {
        /// The lock that it holds.
        lock: &'a Path,
        /// Its number, where the lock says it.
        process: Option<u32>,
    },
    /// Bytes came, or did not.
    Transfer(&'a Transfer),
    /// The hub is asked once more.
    Again {
        /// What went wrong.
        fault: &'a HubFault,
        /// The pause before.
        after: Duration,
    },
}

/// Whoever watches: told what happens twenty times a second, and asked whether to go on.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(FetchEvent) -> ControlFlow<()>;

/// Where a [`fetch()`] fetches from, and how long it waits.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// The address of a mirror; that of `HF_ENDPOINT` or else the hub's where none is given. https, or http for this
    /// machine.
    pub endpoint: Option<String>,
    /// Other files than those that [`crate::DatasetSpec::hub`] knows, for a mirror with files of its own.
    pub pinned: Option<Pinned>,
    /// The time-outs.
    pub patience: Patience,
}

/// What a [`fetch()`] left on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// The folder of the data set: `<cache>/<kind>`.
    pub dir: PathBuf,
    /// The repository on the hub that the files are from, `owner/name`.
    pub repository: String,
    /// Its commit.
    pub revision: String,
    /// Its files.
    pub files: Vec<FetchedFile>,
}

/// A file that was fetched, now or earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
    /// What it was compared with.
    pub checked: Checked,
    /// Whether this call downloaded it; `false` where it was there.
    pub downloaded: bool,
}

/// What a file was compared with, and is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Checked {
    /// The sha256 of the file, known beforehand.
    File,
    /// The sha256 of the original's images and labels, known beforehand.
    Contents,
    /// Nothing: none is known.
    Nothing,
}

/// Downloads a data set's parquet files into `<cache_dir>/<kind>` ([`crate::cache_dir`] where none is given).
///
/// A file takes its name only when its sha256, or that of its images and labels, is the one known beforehand; the sum is
/// recorded in [`crate::MANIFEST`]. Until then the file has a temporary name beside, which is removed when the call
/// fails, and by the next call where the process died. A file that is there and right is not asked for again. `watch` is
/// called twenty times a second; where it breaks, nothing unfinished is left. `HF_TOKEN` is sent to the hub itself alone.
///
/// # Errors
/// [`Error::MadeHere`] for a set that no hub has, [`Error::Hub`] with what the hub did, [`Error::Interrupted`],
/// [`Error::Link`] where it would have to write through a symbolic link, [`Error::Io`], [`Error::NoCacheDir`].
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// use flat_data::{DatasetKind, FetchEvent, FetchOptions, fetch};
///
/// # fn main() -> flat_data::Result<()> {
/// let fetched = fetch(DatasetKind::Cifar10, None, &FetchOptions::default(), &mut |event| {
///     if let FetchEvent::Transfer(transfer) = event {
///         println!("{} {} of {} bytes", transfer.file, transfer.done, transfer.total);
///     }
///     ControlFlow::Continue(())
/// })?;
/// println!("{}", fetched.dir.display());
/// # Ok(())
/// # }
/// ```
pub fn fetch(
    kind: DatasetKind,
    cache_dir: Option<&Path>,
    options: &FetchOptions,
    watch: &mut dyn FnMut(FetchEvent) -> ControlFlow<()>,
) -> Result<Fetched> {
    let pinned = options.pinned.or(kind.hub).ok_or(Error::MadeHere(kind))?;
    let root = match cache_dir {
        Some(dir) => dir.to_path_buf(),
        None => crate::cache_dir()?,
    };
    let dir = root.join(kind.name());
    no_links(&root, &dir)?;
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    let _lock = Lock::take(&dir, watch)?;
    let names = pinned.local();
    for name in &names {
        no_links(&dir, dir.join(name).parent().unwrap_or(&dir))?;
    }
    clear(&dir, &names);
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (endpoint, token) = (options.endpoint.clone().or_else(|| variable(ENDPOINT)), variable(TOKEN));
    let mut manifest = Manifest::read(&dir)?;
    let mut files = Vec::new();
    for ((name, file), split) in names.iter().zip(&pinned.files).zip(["train", "test"]) {
        let path = dir.join(name);
        // a file that is too long is not read to its end
        let may_be = fs::metadata(&path).is_ok_and(|there| there.is_file() && there.len() <= file.limit);
        let there = if may_be { check(kind, split, file, &path)?.ok() } else { None };
        let downloaded = there.is_none();
        tracing::info!(file = name, there = !downloaded, "file of the set");
        let (sha256, checked) = match there {
            Some(right) => right,
            None => {
                let (endpoint, token, patience) = (endpoint.as_deref(), token.as_deref(), options.patience.bounded());
                let download = Download { endpoint, token, pinned: &pinned, file, name, patience };
                let mut staged = Staged::begin(&dir, name)?;
                let hub = |fault| Error::Hub { repo: pinned.repository(), file: name.clone(), fault: Box::new(fault) };
                download.run(&mut staged, watch).map_err(|stop| match stop {
                    Stop::Fault(fault) => hub(fault),
                    Stop::Error(error) => *error,
                })?;
                staged.sync()?;
                let right = check(kind, split, file, staged.path())?.map_err(hub)?;
                // the sum first: a file without one would be fetched again, a sum without a file is
                manifest.sums.insert(name.clone(), right.0.clone());
                manifest.write(&dir)?;
                staged.keep()?;
                right
            }
        };
        let bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
        files.push(FetchedFile { path, bytes, sha256, checked, downloaded });
    }
    Ok(Fetched { dir, repository: pinned.repository(), revision: pinned.revision.into(), files })
}

/// The sum of a file that is the pinned one, as far as anything is known of that; else how it differs.
fn check(
    kind: DatasetKind,
    split: &str,
    file: &PinnedFile,
    path: &Path,
) -> Result<Result<(String, Checked), HubFault>> {
    let found = sha256_file(path)?;
    if let Some(expected) = file.sha256 {
        let other = || HubFault::Other { what: "its sha256 is", found: found.clone(), expected: expected.into() };
        return Ok(if found == expected { Ok((found, Checked::File)) } else { Err(other()) });
    }
    match contents::compare(kind, split, path) {
        Ok(None) => Ok(Ok((found, Checked::Nothing))),
        Ok(Some(Ok(()))) => Ok(Ok((found, Checked::Contents))),
        Ok(Some(Err(Differs { what, found, expected }))) => {
            Ok(Err(HubFault::Other { what, found, expected: expected.into() }))
        }
        Err(error @ Error::Io { .. }) => Err(error),
        Err(error) => Ok(Err(HubFault::Unreadable { reason: error.to_string() })),
    }
}
