//! Where a data set lies and in which format.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

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
    /// Training files, in order; of an IDX set the images, then the labels.
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
        let mut dirs = vec![root.join(kind.name())];
        // `data/mnist` itself is no Fashion-MNIST, though the files have the same names
        if !DatasetKind::ALL.iter().any(|other| *other != kind && root.ends_with(other.name())) {
            dirs.push(root.clone());
        }
        for dir in dirs {
            if let Some(files) = locate_in(kind, &dir)? {
                return Ok(files);
            }
            looked.push(dir);
        }
    }
    let mut remedy = format!("fetch it with `flat-train data fetch {kind}`, or name its folder");
    if kind == DatasetKind::FashionMnist {
        remedy += &format!(", or install Debian's dataset-fashion-mnist, which puts it in {SYSTEM}/{kind}");
    }
    Err(Error::NotFound { kind, looked, remedy })
}

/// The files of a data set in this folder (or its customary subfolders, such as `cifar-10-batches-bin`); `None` where
/// there is none of them.
///
/// # Errors
/// [`Error::Incomplete`] if some are there and some not, [`Error::Io`] if a folder cannot be read.
pub fn locate_in(kind: DatasetKind, dir: &Path) -> Result<Option<Files>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    let subfolders: &[&str] = match kind {
        DatasetKind::Cifar10 => &["", "cifar-10-batches-bin"],
        DatasetKind::Cifar100 => &["", "cifar-100-binary"],
        _ => &["", "raw"],
    };
    for subfolder in subfolders {
        let dir = if subfolder.is_empty() { dir.to_path_buf() } else { dir.join(subfolder) };
        let found = if kind.is_idx() { idx(kind, &dir)? } else { binary(kind, &dir)? };
        if found.is_some() {
            return Ok(found);
        }
    }
    for config in [kind.hub_config(), "plain_text"] {
        if let Some(files) = parquet(kind, &dir.join(config))? {
            return Ok(Some(files));
        }
    }
    Ok(None)
}

fn idx(kind: DatasetKind, dir: &Path) -> Result<Option<Files>> {
    let stems = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
    let find = |stem: &&str| {
        let names = [format!("{stem}-ubyte"), format!("{stem}-ubyte.gz")];
        names.iter().map(|name| dir.join(name)).find(|path| path.is_file())
    };
    let found: Vec<Option<PathBuf>> = stems.iter().map(find).collect();
    match found.iter().position(Option::is_none) {
        _ if found.iter().all(Option::is_none) => Ok(None),
        Some(missing) => {
            let missing = format!("{0}-ubyte or {0}-ubyte.gz", stems[missing]);
            Err(Error::Incomplete { kind, dir: dir.to_path_buf(), missing })
        }
        None => {
            let mut train: Vec<PathBuf> = found.into_iter().flatten().collect();
            let test = train.split_off(2);
            Ok(Some(Files { format: Format::Idx, dir: dir.to_path_buf(), train, test }))
        }
    }
}

fn binary(kind: DatasetKind, dir: &Path) -> Result<Option<Files>> {
    let (train, test) = match kind {
        DatasetKind::Cifar100 => (vec![dir.join("train.bin")], dir.join("test.bin")),
        _ => {
            let batch = |i: usize| dir.join(format!("data_batch_{i}.bin"));
            // at most the five of the original; a gap is noticed below
            let last = (1..=5).rev().find(|&i| batch(i).is_file()).unwrap_or(1);
            ((1..=last).map(batch).collect(), dir.join("test_batch.bin"))
        }
    };
    let all: Vec<&PathBuf> = train.iter().chain([&test]).collect();
    match all.iter().find(|path| !path.is_file()) {
        _ if all.iter().all(|path| !path.is_file()) => Ok(None),
        Some(missing) => {
            let missing = missing.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(Error::Incomplete { kind, dir: dir.to_path_buf(), missing })
        }
        None => Ok(Some(Files { format: Format::Binary, dir: dir.to_path_buf(), train, test: vec![test] })),
    }
}

fn parquet(kind: DatasetKind, dir: &Path) -> Result<Option<Files>> {
    let (train, test) = (shards(&dir.join("train"))?, shards(&dir.join("test"))?);
    match (train.is_empty(), test.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(Files { format: Format::Parquet, dir: dir.to_path_buf(), train, test })),
        (no_train, _) => {
            let missing = format!("{}/*.parquet", if no_train { "train" } else { "test" });
            Err(Error::Incomplete { kind, dir: dir.to_path_buf(), missing })
        }
    }
}

/// The parquet files of a folder in the order of their names; none where there is no such folder.
fn shards(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
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
