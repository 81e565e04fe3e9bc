//! The search for a data set on disk: which folders are tried, which format is found.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::batches::Form;
use crate::layout::{self, Found};
use crate::seen::Looked;
use crate::{DatasetKind, Error, Result, cache_dir};

/// A file format of image data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// IDX, plain or gzipped: a file of images and a file of labels.
    Idx,
    /// CIFAR's binary batches.
    Binary,
    /// CIFAR's Python batches, pickled.
    Python,
    /// An archive of CIFAR's batches of either sort, `.tar.gz` or `.tar`.
    Archive,
    /// The Hugging Face hub's parquet files.
    Parquet,
}

/// The files of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Their format.
    pub format: Format,
    /// The folder they were found in.
    pub dir: PathBuf,
    /// Training files, in order; of an IDX set the images, then the labels; the archive, if it is one.
    pub train: Vec<PathBuf>,
    /// Test files, as `train`.
    pub test: Vec<PathBuf>,
}

/// Folders of a distribution that hold data sets by name, such as Debian's `dataset-fashion-mnist`.
const SYSTEM: &str = "/usr/share/datasets";

/// Finds the files of a data set.
///
/// With a `data_dir`, that folder alone is searched: its `<kind>/` subfolder, then itself. Without, in turn and in the
/// same way: `$FLAT_DATA_DIR`; `data/` beside the working directory, and beside every folder above it up to the one
/// with the workspace's `Cargo.lock`; `/usr/share/datasets`; the download cache ([`cache_dir`]).
///
/// # Errors
/// [`Error::NotFound`] lists where it looked and the remedy; [`Error::Incomplete`] if a folder has some of the files.
pub fn locate(kind: DatasetKind, data_dir: Option<&Path>) -> Result<Files> {
    match data_dir {
        Some(dir) => search(kind, &[dir.to_path_buf()]),
        None => {
            let environment = std::env::var_os("FLAT_DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
            let beside = std::env::current_dir().map(|dir| data_folders(&dir)).unwrap_or_default();
            let roots = environment.into_iter().chain(beside).chain([PathBuf::from(SYSTEM)]).chain(cache_dir().ok());
            search(kind, &roots.collect::<Vec<_>>())
        }
    }
}

/// `data` beside a folder and the folders above it up to the one with a `Cargo.lock`; beside the folder alone where
/// there is none.
fn data_folders(dir: &Path) -> Vec<PathBuf> {
    let depth = dir.ancestors().position(|above| above.join("Cargo.lock").is_file()).unwrap_or(0);
    dir.ancestors().take(depth + 1).map(|above| above.join("data")).collect()
}

fn search(kind: DatasetKind, roots: &[PathBuf]) -> Result<Files> {
    let mut looked = Vec::new();
    for root in roots {
        let mut part = None;
        for (dir, own) in [(root.join(kind.name()), true), (root.clone(), others_folder(kind, root).is_none())] {
            match find(kind, &dir, own) {
                Ok(Some(files)) => {
                    tracing::info!(set = %kind, format = ?files.format, dir = %files.dir.display(), "files found");
                    return Ok(files);
                }
                Ok(None) => {}
                Err(error @ Error::Incomplete { .. }) => part = part.or(Some(error)),
                Err(error) => return Err(error),
            }
            tracing::debug!(set = %kind, dir = %dir.display(), "no files");
            looked.push(Looked::at(&dir, others_folder(kind, &dir).filter(|_| !own)));
        }
        if let Some(error) = part {
            return Err(error);
        }
    }
    Err(Error::NotFound { kind, looked, remedy: remedy(kind) })
}

fn remedy(kind: DatasetKind) -> String {
    let how = if kind.hub.is_some() { "fetch" } else { "make" };
    let mut remedy = format!("{how} it with `flat-train {}`, or name its folder with --data-dir", kind.get());
    if !kind.elsewhere.is_empty() {
        remedy += &format!(", or {}", kind.elsewhere);
    }
    remedy
}

/// The other data set that a folder is named after: `data/mnist` itself is no Fashion-MNIST, though the files have the
/// same names. The last component that is the name of one counts.
fn others_folder(kind: DatasetKind, dir: &Path) -> Option<DatasetKind> {
    let named = |component: &std::ffi::OsStr| {
        DatasetKind::ALL.iter().copied().find(|kind| kind.folders.iter().any(|name| component == *name))
    };
    let near = dir.components().rev().take(3);
    near.filter_map(|component| named(component.as_os_str())).next().filter(|named| *named != kind)
}

/// The files of a data set in this folder or in a usual folder below. Usual are `MNIST/raw`, `cifar-10-batches-py`,
/// `plain_text`, `data` and `snapshots/*` of the hub's cache. `None` where there is none of them.
///
/// # Errors
/// [`Error::Incomplete`] if some are there, some not, and no folder has them all; [`Error::Ambiguous`];
/// [`Error::Io`] if a folder cannot be read.
pub fn locate_in(kind: DatasetKind, dir: &Path) -> Result<Option<Files>> {
    find(kind, dir, true)
}

/// As [`locate_in`]; only in subfolders of the data set's own names where the folder is not its `own`.
fn find(kind: DatasetKind, dir: &Path, own: bool) -> Result<Option<Files>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    let mut part = None;
    let mut whole = |dir: &Path, found: Found| match found {
        Found::Whole(files) => Some(files),
        Found::Part(missing) => {
            part.get_or_insert_with(|| Error::Incomplete { kind, dir: dir.to_path_buf(), missing });
            None
        }
        Found::Nothing => None,
    };
    let named = kind.folders.iter().map(|name| dir.join(name));
    let bases: Vec<PathBuf> = own.then(|| dir.to_path_buf()).into_iter().chain(named).collect();
    for base in &bases {
        for dir in [base.clone(), base.join("raw")] {
            if kind.is_idx() {
                if let Some(files) = whole(&dir, layout::idx(kind, &dir)) {
                    return Ok(Some(files));
                }
                continue;
            }
            for form in Form::ALL {
                if let Some(files) = whole(&dir, layout::batches(kind, form, &dir)) {
                    return Ok(Some(files));
                }
            }
        }
    }
    if let Some(hub) = kind.hub {
        for base in bases.iter().cloned().chain(snapshots([hub.owner, hub.name], dir, own)?) {
            for folder in ["", hub.folder, "plain_text", "data", "default"] {
                let dir = if folder.is_empty() { base.clone() } else { base.join(folder) };
                if let Some(files) = whole(&dir, layout::parquet(kind, &dir)?) {
                    return Ok(Some(files));
                }
            }
        }
    }
    for base in bases.iter().filter(|_| !kind.is_idx()) {
        if let Some(files) = whole(base, layout::archive(kind, base)) {
            return Ok(Some(files));
        }
    }
    part.map_or(Ok(None), Err)
}

/// The snapshots of a data set, by its owner and name, in a folder of the hub's cache, `datasets--owner--name/snapshots/<revision>`, in the order
/// of their names.
fn snapshots([owner, name]: [&str; 2], dir: &Path, own: bool) -> Result<Vec<PathBuf>> {
    let cached = dir.join(format!("datasets--{owner}--{name}"));
    let mut found = Vec::new();
    for folder in own.then(|| dir.join("snapshots")).into_iter().chain([cached.join("snapshots")]) {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            found.push(entry.map_err(Error::io(&folder))?.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("dir");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, b"").expect("file");
        }
        root
    }

    fn names(files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|f| f.file_name().expect("name").to_string_lossy().into_owned()).collect()
    }

    const IDX: [&str; 4] = [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte.gz",
    ];

    #[test]
    fn idx_files_are_found_in_the_folder_itself_and_in_the_one_named_after_the_set() {
        let root = tree(&IDX.map(|name| format!("mnist/{name}")).each_ref().map(String::as_str));
        for dir in [root.path().to_path_buf(), root.path().join("mnist")] {
            let files = locate(DatasetKind::Mnist, Some(&dir)).expect("mnist");
            assert_eq!((files.format, files.dir), (Format::Idx, root.path().join("mnist")));
            assert_eq!(
                (names(&files.train), names(&files.test)),
                (IDX[..2].iter().map(|s| s.to_string()).collect(), IDX[2..].iter().map(|s| s.to_string()).collect())
            );
        }
    }

    #[test]
    fn the_folder_of_another_set_is_not_taken_for_this_one() {
        let root = tree(&IDX.map(|name| format!("mnist/{name}")).each_ref().map(String::as_str));
        let error = locate(DatasetKind::FashionMnist, Some(&root.path().join("mnist"))).expect_err("not fashion");
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }

    #[test]
    fn cifar_batches_are_found_in_order_and_a_gap_is_noticed() {
        let root = tree(&[
            "cifar-10-batches-bin/data_batch_1.bin",
            "cifar-10-batches-bin/data_batch_2.bin",
            "cifar-10-batches-bin/test_batch.bin",
        ]);
        let files = locate(DatasetKind::Cifar10, Some(root.path())).expect("cifar10");
        assert_eq!(
            (files.format, names(&files.train)),
            (Format::Binary, vec!["data_batch_1.bin".to_string(), "data_batch_2.bin".into()])
        );
        let root = tree(&["data_batch_1.bin", "data_batch_3.bin", "test_batch.bin"]);
        match locate(DatasetKind::Cifar10, Some(root.path())) {
            Err(Error::Incomplete { missing, .. }) => assert_eq!(missing, "data_batch_2.bin"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parquet_shards_are_found_under_either_name_and_sorted() {
        let root = tree(&[
            "cifar100/cifar100/train/0001.parquet",
            "cifar100/cifar100/train/0000.parquet",
            "cifar100/cifar100/test/0000.parquet",
        ]);
        let files = locate(DatasetKind::Cifar100, Some(root.path())).expect("cifar100");
        assert_eq!(
            (files.format, names(&files.train)),
            (Format::Parquet, vec!["0000.parquet".to_string(), "0001.parquet".into()])
        );
        let root = tree(&["plain_text/train/0000.parquet", "plain_text/test/0000.parquet"]);
        assert!(locate(DatasetKind::Cifar100, Some(root.path())).is_ok());
    }

    #[test]
    fn a_set_with_a_missing_file_is_an_error_that_names_it() {
        let root = tree(&IDX[..3]);
        let error = locate(DatasetKind::Mnist, Some(root.path())).expect_err("incomplete").to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte"), "{error}");
        let root = tree(&["plain_text/train/0000.parquet"]);
        let error = locate(DatasetKind::Cifar10, Some(root.path())).expect_err("incomplete").to_string();
        assert!(error.contains("test/*.parquet"), "{error}");
    }

    #[test]
    fn what_is_not_found_is_answered_with_the_places_and_the_remedy() {
        let root = tree(&[]);
        let error = locate(DatasetKind::Cifar10, Some(root.path())).expect_err("nothing").to_string();
        assert!(error.contains(&root.path().join("cifar10").display().to_string()), "{error}");
        assert!(error.contains("flat-train data fetch cifar10"), "{error}");
        let error = locate(DatasetKind::FashionMnist, Some(root.path())).expect_err("nothing").to_string();
        assert!(
            error.contains("dataset-fashion-mnist") && error.contains("/usr/share/datasets/fashion-mnist"),
            "{error}"
        );
    }

    #[test]
    fn the_data_folder_is_looked_for_up_to_the_workspace_root() {
        let root = tree(&["w/Cargo.lock", "w/crates/one/src/lib.rs"]);
        let dir = root.path().join("w/crates/one");
        let expected = ["w/crates/one/data", "w/crates/data", "w/data"].map(|d| root.path().join(d));
        assert_eq!(data_folders(&dir), expected);
    }
}
