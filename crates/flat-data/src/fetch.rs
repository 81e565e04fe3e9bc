//! Downloads from the Hugging Face hub, checked against the sha256 that the hub announces.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hf_hub::progress::{DownloadEvent, Progress, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFError};
use serde::Serialize;

use crate::sums::is_sha256;
use crate::{DatasetKind, Error, Manifest, Result, sha256_file};

/// The hub's conversion of every data set to parquet.
const REVISION: &str = "refs/convert/parquet";
/// Where unfinished downloads lie, beside the finished ones.
const STAGING: &str = ".staging";
/// Held while a data set is fetched.
const LOCK: &str = ".lock";

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

/// The files of a [`fetch()`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// The folder of the data set: `<cache>/<kind>`.
    pub dir: PathBuf,
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
    /// Its sha256, as the hub announced it.
    pub sha256: String,
    /// Whether this call downloaded it; `false` where it was there with the recorded sum.
    pub downloaded: bool,
}

/// Downloads a data set's parquet files into `<cache_dir>/<kind>` ([`crate::cache_dir`] where none is given), from the hub or
/// the mirror that `HF_ENDPOINT` names.
///
/// A file takes its name only when its sha256 is the one the hub announced for it, and the sum is recorded in
/// [`crate::MANIFEST`]: an interrupted call leaves nothing that looks whole, and the next one downloads what is
/// missing (whole files; one that broke off starts anew). A file that is there with its recorded sum is not asked for
/// again. `progress` is called as bytes come, from the downloading thread.
///
/// # Errors
/// [`Error::MadeHere`] for a set that no hub has, [`Error::Hub`] if the hub cannot be reached or has no such file or sum, [`Error::Checksum`] if what came twice is
/// not what was announced, [`Error::Io`], [`Error::NoCacheDir`].
pub fn fetch(
    kind: DatasetKind,
    cache_dir: Option<&Path>,
    progress: impl Fn(&Transfer) + Send + Sync + 'static,
) -> Result<Fetched> {
    fetch_from(None, kind, cache_dir, progress)
}

/// As [`fetch()`], from the hub at this address rather than the one that the environment names.
///
/// # Errors
/// As [`fetch()`].
pub fn fetch_from(
    endpoint: Option<&str>,
    kind: DatasetKind,
    cache_dir: Option<&Path>,
    progress: impl Fn(&Transfer) + Send + Sync + 'static,
) -> Result<Fetched> {
    let repository = kind.hub.ok_or(Error::MadeHere(kind))?;
    let root = match cache_dir {
        Some(dir) => dir.to_path_buf(),
        None => crate::cache_dir()?,
    };
    let dir = root.join(kind.name());
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    // another process that fetches the same set is waited for; the lock goes with the file's handle
    let lock = dir.join(LOCK);
    let lock_file = fs::File::create(&lock).map_err(Error::io(&lock))?;
    lock_file.lock().map_err(Error::io(&lock))?;
    let hub = Hub { endpoint, repository, staging: dir.join(STAGING), progress: Arc::new(Report(progress)) };
    let mut manifest = Manifest::read(&dir)?;
    let mut files = Vec::new();
    for split in ["train", "test"] {
        let name = format!("{}/{split}/0000.parquet", repository[2]);
        let path = dir.join(&name);
        let recorded = manifest.sums.get(&name).filter(|_| path.is_file());
        let sha256 = match recorded {
            Some(sum) if sha256_file(&path)? == *sum => Some(sum.clone()),
            _ => None,
        };
        let downloaded = sha256.is_none();
        let sha256 = match sha256 {
            Some(sum) => sum,
            None => {
                let (blob, sum) = hub.download(&name)?;
                fs::File::open(&blob).and_then(|file| file.sync_all()).map_err(Error::io(&blob))?;
                // the sum first: a file without one would be fetched again, a sum without a file is
                manifest.sums.insert(name, sum.clone());
                manifest.write(&dir)?;
                let parent = path.parent().unwrap_or(&dir);
                fs::create_dir_all(parent).map_err(Error::io(parent))?;
                fs::rename(&blob, &path).map_err(Error::io(&path))?;
                sum
            }
        };
        let bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
        files.push(FetchedFile { path, bytes, sha256, downloaded });
    }
    if hub.staging.exists() {
        fs::remove_dir_all(&hub.staging).map_err(Error::io(&hub.staging))?;
    }
    Ok(Fetched { dir, files })
}

struct Hub<'a, F> {
    endpoint: Option<&'a str>,
    /// Owner, name and folder.
    repository: [&'static str; 3],
    staging: PathBuf,
    progress: Arc<Report<F>>,
}

impl<F: Fn(&Transfer) + Send + Sync + 'static> Hub<'_, F> {
    /// Downloads a file into the staging folder and checks it: its path there and its sum.
    fn download(&self, name: &str) -> Result<(PathBuf, String)> {
        // A broken-off transfer can leave a file under the announced name; so it is tried once more from nothing.
        match self.attempt(name) {
            Err(Error::Checksum { .. }) => self.attempt(name),
            result => result,
        }
    }

    fn attempt(&self, name: &str) -> Result<(PathBuf, String)> {
        let blob = self.request(name).map_err(|error| self.failed(name, reason(&error)))?;
        // The hub client files a download under its announced ETag, which for large files is their sha256.
        let announced = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_sha256(&announced) {
            return Err(self.failed(name, format!("the hub announces no sha256 for it, but the tag `{announced}`")));
        }
        let found = sha256_file(&blob)?;
        if found != announced {
            // both the file and what points to it, so that the next attempt starts from nothing
            fs::remove_dir_all(&self.staging).map_err(Error::io(&self.staging))?;
            return Err(Error::Checksum { path: blob, expected: announced, found, origin: "the hub".into() });
        }
        Ok((blob, found))
    }

    fn request(&self, name: &str) -> Result<PathBuf, HFError> {
        let mut builder = HFClient::builder().cache_dir(&self.staging);
        if let Some(endpoint) = self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        let [owner, dataset, _] = self.repository;
        let repository = builder.build_sync()?.dataset(owner, dataset);
        let pointer = repository
            .download_file()
            .filename(name)
            .revision(REVISION)
            .progress(Progress::from(self.progress.clone()))
            .send()?;
        Ok(fs::canonicalize(pointer)?)
    }

    fn failed(&self, name: &str, reason: String) -> Error {
        let [owner, dataset, _] = self.repository;
        Error::Hub { repo: format!("{owner}/{dataset}"), file: name.to_string(), reason }
    }
}

/// An error and what is behind it, in one line.
fn reason(error: &HFError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Passes the hub client's events on.
struct Report<F>(F);

impl<F: Fn(&Transfer) + Send + Sync> ProgressHandler for Report<F> {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Download(DownloadEvent::Progress { files }) = event {
            for file in files {
                let (done, total) = (file.bytes_completed, file.total_bytes);
                (self.0)(&Transfer { file: file.filename.clone(), done, total });
            }
        }
    }
}
