//! A record of what a search for data found in each folder.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::DatasetKind;

/// Names listed of a folder.
const LISTED: usize = 6;

/// A folder that was searched in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The folder.
    pub dir: PathBuf,
    /// What is there instead.
    pub seen: Seen,
}

/// The contents of a folder that lacks the data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// No such folder.
    Nothing,
    /// A file, where a folder is looked for.
    File,
    /// It goes by the name of another data set.
    OtherDataset(DatasetKind),
    /// A folder.
    Names {
        /// The first names in it, in order; folders end in `/`.
        first: Vec<String>,
        /// How many more there are.
        more: usize,
    },
}

impl Looked {
    pub(crate) fn at(dir: &Path, other: Option<DatasetKind>) -> Self {
        let seen = match fs::read_dir(dir) {
            _ if dir.is_file() => Seen::File,
            Err(_) => Seen::Nothing,
            Ok(_) if let Some(other) = other => Seen::OtherDataset(other),
            Ok(entries) => {
                let name = |entry: fs::DirEntry| {
                    let name = entry.file_name().to_string_lossy().escape_debug().to_string();
                    if entry.path().is_dir() { name + "/" } else { name }
                };
                let mut first: Vec<String> = entries.flatten().map(name).collect();
                first.sort();
                let more = first.len().saturating_sub(LISTED);
                first.truncate(LISTED);
                Seen::Names { first, more }
            }
        };
        Self { dir: dir.to_path_buf(), seen }
    }
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.dir.display())?;
        match &self.seen {
            Seen::Nothing => write!(f, "(no such folder)"),
            Seen::File => write!(f, "(a file: give the folder that holds it)"),
            Seen::OtherDataset(kind) => write!(f, "(by its name the folder of {kind})"),
            Seen::Names { first, .. } if first.is_empty() => write!(f, "(empty)"),
            Seen::Names { first, more: 0 } => write!(f, "(it holds {})", first.join(", ")),
            Seen::Names { first, more } => write!(f, "(it holds {} and {more} more)", first.join(", ")),
        }
    }
}
