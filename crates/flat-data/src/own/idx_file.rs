//! IDX files of any number of images, of any size, under any of their usual names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Source;
use crate::{Error, Fault, Place, Result};

/// Bytes in an IDX file.
const BYTES: u8 = 0x08;

/// The files of a data set by what stands before `train`, `t10k` or `test` in their names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct IdxFiles {
    /// What stands before.
    pub(super) prefix: String,
    /// Images and labels to train on.
    pub(super) train: [Option<PathBuf>; 2],
    /// Images and labels to test on.
    pub(super) test: [Option<PathBuf>; 2],
}

/// The prefix of a name, whether it is of the test part, and whether it is of labels; `None` for a name of another sort.
fn parts(name: &str) -> Option<(String, bool, bool)> {
    let name = name.strip_suffix(".gz").unwrap_or(name).to_lowercase();
    let stem = name.strip_suffix("ubyte").filter(|stem| stem.contains("idx"))?;
    let labels = match (stem.contains("images"), stem.contains("labels")) {
        (true, false) => false,
        (false, true) => true,
        _ => return None,
    };
    let (at, test) = [("train", false), ("t10k", true), ("test", true)]
        .into_iter()
        .find_map(|(word, test)| Some((stem.rfind(word)?, test)))?;
    Some((stem[..at].to_string(), test, labels))
}

/// The IDX data sets in a folder, in the order of their prefixes.
pub(super) fn find(dir: &Path) -> Result<Vec<IdxFiles>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        paths.push(entry.map_err(Error::io(dir))?.path());
    }
    // the plain file of two before the gzipped one
    paths.sort();
    let mut all: Vec<IdxFiles> = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let Some((prefix, test, labels)) = path.file_name().and_then(|name| parts(&name.to_string_lossy())) else {
            continue;
        };
        let at = all.iter().position(|files| files.prefix == prefix).unwrap_or_else(|| {
            all.push(IdxFiles { prefix, ..IdxFiles::default() });
            all.len() - 1
        });
        let part = if test { &mut all[at].test } else { &mut all[at].train };
        part[usize::from(labels)].get_or_insert(path);
    }
    Ok(all)
}

/// The prefix of a file's name, where it is one of an IDX data set.
pub(super) fn prefix(path: &Path) -> Option<String> {
    parts(&path.file_name()?.to_string_lossy()).map(|(prefix, ..)| prefix)
}

/// The sizes and the bytes of an IDX file with from `least` to `most` dimensions.
pub(super) fn read(path: &Path, [least, most]: [usize; 2], room: u64) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut source = Source::open(path)?;
    let magic = source.exactly(4)?;
    let sides = usize::from(magic[3]);
    if magic[..3] != [0, 0, BYTES] || !(least..=most).contains(&sides) {
        let found = magic.iter().fold(0, |n, &b| n << 8 | u32::from(b));
        let expected = u32::from(BYTES) << 8 | least as u32;
        return Err(Error::corrupt(path, Place::Offset(0), Fault::Magic { found, expected }));
    }
    let mut shape = Vec::new();
    for _ in 0..sides {
        let side = source.exactly(4)?.iter().fold(0, |n, &b| n << 8 | usize::from(b));
        shape.push(side);
    }
    let n = shape.iter().try_fold(1u64, |n, side| n.checked_mul(*side as u64)).unwrap_or(u64::MAX);
    if n == 0 {
        return Err(Error::corrupt(path, Place::Offset(4), Fault::Empty));
    }
    if n > room {
        let fault = Fault::TooLarge { what: "the number of bytes", found: n, limit: room };
        return Err(Error::corrupt(path, Place::Offset(4), fault));
    }
    let bytes = source.exactly(n)?;
    match source.up_to(1)?.is_empty() {
        true => Ok((shape, bytes)),
        false => Err(Error::corrupt(path, Place::Offset(source.offset() - 1), Fault::Trailing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_of_idx_files_are_told_apart() {
        for (name, prefix, test, labels) in [
            ("train-images-idx3-ubyte", "", false, false),
            ("t10k-labels.idx1-ubyte.gz", "", true, true),
            ("emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-", false, false),
            ("emnist-letters-test-labels-idx1-ubyte", "emnist-letters-", true, true),
        ] {
            assert_eq!(parts(name), Some((prefix.into(), test, labels)), "{name}");
        }
        for name in ["train-images.npz", "readme", "train-idx3-ubyte", "images-idx3-ubyte"] {
            assert_eq!(parts(name), None, "{name}");
        }
    }
}
