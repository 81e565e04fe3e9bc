//! A data set in memory: its training and test split, read from disk.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::batches::Form;
use crate::idx::{label_file, read_images, read_labels, read_pairs};
use crate::split::{Examples, label_bytes};
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
        let begun = Instant::now();
        let split = |(images, labels)| Split::new(images, labels, kind.shape(), kind.classes);
        let [train, test] = match files.format {
            Format::Archive => <[_; 2]>::from(archive::read(one(kind, files, &files.train)?, kind)?).map(split),
            Format::Idx => [&files.train, &files.test].map(|list| read_idx(kind, files, list)),
            _ => [&files.train, &files.test].map(|list| read_split(kind, files, list).and_then(split)),
        };
        let (train, test) = (train?, test?);
        let s = begun.elapsed().as_secs_f64();
        tracing::info!(set = %kind, train = train.len(), test = test.len(), s, "data set read");
        Ok(Self { kind, train, test })
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
    let read: &dyn Fn(&Path) -> Result<Examples> = match files.format {
        Format::Python => &|path| Form::Python.read(path, kind),
        Format::Binary => &|path| Form::Binary.read(path, kind),
        Format::Parquet => &|path| parquet_file::read(path, kind),
        Format::Archive | Format::Idx => {
            let missing = "its files of another form".into();
            return Err(Error::Incomplete { kind, dir: files.dir.clone(), missing });
        }
    };
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for file in list {
        let (more_images, more_labels) = read(file)?;
        images.extend(more_images);
        labels.extend(more_labels);
    }
    if let ([file, ..], true) = (list, kind.is_idx()) {
        check_owner(kind, file, &label_bytes(&labels))?;
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

fn read_idx(kind: DatasetKind, files: &Files, list: &[PathBuf]) -> Result<Split> {
    let [images, labels] = list else {
        let missing = "a file of images and one of labels".into();
        return Err(Error::Incomplete { kind, dir: files.dir.clone(), missing });
    };
    let (classes, attributes): (Vec<u8>, Vec<u8>) = match kind.attributes {
        0 => {
            let classes = read_labels(labels, kind.classes)?;
            check_owner(kind, labels, &classes)?;
            (classes, Vec::new())
        }
        attributes => {
            let pairs = read_pairs(labels, kind.classes, attributes)?;
            pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip()
        }
    };
    let pixels = read_images(images, kind.channels, kind.size)?;
    let n = pixels.len() / kind.shape().iter().product::<usize>();
    if n != classes.len() {
        return Err(Error::corrupt(labels, Place::Whole, Fault::Count { images: n, labels: classes.len() }));
    }
    let classes = classes.into_iter().map(u16::from).collect();
    let split = Split::new(pixels, classes, kind.shape(), kind.classes)?;
    if kind.attributes == 0 { Ok(split) } else { split.with_attributes(attributes, kind.attributes) }
}
