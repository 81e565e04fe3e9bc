//! The batch files of CIFAR-10 and CIFAR-100, in their two forms: names, and the archives they are distributed in.

use std::path::Path;

use crate::cifar::{parse_batch, read_batch};
use crate::error::Wrong;
use crate::python_batch::{parse_python_batch, read_python_batch};
use crate::split::Examples;
use crate::{DatasetKind, Format, Result};

/// How a batch's images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Records of bytes.
    Binary,
    /// A pickled dict.
    Python,
}

impl Form {
    pub(crate) const ALL: [Self; 2] = [Self::Binary, Self::Python];

    pub(crate) fn format(self) -> Format {
        match self {
            Self::Binary => Format::Binary,
            Self::Python => Format::Python,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Binary => ".bin",
            Self::Python => "",
        }
    }

    /// The distributed archive, without `.tar.gz`.
    pub(crate) fn archive(self, kind: DatasetKind) -> String {
        let form = if self == Self::Binary { "binary" } else { "python" };
        format!("{}-{form}", kind.batches.archive)
    }

    /// Names of the training files, in order, and of the test file.
    pub(crate) fn names(self, kind: DatasetKind) -> (Vec<String>, String) {
        let named = |name: &str| format!("{name}{}", self.suffix());
        (kind.batches.train.iter().map(|name| named(name)).collect(), named(kind.batches.test))
    }

    pub(crate) fn read(self, path: &Path, kind: DatasetKind) -> Result<Examples> {
        match self {
            Self::Binary => read_batch(path, kind),
            Self::Python => read_python_batch(path, kind),
        }
    }

    pub(crate) fn parse(self, bytes: &[u8], kind: DatasetKind) -> Result<Examples, Wrong> {
        match self {
            Self::Binary => parse_batch(bytes, kind),
            Self::Python => parse_python_batch(bytes, kind),
        }
    }
}
