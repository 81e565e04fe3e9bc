//! A data set read from disk.

use std::path::{Path, PathBuf};

use crate::cifar::read_batch;
use crate::idx::{raw, read_images, read_labels};
use crate::sums::{owner, sha256};
use crate::{DatasetKind, Error, Fault, Files, Format, Place, Result, Split, locate, parquet_file};

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
        Ok(Self {
            kind,
            train: read_split(kind, files.format, &files.train)?,
            test: read_split(kind, files.format, &files.test)?,
        })
    }
}

fn read_split(kind: DatasetKind, format: Format, files: &[PathBuf]) -> Result<Split> {
    let (images, labels) = match (format, files) {
        (Format::Idx, [images, labels]) => read_idx(kind, images, labels)?,
        _ => {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for file in files {
                let (more_images, more_labels) = match format {
                    Format::Parquet => parquet_file::read(file, kind)?,
                    _ => read_batch(file, kind)?,
                };
                images.extend(more_images);
                labels.extend(more_labels);
            }
            (images, labels)
        }
    };
    Split::new(images, labels, kind.shape(), kind.classes())
}

fn read_idx(kind: DatasetKind, images: &Path, labels: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let label_values = read_labels(labels, kind.classes())?;
    // MNIST and Fashion-MNIST come under the same file names; their label files are known
    let sum = sha256(raw(labels)?).map_err(Error::io(labels))?;
    if let Some(other) = owner(&sum).filter(|other| *other != kind) {
        return Err(Error::corrupt(labels, Place::Whole, Fault::OtherDataset(other)));
    }
    let pixels = read_images(images, kind.size())?;
    let n = pixels.len() / (kind.size() * kind.size());
    if n != label_values.len() {
        return Err(Error::corrupt(labels, Place::Whole, Fault::Count { images: n, labels: label_values.len() }));
    }
    Ok((pixels, label_values))
}
