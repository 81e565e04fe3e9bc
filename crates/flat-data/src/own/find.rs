//! What a path holds: a folder of images, an `.npz`, IDX files, or CIFAR's.

use std::path::{Path, PathBuf};

use super::folder::folders;
use super::idx_file::{self, IdxFiles};
use crate::{DatasetKind, Error, Files, Format, Result, locate_in};

/// Files of one's own, by their form.
#[derive(Debug)]
pub(super) enum Found {
    /// Folders of classes: to train on, to test on, and others to test on that are left out.
    Folder(PathBuf, Option<PathBuf>, Vec<PathBuf>),
    /// Arrays of NumPy.
    Npz(PathBuf),
    /// Images and labels to train on, and to test on.
    Idx([PathBuf; 2], Option<[PathBuf; 2]>),
    /// CIFAR's batches or archive.
    Cifar(DatasetKind, Files),
}

/// Names of the folder to test on, the first one that is there.
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];
/// Names of the folder to train on.
const TRAIN: [&str; 2] = ["train", "training"];

/// Looks at what a path holds.
///
/// # Errors
/// [`Error::Unusable`] where that is none of the known forms, or more than one; [`Error::Io`].
pub(super) fn find(path: &Path) -> Result<Found> {
    let there = path.metadata().map_err(Error::io(path))?;
    if there.is_dir() { in_folder(path) } else { file(path) }
}

fn file(path: &Path) -> Result<Found> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.ends_with(".npz") {
        return Ok(Found::Npz(path.into()));
    }
    if let Some(prefix) = idx_file::prefix(path) {
        let dir = path.parent().unwrap_or(Path::new(""));
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let files = idx_file::find(dir)?.into_iter().find(|files| files.prefix == prefix);
        return idx(files.unwrap_or_default(), dir);
    }
    let kinds = [(DatasetKind::Cifar100, ["cifar-100", "cifar100"]), (DatasetKind::Cifar10, ["cifar-10", "cifar10"])];
    let kind = kinds.iter().find(|(_, names)| names.iter().any(|known| name.contains(known)));
    let archive = [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end));
    match kind.filter(|_| archive) {
        Some((kind, _)) => {
            let (dir, files) = (path.parent().unwrap_or(Path::new("")).into(), vec![path.to_path_buf()]);
            Ok(Found::Cifar(*kind, Files { format: Format::Archive, dir, train: files.clone(), test: files }))
        }
        None => Err(Error::unusable(
            path,
            if archive { "it is no archive of CIFAR's" } else { "it is no file of images that is known" },
            "give a folder with a folder of PNG or JPEG files for each class (unpack an archive of them), an .npz, IDX files or \
             CIFAR's",
        )),
    }
}

fn in_folder(dir: &Path) -> Result<Found> {
    for dir in [dir.to_path_buf(), dir.join("raw"), dir.join("gzip")] {
        let mut sets = if dir.is_dir() { idx_file::find(&dir)? } else { Vec::new() };
        match sets.len() {
            0 => {}
            1 => return idx(sets.remove(0), &dir),
            n => {
                let names: Vec<String> = sets.iter().map(|set| format!("{}…", set.prefix)).collect();
                let problem = format!("it holds {n} data sets of IDX files, {}", names.join(", "));
                return Err(Error::unusable(&dir, problem, "give the path of the training images of one"));
            }
        }
    }
    for kind in [DatasetKind::Cifar10, DatasetKind::Cifar100] {
        if let Some(files) = locate_in(kind, dir)? {
            return Ok(Found::Cifar(kind, files));
        }
    }
    let part = |names: &[&str]| names.iter().map(|name| dir.join(name)).find(|path| path.is_dir());
    match part(&TRAIN) {
        Some(train) => {
            // a folder to test on may have no classes, as that of a contest
            let with_classes = |path: &PathBuf| folders(path).is_ok_and(|folders| !folders.is_empty());
            let mut tests = TEST.iter().map(|name| dir.join(name)).filter(|path| path.is_dir() && with_classes(path));
            Ok(Found::Folder(train, tests.next(), tests.collect()))
        }
        None if folders(dir)?.is_empty() => {
            let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
                .map_err(Error::io(dir))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "npz"))
                .collect();
            match (files.pop(), files.is_empty()) {
                (Some(file), true) => Ok(Found::Npz(file)),
                (Some(_), false) => Err(Error::unusable(dir, "it holds several .npz files", "give the path of one")),
                (None, _) => Err(Error::unusable(
                    dir,
                    "it holds no images that are known",
                    "give a folder with a folder of PNG or JPEG files for each class, an .npz, IDX files or CIFAR's",
                )),
            }
        }
        None => Ok(Found::Folder(dir.into(), None, Vec::new())),
    }
}

fn idx(files: IdxFiles, dir: &Path) -> Result<Found> {
    let pair = |[images, labels]: [Option<PathBuf>; 2], part: &str| match (images, labels) {
        (Some(images), Some(labels)) => Ok(Some([images, labels])),
        (None, None) => Ok(None),
        (images, _) => {
            let missing = if images.is_none() { "images" } else { "labels" };
            let problem = format!("the file of the {part} {missing} is missing");
            Err(Error::unusable(dir, problem, format!("put {}{part}-{missing}-… beside the others", files.prefix)))
        }
    };
    let (train, test) = (pair(files.train, "train")?, pair(files.test, "test")?);
    match train {
        Some(train) => Ok(Found::Idx(train, test)),
        None => Err(Error::unusable(dir, "it holds no training images", "put train-images-idx3-ubyte there")),
    }
}
