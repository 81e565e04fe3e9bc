//! The errors of finding, fetching, reading and batching data.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{DatasetKind, HubFault, Looked};

/// Result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of finding, fetching, reading and batching data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is no data set.
    #[error(transparent)]
    UnknownDataset(#[from] flat_core::setting::BadSetting),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The data set is in none of the places it may be in.
    #[error("{kind} was not found; looked in {}; looked for {}; {remedy}", list(looked), kind.looked_for)]
    NotFound {
        /// The data set asked for.
        kind: DatasetKind,
        /// The folders that were searched, in order, and what is there instead.
        looked: Vec<Looked>,
        /// What to do about it.
        remedy: String,
    },
    /// A folder holds some of a data set's files but not all.
    #[error("{} holds a part of {kind} only: {missing} is missing", dir.display())]
    Incomplete {
        /// The data set asked for.
        kind: DatasetKind,
        /// The folder.
        dir: PathBuf,
        /// The file or files that are missing.
        missing: String,
    },
    /// A folder holds two versions of a part of a data set.
    #[error("{} holds {} and {} of {kind}, which are two versions of one: move one of them elsewhere", dir.display(), names[0], names[1])]
    Ambiguous {
        /// The data set asked for.
        kind: DatasetKind,
        /// The folder.
        dir: PathBuf,
        /// The two files.
        names: [String; 2],
    },
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}, {at}: {fault}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        at: Place,
        /// What is wrong there.
        fault: Fault,
    },
    /// A file's sha256 is not the one that was announced or recorded for it.
    #[error("{}: the sha256 is {found}, not {expected} as {origin} says; delete the file and fetch it again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The sum it should have, in hex.
        expected: String,
        /// The sum it has.
        found: String,
        /// Who says so.
        origin: String,
    },
    /// The hub could not be reached or did not hand out a file.
    #[error("cannot fetch {file} of the dataset {repo}: {fault}")]
    Hub {
        /// The hub's id of the data set.
        repo: String,
        /// The file within it.
        file: String,
        /// What the hub did, and the remedy.
        fault: Box<HubFault>,
    },
    /// Whoever watched did not want to go on.
    #[error("interrupted; nothing unfinished is left, the next call fetches what is missing")]
    Interrupted,
    /// A file would have to be written through a symbolic link, or into what is no plain file.
    #[error("{} is a link or no plain file, and nothing is written through it: delete it, or name another folder with --data-dir", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A data set that no hub has.
    #[error("{0} is not fetched but made: use `flat-train data color`")]
    MadeHere(DatasetKind),
    /// A folder holds a data set already, another one than was to be written.
    #[error("{} holds {kind} already, made differently{made}: name another folder with --out, or delete that one", dir.display())]
    Exists {
        /// The data set.
        kind: DatasetKind,
        /// The folder.
        dir: PathBuf,
        /// How, where the folder says it.
        made: String,
    },
    /// A path holds no images that can be used.
    #[error("{}: {problem}: {remedy}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// There is nowhere to put downloads.
    #[error("no download cache: set XDG_CACHE_HOME or HOME, or name a folder")]
    NoCacheDir,
    /// A name that is no augmentation.
    #[error("unknown augmentation `{0}`: give some of {forms}", forms = crate::Augment::FORMS)]
    UnknownAugmentation(String),
    /// Images, labels and shape that do not belong together.
    #[error("unusable split: {0}")]
    BadSplit(String),
    /// An option no batch can be made with.
    #[error("{option}: {problem}")]
    BadOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An index past the end.
    #[error("{what} {index} does not exist: there are {len}")]
    OutOfRange {
        /// What was indexed: batch, example, row, shard.
        what: &'static str,
        /// The index asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn unusable(path: &Path, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_path_buf(), problem: problem.into(), remedy: remedy.into() }
    }

    pub(crate) fn corrupt(path: &Path, at: Place, fault: Fault) -> Self {
        Self::Corrupt { path: path.to_path_buf(), at, fault }
    }
}

/// What is wrong inside a file, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong(pub(crate) Place, pub(crate) Fault);

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self(Place::Whole, fault)
    }
}

impl Wrong {
    /// The error about the file at `path`.
    pub(crate) fn of(self, path: &Path) -> Error {
        Error::corrupt(path, self.0, self.1)
    }
}

fn list(looked: &[Looked]) -> String {
    looked.iter().map(Looked::to_string).collect::<Vec<_>>().join(", ")
}

/// The place in a file where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Byte offset; for a gzip file, the offset in the inflated bytes.
    Offset(u64),
    /// Row of a table, from 0.
    Row(usize),
    /// The file as a whole.
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::Whole => write!(f, "whole file"),
        }
    }
}

/// A fault of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The first bytes are those of another format.
    #[error("magic number {found:#010x} instead of {expected:#010x}")]
    Magic {
        /// The number there.
        found: u32,
        /// The number that should be there.
        expected: u32,
    },
    /// The file ends early.
    #[error("the file ends where {expected} bytes should follow")]
    Truncated {
        /// Bytes that should follow, at least.
        expected: u64,
    },
    /// The file goes on after its announced end.
    #[error("bytes follow the announced end")]
    Trailing,
    /// A size is announced that no such data set has.
    #[error("{what} is announced as {found}, more than the {limit} that are read")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The announced size.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// An image is not of the data set's size.
    #[error("an image of {found_width}x{found_height} where {width}x{height} is expected")]
    ImageSize {
        /// Width announced, pixels.
        found_width: u64,
        /// Height announced, pixels.
        found_height: u64,
        /// Width expected, pixels.
        width: usize,
        /// Height expected, pixels.
        height: usize,
    },
    /// A dimension has another size than every such file.
    #[error("{what} is {found} instead of {expected}")]
    Dimension {
        /// What is counted.
        what: &'static str,
        /// The number there.
        found: u64,
        /// The number that should be there.
        expected: usize,
    },
    /// A label is not below the number of classes.
    #[error("label {found} where there are {classes} classes")]
    Label {
        /// The label.
        found: i64,
        /// Number of classes.
        classes: usize,
    },
    /// As many labels as images are needed.
    #[error("{images} images but {labels} labels")]
    Count {
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A table's cell is empty.
    #[error("the column {column} is null")]
    Null {
        /// The column's path.
        column: String,
    },
    /// A table lacks a column, or has it with another type.
    #[error("no usable column {column}: {reason}")]
    Column {
        /// The column or columns looked for.
        column: String,
        /// What is there instead.
        reason: String,
    },
    /// The file holds no example.
    #[error("no examples")]
    Empty,
    /// The file belongs to another data set.
    #[error("these are the examples of {0}")]
    OtherDataset(DatasetKind),
    /// A file in an archive does not hold what it should.
    #[error("{name} in the archive: {fault}")]
    Member {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
    /// An archive lacks a file.
    #[error("the archive has no {missing}; it holds {seen}")]
    NoMember {
        /// The name of the file.
        missing: String,
        /// The names of the first files that are there.
        seen: String,
    },
    /// A decoder (gzip, parquet, PNG, JPEG) gave up.
    #[error("{0}")]
    Decode(String),
}
