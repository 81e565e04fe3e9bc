//! Writes coloured MNIST as gzipped IDX files with a manifest of their sums.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

use crate::sums::sha256;
use crate::{Coloring, Dataset, DatasetKind, Error, Manifest, Result, Split, cache_dir, idx};

/// Says how the set was made; one line.
const MADE_BY: &str = "made-by.txt";

/// The files of a [`make_colored`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Made {
    /// The folder.
    pub dir: PathBuf,
    /// Its files of images and labels.
    pub files: Vec<MadeFile>,
    /// The data set that they hold.
    #[serde(skip)]
    pub dataset: Dataset,
}

/// A file that was made, now or earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
}

/// Colours MNIST, from `mnist_dir` or wherever [`crate::locate()`] finds it, and writes the result to `out`, or to
/// `colored-mnist` in the download cache. The same set that is there already is left as it is.
///
/// # Errors
/// [`Error::NotFound`] without MNIST, [`Error::Exists`] where `out` holds one made differently, [`Error::BadOption`],
/// [`Error::Io`].
pub fn make_colored(coloring: Coloring, mnist_dir: Option<&Path>, out: Option<&Path>) -> Result<Made> {
    let kind = DatasetKind::ColoredMnist;
    let dataset = coloring.apply(&Dataset::load(DatasetKind::Mnist, mnist_dir)?)?;
    let dir = match out {
        Some(dir) => dir.to_path_buf(),
        None => cache_dir()?.join(kind.name()),
    };
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    let there = Manifest::read(&dir)?;
    let (mut manifest, mut new, mut files) = (there.clone(), Vec::new(), Vec::new());
    for (name, split) in [("train", &dataset.train), ("t10k", &dataset.test)] {
        for (name, bytes) in written(kind, name, split)? {
            let path = dir.join(&name);
            let sum = sha256(&bytes[..]).map_err(Error::io(&path))?;
            files.push(MadeFile { path: path.clone(), bytes: bytes.len() as u64, sha256: sum.clone() });
            if path.exists() && there.sums.get(&name) != Some(&sum) {
                let made = flat_core::file::read_text(&dir.join(MADE_BY)).map(|by| format!(" ({})", by.trim()));
                return Err(Error::Exists { kind, dir, made: made.unwrap_or_default() });
            }
            manifest.sums.insert(name, sum);
            new.push((path, bytes));
        }
    }
    let Coloring { correlation, seed } = coloring;
    let made_by = format!("flat-train data color --correlation {correlation} --seed {seed}\n");
    manifest.write(&dir)?;
    for (path, bytes) in new.into_iter().chain([(dir.join(MADE_BY), made_by.into_bytes())]) {
        flat_core::file::write_whole(&path, &bytes).map_err(Error::io(&path))?;
    }
    Ok(Made { dir, files, dataset })
}

/// Names and bytes of a split's two files.
fn written(kind: DatasetKind, name: &str, split: &Split) -> Result<[(String, Vec<u8>); 2]> {
    let [images, labels] = kind.idx_files(name).map(|(part, sides)| format!("{part}-idx{sides}-ubyte.gz"));
    let attributes = split.groups().map_or(&[][..], |groups| groups.attributes());
    let pairs: Vec<u8> = split.labels().iter().zip(attributes).flat_map(|(&class, &of)| [class as u8, of]).collect();
    let dimensions: Vec<usize> = [split.len()].into_iter().chain(split.shape()).collect();
    Ok([
        (images, zipped(&idx::written(&dimensions, split.images()))?),
        (labels, zipped(&idx::written(&[split.len(), 2], &pairs))?),
    ])
}

fn zipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let zip = || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    zip().map_err(Error::io(Path::new("memory")))
}
