//! The sha256 sums of files: recorded in manifests, or known for the original files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{DatasetKind, Error, Fault, Place, Result};

/// Name of the file of sums beside downloaded data; `sha256sum --check` understands it.
pub const MANIFEST: &str = "manifest.sha256";

/// Longest manifest read, bytes.
const MAX_MANIFEST: u64 = 1 << 20;

/// The sha256 of a file, in lower-case hex.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    sha256(flat_core::file::open(path).map_err(Error::io(path))?).map_err(Error::io(path))
}

/// The sha256 of all that a reader yields, in lower-case hex.
pub(crate) fn sha256(mut reader: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Whether this is a sha256 in lower-case hex.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The sums recorded beside downloaded files: lines of sum, two spaces and the path from the manifest's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Sum by path, `/`-separated and relative.
    pub sums: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the manifest of a folder; an empty one where there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a line is not a sum and a relative path, [`Error::Io`] if it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let file = match flat_core::file::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let mut text = String::new();
        file.take(MAX_MANIFEST).read_to_string(&mut text).map_err(Error::io(&path))?;
        let parse = |(row, line): (usize, &str)| match line.split_once("  ") {
            Some((sum, name)) if is_sha256(sum) && is_inside(name) => Ok((name.to_string(), sum.to_string())),
            _ => {
                let fault = Fault::Decode("the line is not a sha256, two spaces and a relative path".into());
                Err(Error::corrupt(&path, Place::Row(row), fault))
            }
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
        Ok(Self { sums: lines.map(parse).collect::<Result<_>>()? })
    }

    /// Writes the manifest of a folder, so that it is there whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(MANIFEST);
        let text: String = self.sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        flat_core::file::write_whole(&path, text.as_bytes()).map_err(Error::io(&path))
    }
}

/// A relative path without `..`: one that stays in its folder.
fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The sum recorded for `file` in the manifest of its folder or of a folder up to two above it, and that manifest.
pub(crate) fn recorded(file: &Path) -> Result<Option<(String, PathBuf)>> {
    for dir in file.ancestors().skip(1).take(3) {
        let Ok(name) = file.strip_prefix(dir) else { continue };
        let name = name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        if let Some(sum) = Manifest::read(dir)?.sums.get(&name) {
            return Ok(Some((sum.clone(), dir.join(MANIFEST))));
        }
    }
    Ok(None)
}

/// Sums of the inflated IDX files: data set, file name without `.gz`, sha256. MNIST's are of files whose MD5 sums are
/// the ones of the original distribution; Fashion-MNIST's of Debian's `dataset-fashion-mnist`.
const KNOWN: [(DatasetKind, &str, &str); 8] = [
    (DatasetKind::Mnist, "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    (DatasetKind::Mnist, "train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    (DatasetKind::Mnist, "t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    (DatasetKind::Mnist, "t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    (
        DatasetKind::FashionMnist,
        "train-images-idx3-ubyte",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    (
        DatasetKind::FashionMnist,
        "train-labels-idx1-ubyte",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    (
        DatasetKind::FashionMnist,
        "t10k-images-idx3-ubyte",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    (
        DatasetKind::FashionMnist,
        "t10k-labels-idx1-ubyte",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
];

/// The known sum of an inflated IDX file.
pub(crate) fn known(kind: DatasetKind, name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(k, n, _)| (*k, *n) == (kind, name)).map(|(_, _, sum)| *sum)
}

/// The data set that has a file of this sum.
pub(crate) fn owner(sum: &str) -> Option<DatasetKind> {
    KNOWN.iter().find(|(_, _, s)| *s == sum).map(|(kind, _, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_known_text_is_the_published_one() {
        // FIPS 180-2, appendix B.1
        let sum = sha256(&b"abc"[..]).expect("sum");
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_manifest_is_read_back_as_written_and_found_from_its_files() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(Manifest::read(dir.path()).expect("none"), Manifest::default());
        let sum = "0123456789abcdef".repeat(4);
        let manifest = Manifest { sums: [("plain_text/train/0000.parquet".into(), sum.clone())].into() };
        manifest.write(dir.path()).expect("write");
        assert_eq!(Manifest::read(dir.path()).expect("read"), manifest);
        let file = dir.path().join("plain_text/train/0000.parquet");
        assert_eq!(recorded(&file).expect("recorded"), Some((sum, dir.path().join(MANIFEST))));
        assert_eq!(recorded(&dir.path().join("plain_text/test/0000.parquet")).expect("none"), None);
    }

    #[test]
    fn a_manifest_with_a_bad_line_or_a_path_that_leaves_its_folder_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let sum = "0".repeat(64);
        for line in [
            "nonsense".to_string(),
            format!("{sum}  ../up"),
            format!("{sum}  /etc/passwd"),
            format!("{}  file", &sum[1..]),
            format!("{sum}  "),
        ] {
            std::fs::write(dir.path().join(MANIFEST), format!("{sum}  good\n{line}\n")).expect("write");
            match Manifest::read(dir.path()) {
                Err(Error::Corrupt { at: Place::Row(1), .. }) => {}
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
