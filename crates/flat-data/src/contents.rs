//! The sums of a split's contents: those of the IDX files that hold the same images and labels.

use std::path::Path;

use crate::split::label_bytes;
use crate::sums::{known, sha256};
use crate::{DatasetKind, Error, Result, idx, parquet_file};

/// A content of a file whose sum is not the original's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Differs {
    /// Images or labels.
    pub what: &'static str,
    /// Its sum.
    pub found: String,
    /// The original's.
    pub expected: &'static str,
}

/// Compares images and labels of a parquet file of a split, `train` or `test`, with the original distribution. `None` where
/// that one's sums are not known.
///
/// # Errors
/// Those of reading the file.
pub(crate) fn compare(kind: DatasetKind, split: &str, path: &Path) -> Result<Option<Result<(), Differs>>> {
    let of = if split == "test" { "t10k" } else { split };
    let original = |what, sides: u8| known(kind, &format!("{of}-{what}-idx{sides}-ubyte"));
    let (Some(images_sum), Some(labels_sum)) = (original("images", 3), original("labels", 1)) else { return Ok(None) };
    let (images, labels) = parquet_file::read(path, kind)?;
    let dimensions = [labels.len(), kind.size, kind.size];
    for (what, dimensions, bytes, expected) in [
        ("the sha256 of its images is", &dimensions[..], &images, images_sum),
        ("the sha256 of its labels is", &dimensions[..1], &label_bytes(&labels), labels_sum),
    ] {
        let found = sha256(&idx::written(dimensions, bytes)[..]).map_err(Error::io(path))?;
        if found != expected {
            return Ok(Some(Err(Differs { what, found, expected })));
        }
    }
    Ok(Some(Ok(())))
}
