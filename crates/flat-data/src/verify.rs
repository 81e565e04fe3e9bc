//! Checks of the data on disk: sums and contents.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::batches::Form;
use crate::idx::{raw, read_images, read_labels, read_pairs};
use crate::sums::{known, recorded, sha256};
use crate::{Dataset, DatasetKind, Error, Format, Result, archive, locate, parquet_file, sha256_file};

/// The result of checking a data set on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The data set.
    pub kind: DatasetKind,
    /// The folder it lies in.
    pub dir: PathBuf,
    /// Its format.
    pub format: Format,
    /// File by file.
    pub files: Vec<FileReport>,
    /// Number of training examples; `None` if they do not read.
    pub train: Option<usize>,
    /// Number of test examples; `None` if they do not read.
    pub test: Option<usize>,
    /// What is wrong with an IDX set as a whole, such as more images than labels, or with its first unreadable file.
    pub problem: Option<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong: every file reads, no sum differs, and the files fit together.
    pub fn is_ok(&self) -> bool {
        self.problem.is_none() && self.files.iter().all(|file| file.problem.is_none())
    }
}

/// The result of checking one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its length, 0 if it cannot be read.
    pub bytes: u64,
    /// The sha256 of the file as it is; empty if it cannot be read.
    pub sha256: String,
    /// The outcome.
    pub state: FileState,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// The state of a checked file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileState {
    /// It has the sum that the manifest beside it records, and reads.
    Recorded,
    /// It is the pinned file of the hub, or its inflated contents have the sum of the original distribution; and it reads.
    Known,
    /// It reads, but there is no sum to compare with.
    Unchecked,
    /// Its sum is another one.
    Mismatch,
    /// It does not read.
    Corrupt,
}

/// Checks every file of a data set by its sha256 and by reading it whole, then that the files fit together. The sum
/// comes from the manifest beside the file, else from the known sums of the hub's files and of the original (MNIST and
/// Fashion-MNIST in IDX).
///
/// A file that is wrong is in the report, not an error.
///
/// # Errors
/// Those of [`locate()`], and [`Error::Corrupt`] for a manifest that does not parse.
pub fn verify(kind: DatasetKind, data_dir: Option<&Path>) -> Result<VerifyReport> {
    let files = locate(kind, data_dir)?;
    let (mut reports, mut counts) = (Vec::new(), [Some(0), Some(0)]);
    if files.format == Format::Archive {
        for path in &files.train {
            let (report, examples) =
                file(path, archive::read(path, kind).map(|(train, test)| [train.1.len(), test.1.len()]), None)?;
            reports.push(report);
            counts = examples.map_or([None; 2], |examples| examples.map(Some));
        }
    } else {
        for (paths, count) in [&files.train, &files.test].into_iter().zip(&mut counts) {
            for path in paths {
                let original = known(kind, &stem(path)).filter(|_| files.format == Format::Idx);
                let original = original.map(|sum| (sum, format!("the original {kind}, inflated,")));
                let (mut report, examples) = file(path, parse(kind, files.format, path), original)?;
                let pinned = kind.hub.iter().flat_map(|hub| &hub.files).any(|file| file.sha256 == Some(&report.sha256));
                if pinned && report.problem.is_none() {
                    report.state = FileState::Known;
                }
                *count = count.zip(examples).map(|(sum, n)| sum + n);
                reports.push(report);
            }
        }
    }
    let [mut train, mut test] = counts;
    let mut problem = None;
    // images and labels in files of their own must fit together, and not be those of the other such set
    if files.format == Format::Idx {
        match Dataset::read(kind, &files) {
            Ok(dataset) => (train, test) = (Some(dataset.train.len()), Some(dataset.test.len())),
            Err(error) => (train, test, problem) = (None, None, Some(error.to_string())),
        }
    }
    Ok(VerifyReport { kind, dir: files.dir, format: files.format, files: reports, train, test, problem })
}

/// The report on a file that was read as `parsed`, and what that is where it reads. `original` is the sum that its inflated
/// bytes have in the original distribution, and whose that is.
fn file<T>(path: &Path, parsed: Result<T>, original: Option<(&str, String)>) -> Result<(FileReport, Option<T>)> {
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let sha256 = sha256_file(path).unwrap_or_default();
    let expected = recorded(path)?;
    let mismatch = |expected: &str, found: &str, origin: String| {
        let (expected, found) = (expected.to_string(), found.to_string());
        let error = Error::Checksum { path: path.to_path_buf(), expected, found, origin };
        (FileState::Mismatch, Some(error.to_string()))
    };
    let (state, problem) = match (&expected, &parsed) {
        (Some((sum, manifest)), _) if *sum != sha256 => mismatch(sum, &sha256, manifest.display().to_string()),
        (_, Err(error)) => (FileState::Corrupt, Some(error.to_string())),
        (Some(_), Ok(_)) => (FileState::Recorded, None),
        (None, Ok(_)) => match original {
            None => (FileState::Unchecked, None),
            Some((sum, whose)) => {
                let found = raw(path).and_then(|reader| self::sha256(reader).map_err(Error::io(path)))?;
                match found == sum {
                    true => (FileState::Known, None),
                    false => mismatch(sum, &found, whose),
                }
            }
        },
    };
    Ok((FileReport { path: path.to_path_buf(), bytes, sha256, state, problem }, parsed.ok()))
}

/// The file's name without `.gz`, and with the dash of the original distribution.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".gz").unwrap_or(&name).replace(".idx", "-idx")
}

/// Reads a file whole: its number of examples.
fn parse(kind: DatasetKind, format: Format, path: &Path) -> Result<usize> {
    match format {
        Format::Idx if stem(path).contains("labels") => match kind.attributes {
            0 => read_labels(path, kind.classes).map(|labels| labels.len()),
            attributes => read_pairs(path, kind.classes, attributes).map(|pairs| pairs.len() / 2),
        },
        Format::Idx => read_images(path, kind.channels, kind.size)
            .map(|images| images.len() / kind.shape().iter().product::<usize>()),
        Format::Binary => Form::Binary.read(path, kind).map(|(_, labels)| labels.len()),
        Format::Python => Form::Python.read(path, kind).map(|(_, labels)| labels.len()),
        Format::Archive => archive::read(path, kind).map(|((_, train), (_, test))| train.len() + test.len()),
        Format::Parquet => parquet_file::read(path, kind).map(|(_, labels)| labels.len()),
    }
}
