//! A data set read from disk.

use std::path::{Path, PathBuf};

use crate::batches::Form;
use crate::idx::{label_file, read_images, read_labels};
use crate::split::Examples;
use crate::sums::{owner, sha256};
use crate::{DatasetKind, Error, Fault, Files, Format, Place, Result, Split, archive, locate, parquet_file};

/// A training and a test split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Which data set it is.
    pub kind: DatasetKind,
    /// The training examples.
    pub train: Split,
    /// The test examples.
    pub test: Split,
}

impl Dataset {
    /// Finds a data set (see [`locate()`] for where) and reads it.
    ///
    /// # Errors
    /// [`Error::NotFound`] with the remedy, [`Error::Incomplete`], [`Error::Io`], and [`Error::Corrupt`] for a file
    /// that does not hold what it should.
    pub fn load(kind: DatasetKind, data_dir: Option<&Path>) -> Result<Self> {
        Self::read(kind, &locate(kind, data_dir)?)
    }

    /// Reads a data set from files that [`locate()`] found.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corrupt`].
    pub fn read(kind: DatasetKind, files: &Files) -> Result<Self> {
        let (train, test) = match files.format {
            Format::Archive => archive::read(one(kind, files, &files.train)?, kind)?,
            _ => (read_split(kind, files, &files.train)?, read_split(kind, files, &files.test)?),
        };
        let split = |(images, labels)| Split::new(images, labels, kind.shape(), kind.classes);
        Ok(Self { kind, train: split(train)?, test: split(test)? })
    }
}

/// The only file of an archive.
fn one<'a>(kind: DatasetKind, files: &'a Files, list: &'a [PathBuf]) -> Result<&'a Path> {
    match list {
        [path] => Ok(path),
        _ => Err(Error::Incomplete { kind, dir: files.dir.clone(), missing: "the one archive".into() }),
    }
}

fn read_split(kind: DatasetKind, files: &Files, list: &[PathBuf]) -> Result<Examples> {
    let read: &dyn Fn(&Path) -> Result<Examples> = match (files.format, list) {
        (Format::Idx, [images, labels]) => return read_idx(kind, images, labels),
        (Format::Idx, _) => {
            let missing = "a file of images and one of labels".into();
            return Err(Error::Incomplete { kind, dir: files.dir.clone(), missing });
        }
        (Format::Archive, _) => &|path| Ok(archive::read(path, kind)?.0),
        (Format::Parquet, _) => &|path| parquet_file::read(path, kind),
        (Format::Binary, _) => &|path| Form::Binary.read(path, kind),
        (Format::Python, _) => &|path| Form::Python.read(path, kind),
    };
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for file in list {
        let (more_images, more_labels) = read(file)?;
        images.extend(more_images);
        labels.extend(more_labels);
    }
    if let ([file, ..], true) = (list, kind.is_idx()) {
        check_owner(kind, file, &labels)?;
    }
    Ok((images, labels))
}

/// MNIST and Fashion-MNIST come under the same file names; their labels are known.
fn check_owner(kind: DatasetKind, file: &Path, labels: &[u8]) -> Result<()> {
    let sum = sha256(label_file(labels)).map_err(Error::io(file))?;
    match owner(&sum).filter(|other| *other != kind) {
        Some(other) => Err(Error::corrupt(file, Place::Whole, Fault::OtherDataset(other))),
        None => Ok(()),
    }
}

fn read_idx(kind: DatasetKind, images: &Path, labels: &Path) -> Result<Examples> {
    let label_values = read_labels(labels, kind.classes)?;
    check_owner(kind, labels, &label_values)?;
    let pixels = read_images(images, kind.size)?;
    let n = pixels.len() / (kind.size * kind.size);
    if n != label_values.len() {
        return Err(Error::corrupt(labels, Place::Whole, Fault::Count { images: n, labels: label_values.len() }));
    }
    Ok((pixels, label_values))
}
